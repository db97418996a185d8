"""What the colors of a photograph are like: how many, which hues, and whether they keep to the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Pixels

Array = NDArray[np.float64]

# Mean chroma, Lab units, under which a picture looks gray or sepia.
GRAY_CHROMA = 5.0
# Mean chroma, Lab units, of what has no hue: sRGB's r = g = b has up to 0.005 by the rounded digits of its matrix, and
# one level of 255 in one channel has 0.28 or more.
_NO_HUE = 0.05
# Difference of L* between neighbors that is an edge to anybody.
EDGE = 20.0
_HUES = 36
# Of ColorCounts: half a Lab unit each.
_LIMIT, _BINS = 200, 800


def colorfulness(rgb: Pixels, *, absolute: bool = False) -> float:
    """Hasler and Suesstrunk 2003: (H, W, 3) uint8 -> 0 (gray) to about 110.

    Args:
        absolute: take the opponents R-G and (R+G)/2-B without their signs, as the code of most papers does.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    if absolute:
        rg, yb = np.abs(rg), np.abs(yb)
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def hue_distance(ab: Array, other: Array) -> float:
    """How far hue must be moved, in degrees, to turn one picture's hues into the other's: 0 to 180.

    The earth mover's distance on the circle between histograms of 36 hues, each pixel weighing its chroma. A gray
    picture counts as one with all hues.
    """
    difference = np.cumsum(_hues(ab) - _hues(other))
    # Rabin, Delon and Gousseau 2011: on a circle the flow is free up to a constant, and the median is the cheapest.
    return float(np.abs(difference - np.median(difference)).sum() * 360 / _HUES)


def _hues(ab: Array) -> Array:
    chroma = np.hypot(ab[..., 0], ab[..., 1])
    if chroma.mean() < _NO_HUE:
        return np.full(_HUES, 1 / _HUES)
    hue = np.arctan2(ab[..., 1], ab[..., 0]) % (2 * np.pi)
    counts, _ = np.histogram(hue, _HUES, (0, 2 * np.pi), weights=chroma)
    return np.asarray(counts / counts.sum())


def bleeding(lightness: Array, ab: Array, true_ab: Array) -> float:
    """How much of the step in color is missing at strong edges of the lightness, Lab units; 0 where there is no edge.

    Args:
        lightness: (H, W) of the true photograph.
        ab, true_ab: (H, W, 2).

    Returns:
        The mean over neighbors whose L* differs by 20 or more of how much smaller their difference of ab is than it
        truly is.
    """
    missing, edges = 0.0, 0
    for axis in (0, 1):
        strong = np.abs(np.diff(lightness, axis=axis)) >= EDGE
        true_step, step = (np.linalg.norm(np.diff(colors, axis=axis), axis=-1) for colors in (true_ab, ab))
        missing += float(np.maximum(true_step - step, 0)[strong].sum())
        edges += int(strong.sum())
    return missing / edges if edges else 0.0


class ColorCounts:
    """The colors of any number of pictures as distributions, wherever in the picture they are."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, _BINS), np.int64)

    def add(self, ab: NDArray[Any]) -> None:
        """Count the a, b and chroma of each pixel of (N, 2, H, W) ab, Lab units."""
        a, b = ab[:, 0].ravel(), ab[:, 1].ravel()
        for own, values in zip(self._counts, (a, b, np.hypot(a, b)), strict=True):
            own += np.histogram(values.clip(-_LIMIT, _LIMIT), _BINS, (-_LIMIT, _LIMIT))[0]

    def distance(self, other: ColorCounts) -> float:
        """The sum of the Wasserstein-1 distances of a, of b and of chroma, Lab units, to half a unit."""
        one, two = (side._counts / side._counts.sum(1, keepdims=True) for side in (self, other))
        return float(np.abs(np.cumsum(one - two, 1)).sum() * 2 * _LIMIT / _BINS)
