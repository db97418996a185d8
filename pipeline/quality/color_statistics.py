"""What the colors of a photograph are like: how many, which hues, and whether they keep to the edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Pixels

Array = NDArray[np.floating[Any]]

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


def hue_distance(hues: Array, other: Array) -> float:
    """How far hue must be moved, in degrees, to turn one picture's hues into the other's: 0 to 180.

    The earth mover's distance on the circle between two histograms of `hue_histogram`.
    """
    difference = np.cumsum(hues - other)
    # Rabin, Delon and Gousseau 2011: on a circle the flow is free up to a constant, and the median is the cheapest.
    return float(np.abs(difference - np.median(difference)).sum() * 360 / _HUES)


def hue_histogram(ab: Array) -> Array:
    """(H, W, 2) -> (36,): the share of each hue, each pixel weighing its chroma. A gray picture has all hues alike."""
    chroma = np.hypot(ab[..., 0], ab[..., 1], dtype=np.float64)
    if chroma.mean() < _NO_HUE:
        return np.full(_HUES, 1 / _HUES)
    turns = np.arctan2(ab[..., 1], ab[..., 0]) / (2 * np.pi) % 1
    # Modulo because a hue just under a whole turn may be rounded to it.
    counts = np.bincount((turns * _HUES).astype(np.int64).ravel() % _HUES, chroma.ravel(), _HUES)
    return np.asarray(counts / counts.sum())


@dataclass(frozen=True)
class Edges:
    """The neighbors in a true photograph whose L* differs by 20 or more."""

    first: NDArray[np.int64]
    """(E,) numbers of the upper or left pixels, row by row."""
    second: NDArray[np.int64]
    """(E,) those of their neighbors below or to the right."""
    steps: Array
    """(E,) differences of their true ab, Lab units."""


def strong_edges(lightness: Array, ab: Array) -> Edges:
    """Of (H, W) lightness and (H, W, 2) ab of a true photograph."""
    numbers = np.arange(lightness.size).reshape(lightness.shape)
    down, right = (np.abs(np.diff(lightness, axis=axis)) >= EDGE for axis in (0, 1))
    first = np.concatenate([numbers[:-1][down], numbers[:, :-1][right]])
    second = np.concatenate([numbers[1:][down], numbers[:, 1:][right]])
    return Edges(first, second, _steps(ab, first, second))


def bleeding(ab: Array, edges: Edges) -> float:
    """How much of the step in color is missing at strong edges of the lightness, Lab units; 0 where there is no edge.

    Returns:
        The mean over the edges of how much smaller the difference of (H, W, 2) ab is than it truly is.
    """
    if not edges.first.size:
        return 0.0
    return float(np.maximum(edges.steps - _steps(ab, edges.first, edges.second), 0).mean())


def _steps(ab: Array, first: NDArray[np.int64], second: NDArray[np.int64]) -> Array:
    colors = ab.reshape(-1, 2)
    return np.asarray(np.hypot(*(colors[second] - colors[first]).T, dtype=np.float64))


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
        """Return the sum of the Wasserstein-1 distances of a, of b and of chroma, Lab units, to half a unit."""
        one, two = (side._counts / side._counts.sum(1, keepdims=True) for side in (self, other))
        return float(np.abs(np.cumsum(one - two, 1)).sum() * 2 * _LIMIT / _BINS)


# As in Zhang et al. 2016: squares of 10 Lab units. A color that training never shows does not get an infinite weight.
_SQUARE, _FARTHEST, _UNIFORM = 10, 110, 0.01
_SQUARES = 2 * _FARTHEST // _SQUARE


class ColorPrior:
    """The share of training pixels in each square of a and b."""

    def __init__(self) -> None:
        self._counts = np.zeros(_SQUARES * _SQUARES, np.int64)

    def add(self, ab: NDArray[Any]) -> None:
        """Count (N, 2, H, W) ab, Lab units."""
        place = ((ab + _FARTHEST) / _SQUARE).astype(np.int64).clip(0, _SQUARES - 1)
        self._counts += np.bincount((place[:, 0] * _SQUARES + place[:, 1]).ravel(), minlength=_SQUARES**2)

    def weights(self, ab: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the inverse frequency of each pixel's color: (H, W, 2) -> (H, W) of mean 1."""
        share = self._counts / max(self._counts.sum(), 1)
        mixed = (1 - _UNIFORM) * share + _UNIFORM / len(share)
        place = ((ab + _FARTHEST) / _SQUARE).astype(np.int64).clip(0, _SQUARES - 1)
        inverse = 1 / mixed[place[..., 0] * _SQUARES + place[..., 1]]
        return np.asarray(inverse / inverse.mean())
