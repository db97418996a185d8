from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter
from skimage.color import lab2rgb, rgb2lab

from pipeline.color.arrays import chromaticity, colored, gray_level, lightness, window_mean
from tests.helpers import EIGHT_BIT


def codes(rng: np.random.Generator, count: int = 40_000) -> np.ndarray:
    corners = np.array(np.meshgrid([0, 1, 127, 254, 255], [0, 255], [0, 3, 255])).reshape(3, -1).T
    return np.concatenate([corners, rng.integers(0, 256, (count, 3))]).astype(np.uint8)[None]


def test_lightness_is_that_of_skimage(rng: np.random.Generator) -> None:
    rgb = codes(rng)
    np.testing.assert_allclose(lightness(rgb), rgb2lab(rgb)[..., 0], atol=2e-4)
    gray = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_allclose(lightness(gray), rgb2lab(np.repeat(gray[..., None], 3, 2))[..., 0], atol=2e-4)
    deep = rng.integers(0, 65536, (1, 1000, 3), dtype=np.uint16)
    np.testing.assert_allclose(lightness(deep), rgb2lab(deep)[..., 0], atol=2e-4)


def test_gray_in_three_channels_is_that_in_one(rng: np.random.Generator) -> None:
    for gray in (rng.integers(0, 256, (40, 30), np.uint8), rng.integers(0, 65536, (40, 30), np.uint16)):
        assert np.array_equal(lightness(gray[..., None].repeat(3, 2)), lightness(gray))


def test_a_window_mean_is_that_of_scipy(rng: np.random.Generator) -> None:
    plane = rng.normal(50, 20, (23, 31)).astype(np.float32)
    for radius in (1, 3):
        expected = uniform_filter(plane.astype(float), 2 * radius + 1, mode="nearest")
        np.testing.assert_allclose(window_mean(plane, radius), expected, rtol=1e-5)


def test_chromaticity_is_that_of_skimage(rng: np.random.Generator) -> None:
    rgb = codes(rng)
    found = chromaticity(np.moveaxis(rgb, 2, 0).astype(np.float32) / 255)
    np.testing.assert_allclose(np.moveaxis(found, 0, 2), rgb2lab(rgb)[..., 1:], atol=2e-3)


def test_gray_level_is_that_of_skimage() -> None:
    light = np.linspace(0, 100, 1001, dtype=np.float32)[None]
    lab = np.stack([light, 0 * light, 0 * light], 2)
    np.testing.assert_allclose(gray_level(light), lab2rgb(lab)[..., 1], atol=1e-4)


def test_what_fits_into_srgb_comes_back_as_it_was(rng: np.random.Generator) -> None:
    rgb = codes(rng)
    lab = rgb2lab(rgb).astype(np.float32)
    back = colored(lab[..., 0], np.moveaxis(lab[..., 1:], 2, 0))
    assert np.abs(back.astype(int) - rgb).max() <= 1


def test_chroma_gives_way_and_lightness_does_not(rng: np.random.Generator) -> None:
    light = rng.uniform(0, 100, (200, 200)).astype(np.float32)
    ab = rng.uniform(-300, 300, (2, 200, 200)).astype(np.float32)
    for bits, bound in ((8, EIGHT_BIT), (16, 0.01)):
        lab = rgb2lab(colored(light, ab, bits))
        assert np.abs(lab[..., 0] - light).max() <= bound
    # The hue asked for is kept where there is enough chroma left to have one.
    a, b = lab[..., 1], lab[..., 2]
    strong = np.hypot(a, b) > 10
    turned = np.angle((a + 1j * b) / (ab[0] + 1j * ab[1]), deg=True)
    assert np.abs(turned[strong]).max() < 1.0
    # As much chroma as fits: one channel is at its end, unless the color was inside.
    rgb = colored(light, ab, 16)
    at_an_end = (rgb < 1500).any(2) | (rgb > 65000).any(2)
    assert at_an_end.mean() > 0.95


def test_the_bound_of_the_contract_is_what_rounding_can_do() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    steepest = np.diff(lightness(ramp)).max() / 2
    assert steepest < EIGHT_BIT < steepest * 1.2
