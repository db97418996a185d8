from __future__ import annotations

import numpy as np

from pipeline.inference.upsampling import GuidedColor, rows_of


def two_halves(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Dark and blue at the left, light and red at the right."""
    light = np.full((height, width), 30, np.float32)
    light[:, width // 2 :] = 80
    ab = np.zeros((2, height, width), np.float32)
    ab[0] = np.where(light > 50, 40, 0)
    ab[1] = np.where(light > 50, 0, -40)
    return light, ab


def test_color_bleeds_less_across_an_edge_than_by_interpolation() -> None:
    small_light, small_ab = two_halves(8, 8)
    light, truth = two_halves(128, 128)
    guided = GuidedColor.fit(small_light, small_ab).rows(light, 0, 128)
    plain = np.stack([rows_of(plane, 0, 128, 128, 128) for plane in small_ab])
    near = slice(56, 72)
    assert np.abs(guided - truth)[..., near].mean() < 0.8 * np.abs(plain - truth)[..., near].mean()


def test_strips_have_no_seams(rng: np.random.Generator) -> None:
    light = rng.uniform(0, 100, (9, 7)).astype(np.float32)
    color = GuidedColor.fit(light, rng.uniform(-50, 50, (2, 9, 7)).astype(np.float32))
    full = rng.uniform(0, 100, (101, 83)).astype(np.float32)
    whole = color.rows(full, 0, 101)
    strips = [color.rows(full[first : first + 10], first, 101) for first in range(0, 101, 10)]
    np.testing.assert_allclose(np.concatenate(strips, 1), whole, atol=1e-3)


def test_flat_lightness_takes_the_interpolated_color() -> None:
    light = np.full((6, 6), 50, np.float32)
    ab = np.full((2, 6, 6), 12, np.float32)
    found = GuidedColor.fit(light, ab).rows(np.full((60, 60), 50, np.float32), 0, 60)
    np.testing.assert_allclose(found, 12, atol=1e-4)
