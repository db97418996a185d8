"""Write a generator as an ONNX file, and check it against torch on photographs."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.errors import ExportError
from pipeline.export.dial import with_dial
from pipeline.inference.networks import Network, inputs, load_network, onnx_runtime
from pipeline.models.checkpoint import LoadedGenerator
from pipeline.models.config import DIAL, ONNX_FILE, Dropout, Interface, ModelConfig, write_config
from pipeline.models.generators import with_noise_given
from pipeline.models.layers import FromNoise
from pipeline.params.schema import OnnxVariant
from pipeline.training.degradation import damage_seeds
from pipeline.training.hints import simulated, with_hints
from pipeline.types import Floats

# Largest difference allowed between torch and ONNX Runtime in fp32, Lab units.
TOLERANCE = 0.01
# The latest version that torch's exporter and all of ONNX Runtime's tools know.
_OPSET = 17
_CALIBRATION = 32


def write_onnx(
    loaded: LoadedGenerator,
    folder: Path,
    variant: OnnxVariant,
    calibration: Photographs,
    faithful: LoadedGenerator | None = None,
    vivid: float = 1.0,
) -> None:
    """Write generator.onnx and model.json.

    Noise becomes inputs, which the caller fills: a channel of the input, or the numbers by which dropout drops.

    Args:
        calibration: training photographs, from which int8 takes the ranges of its activations.
        faithful: the generator that fine-tuning began with, for a file with a dial; None for one without.
        vivid: where the dial stands when nobody sets it.
    """
    network = with_noise_given(loaded.network, loaded.space)
    content = _fp32(network, loaded)
    if faithful:
        content = with_dial(_fp32(with_noise_given(faithful.network, faithful.space), faithful), content)
    if variant == "fp16":
        content = _fp16(content)
    elif variant == "int8":
        content = _int8(content, loaded, calibration)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX_FILE).write_bytes(content)
    digest = {ONNX_FILE: hashlib.sha256(content).hexdigest()}
    takes = interface(loaded.config, network.shapes)
    if faithful:
        takes = takes.model_copy(update={"dial": DIAL, "dial_at": vivid})
    described = {"sha256": digest, "interface": takes, "discriminator": None}
    write_config(folder, loaded.config.model_copy(update=described))


def interface(config: ModelConfig, dropouts: tuple[tuple[int, int], ...]) -> Interface:
    """dropouts: channels, and how many times smaller than the picture, of each dropout that stays on."""
    numbered = enumerate(dropouts, start=1)
    lab = config.color_space == "lab"
    level = "gray / 127.5 - 1, gray being the 8-bit sRGB value of a neutral of lightness L*"
    noise = ("standard normal noise",) if config.generator.noise == "input" else ()
    said = ("a* / 110 of a hint, 0 elsewhere", "b* / 110 of a hint, 0 elsewhere", "1 in a hint, 0 elsewhere")
    hints = said if config.generator.hints else ()
    return Interface(
        input="condition",
        channels=(*(("L* / 50 - 1",) if lab else (level,) * 3), *noise, *hints),
        output="colors",
        colors=("a* / 110", "b* / 110") if lab else ("R / 127.5 - 1", "G / 127.5 - 1", "B / 127.5 - 1"),
        dropout=tuple(Dropout(input=f"dropout_{n}", channels=channels, smaller=d) for n, (channels, d) in numbered),
        multiple_of=config.multiple,
        short_side=config.image_size,
    )


def parity(
    loaded: LoadedGenerator, folder: Path, photographs: Photographs, vivid: float | None = None
) -> dict[str, float]:
    """Largest difference of a or b between torch and the exported file, Lab units, by size (HxW).

    On the first photographs, at three square sizes and an oblong one. The file is run as other programs run it, and as
    `Colorizer` does.

    Args:
        vivid: where the dial of the exported file stands, when it should be the same as `loaded`.
    """
    exported = [load_network(folder, vivid, as_is=as_is) for as_is in (True, False)]
    network = with_noise_given(loaded.network, loaded.space)
    batch = next(iter(plain_batches(photographs, batch_size=2)))
    unit = loaded.config.multiple
    size = max(unit, loaded.config.image_size // unit * unit)
    differences = {}
    for height, width in ((size, size), (size + unit,) * 2, (size + 2 * unit,) * 2, (size, size + unit)):
        resized = F.interpolate(batch.float(), (height, width), mode="bicubic", antialias=True)
        condition, _ = loaded.space.encode(resized.clamp(0, 255).round().to(torch.uint8))
        with torch.inference_mode():
            ours = loaded.space.ab(network(*map(torch.from_numpy, _seed_0(condition, loaded.config, network.shapes))))
        theirs = torch.stack([loaded.space.ab(as_function(one)(condition)) for one in exported])
        differences[f"{height}x{width}"] = float((ours - theirs).abs().max())
    return differences


def require_parity(differences: dict[str, float]) -> None:
    """Refuse an exported model that colors otherwise than torch.

    Raises:
        ExportError: one is TOLERANCE or more, or not a number.
    """
    bad = {size: difference for size, difference in differences.items() if not difference < TOLERANCE}
    if bad:
        listed = ", ".join(f"{size}: {difference:.4g}" for size, difference in bad.items())
        raise ExportError(f"ONNX and torch differ by {TOLERANCE} Lab units or more ({listed}); nothing was published")


def as_function(network: Network) -> Callable[[Tensor], Tensor]:
    """Return an exported network as a function of tensors, with the noise of seed 0."""
    return lambda condition: torch.from_numpy(network.run(condition.contiguous().numpy(), 0))


def _seed_0(condition: Tensor, config: ModelConfig, dropouts: tuple[tuple[int, int], ...]) -> list[Floats]:
    """Return the condition with the noise of seed 0."""
    return inputs(condition.contiguous().numpy(), 0, config, dropouts)


def require_exportable(loaded: LoadedGenerator) -> None:
    """Refuse a network that `export` could not write, before it has learnt anything.

    Raises:
        ExportError: ONNX has no form of one of its operations.
    """
    _fp32(with_noise_given(loaded.network, loaded.space), loaded)


def _fp32(network: FromNoise, loaded: LoadedGenerator) -> bytes:
    """Return the file.

    Raises:
        ExportError: ONNX has no form of one of its operations.
    """
    try:
        return _written(network, loaded)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        said = " ".join(str(error).split())[:300]
        raise ExportError(f"the network cannot be written as ONNX: {said}; take operations that ONNX has") from error


def _written(network: FromNoise, loaded: LoadedGenerator) -> bytes:
    config, side = loaded.config, 2 * loaded.config.multiple
    names = interface(config, network.shapes)
    noise = [dropout.input for dropout in names.dropout]
    shapes = [(network.in_channels, 1), *network.shapes]
    zeros = [torch.zeros(1, channels, side // smaller, side // smaller) for channels, smaller in shapes]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder, ONNX_FILE)
        # The tracer warns of every comparison of sizes; `parity` tries other sizes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(zeros),
            path,
            # The newer exporter does not know DynamicUnet's hooks.
            dynamo=False,
            # Every weight under its own name, so that training can go on from the file and a dial can mix two. ONNX
            # Runtime itself makes batch normalization part of the convolution before it.
            training=torch.onnx.TrainingMode.PRESERVE,
            opset_version=_OPSET,
            input_names=[names.input, *noise],
            output_names=[names.output],
            dynamic_axes={name: _axes("") for name in (names.input, names.output)}
            | {name: _axes(f"{name}_") for name in noise},
        )
        return path.read_bytes()


def _axes(prefix: str) -> dict[int, str]:
    """Return the names of the sizes that may vary."""
    return {0: "batch", 2: f"{prefix}height", 3: f"{prefix}width"}


def _fp16(content: bytes) -> bytes:
    """Halve the size: weights and arithmetic in 16 bits, which `Colorizer` widens on a CPU; input and output stay."""
    import onnx

    onnx_runtime()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load_from_string(content), keep_io_types=True)
    return bytes(model.SerializeToString())


def _int8(content: bytes, loaded: LoadedGenerator, calibration: Photographs) -> bytes:
    """Make a quarter of the size: convolutions in 8 bits, ranges from training photographs."""
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
            op_types_to_quantize=["Conv", "ConvTranspose"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return small.read_bytes()


def _calibration_inputs(loaded: LoadedGenerator, calibration: Photographs) -> Iterator[dict[str, Any]]:
    shapes = with_noise_given(loaded.network, loaded.space).shapes
    described = interface(loaded.config, shapes)
    names = [described.input, *(dropout.input for dropout in described.dropout)]
    for number, batch in enumerate(plain_batches(calibration, batch_size=1)):
        if number == _CALIBRATION:
            return
        condition, target = loaded.space.encode(batch)
        if loaded.config.generator.hints and number % 2:  # or the ranges of what hints add would be empty
            condition = with_hints(condition, simulated(target, damage_seeds(0, number, range(1)), without=0.0))
        yield dict(zip(names, _seed_0(condition, loaded.config, shapes), strict=True))
