"""A generator as an ONNX file, checked against torch on real photographs before anybody relies on it."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.color import ColorSpace, rgb_to_lab
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.inference.networks import ONNX_FILE, Network, load_network, onnx_runtime
from pipeline.models.artifact import LoadedGenerator
from pipeline.models.card import Interface, ModelCard
from pipeline.models.generators import NoiseBeside
from pipeline.models.layers import KeptDropout
from pipeline.params import OnnxVariant
from pipeline.publish import write_json

# Lab units: what fp32 may differ by between torch and ONNX Runtime.
TOLERANCE = 0.01
# The last one that torch's own exporter and ONNX Runtime's tools all know.
_OPSET = 17
_CALIBRATION = 32
_BATCH = 16


class ExportError(Exception):
    """The exported network does not compute what the trained one does; the message says by how much."""


def write_onnx(loaded: LoadedGenerator, folder: Path, variant: OnnxVariant, calibration: Photographs) -> None:
    """Write generator.onnx and model.json.

    Dropout that stays on as noise is left out: an exported model of that kind gives one coloring. Noise that is a
    channel of the input stays one, given by the caller.

    Args:
        calibration: training photographs, from which int8 learns the ranges of its activations.
    """
    network = _without_own_noise(loaded.network)
    content = _fp32(network, loaded)
    if variant == "fp16":
        content = _fp16(content)
    elif variant == "int8":
        content = _int8(content, loaded, calibration)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX_FILE).write_bytes(content)
    card = loaded.card.model_copy(
        update={"sha256": {ONNX_FILE: hashlib.sha256(content).hexdigest()}, "interface": interface(loaded.card)}
    )
    write_json(folder / "model.json", card.model_dump(mode="json"))


def interface(card: ModelCard) -> Interface:
    lab = card.color_space == "lab"
    level = "gray / 127.5 - 1, gray being the 8-bit sRGB value of a neutral of lightness L*"
    noise = ("standard normal noise",) if card.generator.noise == "input" else ()
    return Interface(
        input="condition",
        channels=(*(("L* / 50 - 1",) if lab else (level,) * 3), *noise),
        output="colors",
        colors=("a* / 110", "b* / 110") if lab else ("R / 127.5 - 1", "G / 127.5 - 1", "B / 127.5 - 1"),
        multiple_of=card.multiple,
    )


def parity(loaded: LoadedGenerator, folder: Path, photographs: Photographs) -> dict[str, float]:
    """Largest difference of a or b between torch and the exported file, Lab units, by size (HxW).

    On the first photographs, at three square sizes and an oblong one.
    """
    exported, network = load_network(folder), _without_own_noise(loaded.network)
    batch = next(iter(plain_batches(photographs, batch_size=2)))
    unit = loaded.card.multiple
    size = max(unit, loaded.card.image_size // unit * unit)
    found = {}
    for height, width in ((size, size), (size + unit,) * 2, (size + 2 * unit,) * 2, (size, size + unit)):
        resized = F.interpolate(batch.float(), (height, width), mode="bicubic", antialias=True)
        condition, _ = loaded.space.encode(resized.clamp(0, 255).round().to(torch.uint8))
        given = _with_noise(condition, loaded)
        with torch.inference_mode():
            ours = loaded.space.ab(network(given))
        theirs = loaded.space.ab(torch.from_numpy(_run(exported, condition)))
        found[f"{height}x{width}"] = float((ours - theirs).abs().max())
    return found


def require_parity(differences: dict[str, float]) -> None:
    """Raises:
    ExportError: one is TOLERANCE or more, or not a number.
    """
    bad = {size: difference for size, difference in differences.items() if not difference < TOLERANCE}
    if bad:
        listed = ", ".join(f"{size}: {difference:.4g}" for size, difference in bad.items())
        raise ExportError(f"ONNX and torch differ by {TOLERANCE} Lab units or more ({listed}); nothing was published")


def ab_mae(network: Network, space: ColorSpace, photographs: Photographs) -> float:
    """Mean absolute error of a and b of an exported network, Lab units, as evaluate measures it."""
    total, count = 0.0, 0
    for batch in plain_batches(photographs, batch_size=_BATCH):
        condition, _ = space.encode(batch)
        error = space.ab(torch.from_numpy(_run(network, condition))) - rgb_to_lab(batch)[:, 1:]
        total += error.abs().double().sum().item()
        count += error.numel()
    return total / count


def _run(network: Network, condition: Tensor) -> Any:
    return network.run(condition.contiguous().numpy(), 0)


def _with_noise(condition: Tensor, loaded: LoadedGenerator) -> Tensor:
    """The noise that Network.run adds for seed 0."""
    if loaded.card.generator.noise != "input":
        return condition
    shape = (len(condition), 1, *condition.shape[2:])
    return torch.cat([condition, torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))], 1)


def _without_own_noise(network: nn.Module) -> nn.Module:
    inner = network.network if isinstance(network, NoiseBeside) else network
    for module in inner.modules():
        if isinstance(module, KeptDropout):
            module.kept = False
    return inner.eval()


def _fp32(network: nn.Module, loaded: LoadedGenerator) -> bytes:
    card = loaded.card
    channels = loaded.space.in_channels + (card.generator.noise == "input")
    names = interface(card)
    axes = {0: "batch", 2: "height", 3: "width"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder, ONNX_FILE)
        # The tracer warns of every comparison of sizes; `parity` tries other sizes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, channels, 2 * card.multiple, 2 * card.multiple),),
            path,
            # The newer exporter does not know DynamicUnet's hooks.
            dynamo=False,
            opset_version=_OPSET,
            input_names=[names.input],
            output_names=[names.output],
            dynamic_axes={names.input: axes, names.output: axes},
        )
        return path.read_bytes()


def _fp16(content: bytes) -> bytes:
    """Half the size: weights and arithmetic in 16 bits, input and output as before."""
    import onnx

    onnx_runtime()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load_from_string(content), keep_io_types=True)
    return bytes(model.SerializeToString())


def _int8(content: bytes, loaded: LoadedGenerator, calibration: Photographs) -> bytes:
    """A quarter of the size: convolutions in 8 bits, ranges from training photographs."""
    onnx_runtime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._inputs = _calibration_inputs(loaded, calibration)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._inputs, None)

    with tempfile.TemporaryDirectory() as name:
        plain, prepared, small = (Path(name, file) for file in ("plain.onnx", "prepared.onnx", "small.onnx"))
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(small),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return small.read_bytes()


def _calibration_inputs(loaded: LoadedGenerator, calibration: Photographs) -> Iterator[dict[str, Any]]:
    name = interface(loaded.card).input
    for number, batch in enumerate(plain_batches(calibration, batch_size=1)):
        if number == _CALIBRATION:
            return
        condition, _ = loaded.space.encode(batch)
        yield {name: _with_noise(condition, loaded).contiguous().numpy()}
