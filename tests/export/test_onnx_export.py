"""The exported model, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from pipeline.color.arrays import lightness
from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.errors import ExportError, ModelError
from pipeline.export.onnx_export import _calibration_inputs, as_function, parity, require_parity, write_onnx
from pipeline.inference import Colorizer
from pipeline.inference.networks import dial_of, load_network
from pipeline.models.checkpoint import load_generator, load_start, save_model
from pipeline.models.config import ModelConfig
from pipeline.models.generators import build_generator
from pipeline.models.mixing import load_mixed
from pipeline.params.schema import OnnxVariant, Params
from pipeline.quality.validation import ab_mae
from tests.conftest import MakeModel, tuned_pair
from tests.helpers import noisy_photo


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    folder = tmp_path_factory.mktemp("sample")
    writer, rng = ShardWriter(folder, "train"), np.random.default_rng(0)
    for _ in range(8):
        writer.add(noisy_photo(rng, 32, 32))
    writer.close()
    return Photographs(folder, "train", 32)


def export(model: Path, folder: Path, photographs: Photographs, variant: OnnxVariant = "fp32") -> Path:
    write_onnx(load_generator(model), folder, variant, photographs)
    return folder


@pytest.mark.parametrize(
    ("architecture", "noise", "space"),
    [
        pytest.param("dynamic_unet", "none", "lab", marks=pytest.mark.slow),
        ("dynamic_unet", "input", "rgb"),
        ("pix2pix_unet", "dropout", "lab"),
        pytest.param("pix2pix_unet_leaky", "none", "lab", marks=pytest.mark.slow),
        pytest.param("dynamic_unet", "dropout", "rgb", marks=pytest.mark.slow),
        ("compact_unet", "none", "rgb"),
    ],
)
def test_every_generator_is_the_same_in_onnx(
    make_model: MakeModel, tmp_path: Path, photographs: Photographs, architecture: str, noise: str, space: str
) -> None:
    folder = make_model(architecture, noise, space)
    loaded = load_generator(folder)
    write_onnx(loaded, tmp_path, "fp32", photographs)
    differences = parity(loaded, tmp_path, photographs)
    assert len(differences) == 4
    require_parity(differences)
    if noise != "none":  # the same noise, and so the same colors, on both sides; and others of another seed
        light = lightness(noisy_photo(np.random.default_rng(1)))
        ours = Colorizer.load(folder).ab(light, seed=3)
        assert np.abs(ours - Colorizer.load(tmp_path).ab(light, seed=3)).max() < 0.01
        assert np.abs(ours - Colorizer.load(tmp_path).ab(light, seed=4)).max() > 0.02


@pytest.mark.parametrize("architecture", ["compact_unet", pytest.param("dynamic_unet", marks=pytest.mark.slow)])
def test_one_file_with_a_dial_is_every_network_between(
    make_model: MakeModel, tmp_path: Path, photographs: Photographs, architecture: str
) -> None:
    finetuned = tuned_pair(make_model(architecture), tmp_path)
    faithful = load_generator(tmp_path / "pretrain")
    write_onnx(load_generator(finetuned), tmp_path / "export", "fp32", photographs, faithful)
    for vivid in (0.0, 0.3, 1.0):
        require_parity(parity(load_mixed(finetuned, vivid), tmp_path / "export", photographs, vivid))
    light = lightness(noisy_photo(np.random.default_rng(1)))
    ab = {vivid: Colorizer.load(tmp_path / "export", vivid).ab(light) for vivid in (None, 0.0, 0.3, 1.0)}
    assert np.array_equal(ab[None], ab[1.0])
    assert np.abs(ab[0.0] - ab[1.0]).max() > 1
    sizes = [(tmp_path / "export/generator.onnx").stat().st_size, (finetuned / "generator.safetensors").stat().st_size]
    assert 1.8 < sizes[0] / sizes[1] < 2.2
    write_onnx(load_generator(finetuned), tmp_path / "fp16", "fp16", photographs, faithful)
    half = Colorizer.load(tmp_path / "fp16", 0.3).ab(light)
    assert np.abs(half - ab[0.3]).mean() < 0.1
    assert dial_of(tmp_path / "fp16") == 1


def test_a_dial_rests_where_the_export_has_put_it(
    make_model: MakeModel, tmp_path: Path, photographs: Photographs
) -> None:
    finetuned = tuned_pair(make_model("compact_unet"), tmp_path)
    faithful, out = load_generator(tmp_path / "pretrain"), tmp_path / "export"
    write_onnx(load_generator(finetuned), out, "fp32", photographs, faithful, vivid=0.3)
    assert dial_of(out) == 0.3
    light = lightness(noisy_photo(np.random.default_rng(1)))
    assert np.array_equal(Colorizer.load(out).ab(light), Colorizer.load(out, 0.3).ab(light))
    # Training goes on from the network that colors.
    between = load_mixed(finetuned, 0.3)
    begun = load_start(out, between.config, "pretrain.start_from", 0).network.state_dict()
    for name, weight in between.network.state_dict().items():
        assert torch.allclose(begun[name].float(), weight.float(), atol=1e-6), name


def test_a_file_without_a_dial_says_so(model: Path, tmp_path: Path, photographs: Photographs) -> None:
    export(model, tmp_path, photographs)
    assert dial_of(tmp_path) is None
    with pytest.raises(ModelError, match=r"generator.onnx: exported without the dial"):
        Colorizer.load(tmp_path, 0.5)
    with pytest.raises(ValueError, match=r"vivid must be in 0..1, got 1.5"):
        Colorizer.load(tmp_path, 1.5)


def test_a_difference_is_an_error() -> None:
    with pytest.raises(ExportError, match=r"differ by 0\.01 Lab units or more \(64x64: 0\.2\)"):
        require_parity({"32x32": 1e-5, "64x64": 0.2})
    with pytest.raises(ExportError, match="nan"):
        require_parity({"32x32": float("nan")})


def test_same_network_same_bytes(model: Path, tmp_path: Path, photographs: Photographs) -> None:
    one, other = (export(model, tmp_path / name, photographs) for name in ("one", "other"))
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes()


@pytest.mark.parametrize(("variant", "share", "loss"), [("fp16", 0.55, 0.2), ("int8", 0.4, 3.0)])
def test_smaller_variants_lose_little(
    model: Path, tmp_path: Path, photographs: Photographs, variant: OnnxVariant, share: float, loss: float
) -> None:
    loaded = load_generator(model)
    full, small = (export(model, tmp_path / name, photographs, name) for name in ("fp32", variant))
    sizes = [(folder / "generator.onnx").stat().st_size for folder in (full, small)]
    assert sizes[1] < share * sizes[0]
    networks = [as_function(load_network(folder, as_is=True)) for folder in (full, small)]
    errors = [ab_mae(network, plain_batches(photographs, 8), loaded.space) for network in networks]
    assert abs(errors[1] - errors[0]) < loss
    assert np.abs(Colorizer.load(small).ab(np.full((64, 64), 60, np.float32))).max() > 0


@pytest.mark.slow
def test_48_megapixels_stay_within_the_bound_of_the_readme(
    model: Path, tmp_path: Path, photographs: Photographs, rng: np.random.Generator
) -> None:
    small = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    small.resize((8000, 6000), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg")
    # The system's own count; that of getrusage begins with the memory of the process that forked this one.
    code = f"""
