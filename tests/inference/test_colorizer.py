from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import nn

from pipeline.color.arrays import lightness
from pipeline.color.tensors import ColorSpace
from pipeline.errors import HintError, ImageError, ModelError
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.hints import Hint, Painted
from pipeline.inference.networks import load_network
from pipeline.models.checkpoint import save_model
from pipeline.models.config import ModelConfig
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params
from tests.conftest import MakeModel
from tests.helpers import EIGHT_BIT, mean_chroma, noisy_photo


@pytest.fixture(scope="module")
def colorizer(model: Path) -> Colorizer:
    return Colorizer.load(model)


@pytest.mark.parametrize("saturation", [0.0, 1.0, 5.0])
def test_lightness_is_the_photographs_own_at_every_pixel(
    colorizer: Colorizer, rng: np.random.Generator, saturation: float
) -> None:
    rgb = noisy_photo(rng)
    found = colorizer(rgb, saturation=saturation)
    assert found.shape == rgb.shape
    assert np.abs(rgb2lab(found)[..., 0] - rgb2lab(rgb)[..., 0]).max() <= EIGHT_BIT
    assert (mean_chroma(found) < 1) == (saturation == 0)


def test_every_kind_of_image(colorizer: Colorizer, rng: np.random.Generator) -> None:
    gray = noisy_photo(rng)[..., 0]
    rgb = colorizer(gray)
    assert rgb.shape == (90, 121, 3)
    assert rgb.dtype == np.uint8
    assert np.array_equal(colorizer(gray[..., None]), rgb)
    assert np.array_equal(colorizer(np.stack([gray, gray])[..., None]), np.stack([rgb, rgb]))
    image = colorizer(Image.fromarray(gray))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), rgb)
    assert [type(one) for one in colorizer([gray, Image.fromarray(gray)])] == [np.ndarray, Image.Image]
    see_through = Image.fromarray(np.dstack([gray, gray, gray, gray]))
    assert np.array_equal(np.asarray(colorizer(see_through))[..., 3], gray)
    deep = colorizer(gray.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    assert np.abs(rgb2lab(deep)[..., 0] - rgb2lab(np.dstack([gray] * 3))[..., 0]).max() < 0.01


def test_gray_with_transparency_of_any_kind(colorizer: Colorizer, tmp_path: Path, rng: np.random.Generator) -> None:
    deep = rng.integers(1, 65536, (40, 50)).astype(np.uint16)
    deep[:, :9] = 0
    Image.fromarray(deep).save(tmp_path / "deep.png", transparency=0)
    with Image.open(tmp_path / "deep.png") as image:
        colored = colorizer(image)
    assert colored.mode == "RGBA"
    assert np.array_equal(np.asarray(colored)[..., 3] == 0, deep == 0)
    gray = noisy_photo(rng)[..., 0]
    multiplied = Image.merge("LA", [Image.fromarray(gray), Image.new("L", gray.shape[::-1], 200)]).convert("La")
    assert colorizer(multiplied).mode == "RGBA"


def test_threads_do_not_mix_their_photographs(tmp_path: Path, params: Params, rng: np.random.Generator) -> None:
    """The hooks of a U-Net, and hints, are kept in the network while it runs."""
    update = {"backbone": "test_efficientnet", "decoder": "halved", "hints": True}
    chosen = params.generator.model_copy(update=update)
    network = build_generator(chosen, ColorSpace("lab"), 32, seed=4)
    with torch.no_grad():  # as if it had learnt something
        for projection in network.added:
            projection.last.weight.normal_(0, 1)
        [*_, last] = (module for module in network.modules() if isinstance(module, nn.Conv2d))
        last.weight *= 30
    save_model(tmp_path, {"generator": network}, ModelConfig.describe(chosen, "lab", 32))
    colorizer = Colorizer.load(tmp_path)
    photographs = [noisy_photo(rng)[:64, :64] for _ in range(12)]
    hints = [[Hint("50%", "50%", color, "20%")] for color in ("red", "green", "blue") * 4]

    def color(number: int) -> np.ndarray:
        found: np.ndarray = colorizer(photographs[number], hints=hints[number])
        return found

    alone = [color(number) for number in range(12)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            assert all(map(np.array_equal, threads.map(color, range(12)), alone))


def test_hints_that_are_none_are_refused_in_words(colorizer: Colorizer, rng: np.random.Generator) -> None:
    photograph = noisy_photo(rng)
    said = Hint("50%", "50%", "red")
    assert np.array_equal(colorizer(photograph, hints=said), colorizer(photograph, hints=[said]))
    assert np.array_equal(colorizer(photograph, hints=None), colorizer(photograph))
    with pytest.raises(HintError, match=r"hint 1: \(1, 2, 3\) is no color"):
        colorizer(photograph, hints=[Hint(1, 1, (1, 2, 3))])  # type: ignore[arg-type]
    for pixels in (photograph.astype(np.uint16), photograph[..., 0]):
        with pytest.raises(HintError, match=r"a painted copy must be \(H, W, 3\) uint8, got"):
            Painted(pixels)
    with pytest.raises(HintError, match=r"what a painted copy covers must be \(90, 121\)"):
        Painted(photograph, np.ones((9, 12), bool))


def test_what_is_no_photograph_is_refused(colorizer: Colorizer) -> None:
    with pytest.raises(TypeError, match="samples must be uint8 or uint16, got float64"):
        colorizer(np.zeros((32, 32)))
    with pytest.raises(ValueError, match=r"an array must be .*, got \(2, 32, 32\)"):
        colorizer(np.zeros((2, 32, 32), np.uint8))
    with pytest.raises(ValueError, match=r"the short side must be >= 16 pixels, got 400x8"):
        colorizer(np.zeros((8, 400), np.uint8))
    with pytest.raises(ValueError, match=r"render_size must be in 32\.\.2048, got 8"):
        colorizer(np.zeros((32, 32), np.uint8), render_size=8)
    with pytest.raises(ValueError, match=r"saturation must be in 0\.\.10, got -1"):
        colorizer(np.zeros((32, 32), np.uint8), saturation=-1)
    with pytest.raises(TypeError, match="must be a PIL image, an array or a sequence of them, got str"):
        colorizer("photo.jpg")
    with pytest.raises(ValueError, match="must hold one at least"):
        colorizer(np.zeros((0, 32, 32, 3), np.uint8))
    with pytest.raises(ImageError, match="floating-point numbers, whose scale is not known"):
        colorizer(Image.new("F", (64, 64)))


@pytest.mark.parametrize("size", [(16, 16), (17, 300), (300, 17), (64, 64)])
def test_any_size(colorizer: Colorizer, rng: np.random.Generator, size: tuple[int, int]) -> None:
    assert colorizer(noisy_photo(rng, *size)).shape == (*size, 3)


def test_render_size_is_what_the_network_sees(colorizer: Colorizer, rng: np.random.Generator) -> None:
    rgb = noisy_photo(rng)
    assert np.array_equal(colorizer(rgb), colorizer(rgb, render_size=32))
    assert not np.array_equal(colorizer(rgb), colorizer(rgb, render_size=64))


@pytest.mark.parametrize("noise", ["none", "dropout", "input"])
def test_seeds_give_other_colors_where_there_is_noise(
    make_model: MakeModel, rng: np.random.Generator, noise: str
) -> None:
    colorizer = Colorizer.load(make_model(noise=noise))
    light = lightness(noisy_photo(rng))
    assert colorizer.noisy == (noise != "none")
    assert np.array_equal(colorizer.ab(light, seed=1), colorizer.ab(light, seed=1))
    assert np.array_equal(colorizer.ab(light, seed=1), colorizer.ab(light, seed=2)) == (noise == "none")


@pytest.mark.parametrize("architecture", ["dynamic_unet", "pix2pix_unet"])
@pytest.mark.parametrize("space", ["lab", "rgb"])
def test_every_generator_colors(make_model: MakeModel, rng: np.random.Generator, architecture: str, space: str) -> None:
    rgb = noisy_photo(rng)
    found = Colorizer.load(make_model(architecture=architecture, space=space))(rgb)
    assert np.abs(rgb2lab(found)[..., 0] - rgb2lab(rgb)[..., 0]).max() <= EIGHT_BIT
    assert mean_chroma(found) > 1


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        Colorizer.load(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"model\.json: no such file"):
        Colorizer.load(tmp_path)


@pytest.mark.parametrize("space", ["lab", "rgb"])
def test_a_network_that_gives_no_numbers_is_refused(
    make_model: MakeModel, space: str, rng: np.random.Generator
) -> None:
    """Its colors would be black."""
    network = load_network(make_model(space=space))
    broken = replace(network, run=lambda seen, seed: network.run(seen, seed) * np.float32("nan"))
    with pytest.raises(ModelError, match="not finite numbers"):
        Colorizer(broken)(rng.integers(0, 256, (40, 48), dtype=np.uint8))
