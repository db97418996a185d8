from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from pipeline.color.arrays import lightness
from pipeline.errors import ImageError, ModelError
from pipeline.inference.colorizer import Colorizer
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