from pathlib import Path
from pipeline.cli import app
try:
    app(["colorize", {str(tmp_path / "large.jpg")!r}, "-o", {str(tmp_path)!r} + "/out", "--render-size", "256",
         "--model", {str(export(model, tmp_path / "export", photographs))!r}])
except SystemExit as end:
    assert not end.code, end.code
print([line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")][0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, timeout=300)
    assert int(done.stdout.splitlines()[-1]) * 1024 < 1e9
    with Image.open(tmp_path / "out/large.jpg") as image:
        assert image.size == (8000, 6000)


def test_coloring_imports_neither_torch_nor_fastai(model: Path, tmp_path: Path, photographs: Photographs) -> None:
    folder = export(model, tmp_path / "export", photographs)
    code = f"""
import sys
from pathlib import Path
import numpy as np
from pipeline.inference import Colorizer
rgb = Colorizer.load({str(folder / "generator.onnx")!r})(np.full((40, 50), 120, np.uint8))
assert rgb.shape == (40, 50, 3)
assert not list(Path({str(tmp_path)!r}).glob(".ses")), "onnxruntime made itself a name to report by"
heavy = [name for name in ("torch", "fastai", "timm", "torchvision", "skimage", "sklearn") if name in sys.modules]
assert not heavy, heavy
"""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**environment, "TMPDIR": str(tmp_path)})


def test_ranges_of_int8_know_hints(tmp_path: Path, params: Params, photographs: Photographs) -> None:
    """What hints add would else be rounded to an empty range."""
    chosen = params.generator.model_copy(
        update={"backbone": "test_efficientnet", "decoder": "halved", "hints": True, "weights": "none"}
    )
    network = build_generator(chosen, ColorSpace("lab"), 32, seed=0)
    save_model(tmp_path, {"generator": network}, ModelConfig.describe(chosen, "lab", 32))
    said = [given["condition"][:, 1:] for given in _calibration_inputs(load_generator(tmp_path), photographs)]
    assert [bool(hints.any()) for hints in said] == [False, True] * 4


def test_a_damaged_or_foreign_file_is_refused(model: Path, tmp_path: Path, photographs: Photographs) -> None:
    folder = export(model, tmp_path, photographs)
    path = folder / "generator.onnx"
    content = bytearray(path.read_bytes())
    renamed = folder / "mine.onnx"
    renamed.write_bytes(content)
    with pytest.raises(
        ModelError, match=r"the model\.json beside it describes generator\.onnx; give the file that name"
    ):
        Colorizer.load(renamed)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"generator\.onnx: damaged: its checksum is not the one in model\.json"):
        Colorizer.load(path)
    path.unlink()
    with pytest.raises(ModelError, match="cannot be loaded: No such file"):
        Colorizer.load(path)
    with pytest.raises(ModelError, match=r"generator\.safetensors: cannot be loaded"):
        Colorizer.load(folder)  # without its .onnx the folder is a checkpoint without weights


def test_model_json_says_all_that_another_program_needs(
    make_model: MakeModel, tmp_path: Path, photographs: Photographs
) -> None:
    """Someone with ONNX Runtime, scikit-image and this file alone colors a photograph as we do."""
    import onnxruntime

    folder = export(make_model(), tmp_path, photographs)
    said = json.loads((folder / "model.json").read_text(encoding="utf-8"))["interface"]
    assert said["channels"] == ["L* / 50 - 1"]
    assert said["colors"] == ["a* / 110", "b* / 110"]
    assert said["layout"].startswith("NCHW, float32")
    assert "D65" in said["color"]
    photograph = Image.fromarray(noisy_photo(np.random.default_rng(2), 90, 160)).convert("L")
    # resize: "bicubic ... both sides by the same factor"
    factor = said["short_side"] / min(photograph.size)
    small = photograph.resize([round(side * factor) for side in photograph.size], Image.Resampling.BICUBIC)
    light = rgb2lab(np.repeat(np.asarray(small)[..., None], 3, 2))[..., 0].astype(np.float32)
    # multiple_of: "mirror the photograph at its right and bottom, and cut the colors back"
    (height, width), unit = light.shape, said["multiple_of"]
    padded = np.pad(light, ((0, -height % unit), (0, -width % unit)), "symmetric")
    session = onnxruntime.InferenceSession(str(folder / "generator.onnx"))
    (colors,) = session.run([said["output"]], {said["input"]: (padded / 50 - 1)[None, None]})
    ab = colors[0, :, :height, :width] * 110
    colorizer = Colorizer.load(folder)
    ours = colorizer.ab(colorizer.reduced_lightness(np.asarray(photograph)))
    assert ours.shape == ab.shape
    np.testing.assert_allclose(ab, ours, atol=0.02)
    # enlarge: "bilinear is enough"; join: "L* is the full-size photograph's"
    full = rgb2lab(np.repeat(np.asarray(photograph)[..., None], 3, 2))
    planes = [Image.fromarray(plane).resize(photograph.size, Image.Resampling.BILINEAR) for plane in ab]
    with warnings.catch_warnings(action="ignore"):  # of colors beyond sRGB, which it clips
        theirs = lab2rgb(np.dstack([full[..., 0], *map(np.asarray, planes)])) * 255
    assert np.abs(theirs - colorizer(np.asarray(photograph))).mean() < 3
