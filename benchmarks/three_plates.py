"""Color photographs of 1905-1915 from their three gray plates, taken through a blue, a green and a red filter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from pipeline.errors import ImageError
from pipeline.media.pictures import read_picture
from pipeline.types import Floats, Pixels, Samples

Shift = NDArray[np.float64]
"""(2,) pixels, down and to the right."""

# Of each side: borders lie within it, and it is left out where plates are compared.
_MARGIN = 0.12
# Standard deviation of the filter before gradients are taken, pixels.
_SIGMA = 1.0
# The coarsest copy has a short side of about this many pixels; a shift is found to 1/20 of a pixel.
_COARSEST, _PARTS = 85, 20
# Each copy is compared again, shifted by what was found, until that is less than this many of its pixels.
_ROUNDS, _SETTLED = 4, 0.05
# Blue to red directly and by way of green may differ by this share of the short side: one pixel in 340.
_DISAGREEMENT = 0.003
# Levels of 255 by which the rows on both sides of a border differ, for most of their pixels; rows cut beyond it.
_STEP, _BEYOND = 12, 2
_SMALLEST = 64


@dataclass(frozen=True)
class Aligned:
    """Three plates as one photograph."""

    rgb: Pixels
    """(H, W, 3) sRGB: what all three plates show, without their borders. Tones are those of the plates."""
    blue: Shift
    """By how much the blue plate was moved onto the green one."""
    red: Shift


def read_three_plates(path: Path, max_pixels: int) -> Aligned:
    """Read a scan of three plates and lay them over each other.

    Raises:
        ImageError: no picture, no gray column of three plates, or plates that do not match; the message is the reason.
    """
    pixels = read_picture(path, max_pixels).pixels
    if pixels.ndim != 2:
        raise ImageError("in color; expected one gray column of three plates: from the top blue, green and red filter")
    return align(pixels)


def align(column: Samples) -> Aligned:
    """Lay three plates over each other: each is shifted as a whole, by parts of a pixel.

    Shifts come from phase correlation (Guizar-Sicairos et al. 2008, scikit-image) of the strengths of edges, which
    all three filters see alike where gray values differ. It runs from coarse to fine.

    Args:
        column: (3 H, W) gray, uint8 or uint16: blue, green and red filter from the top, each a third.

    Raises:
        ImageError: not taller than wide, too small, or plates that do not match.
    """
    height, width = len(column) // 3, column.shape[1]
    if height * 3 < width or min(height, width) < _SMALLEST:
        raise ImageError(
            f"{width}x{len(column)} pixels; expected three plates below each other, each at least "
            f"{_SMALLEST} pixels high and wide"
        )
    scale = np.float32(255 / np.iinfo(column.dtype).max)
    blue, green, red = (column[first : first + height] * scale for first in (0, height, 2 * height))
    to_blue, to_red = find_shift(green, blue), find_shift(green, red)
    disagreement = float(np.abs(find_shift(red, blue) - (to_blue - to_red)).max())
    allowed = _DISAGREEMENT * min(height, width)
    if disagreement > allowed:
        raise ImageError(
            f"the plates do not match: from blue to red directly and by way of green, shifts differ by "
            f"{disagreement:.1f} pixels, allowed are {allowed:.1f}"
        )
    planes = [(red, to_red), (green, np.zeros(2)), (blue, to_blue)]
    moved = np.dstack([ndimage.shift(plane, by, order=3, mode="nearest") for plane, by in planes])
    (top, left), (bottom, right) = _common(planes)
    rgb = moved[top:bottom, left:right].round().clip(0, 255).astype(np.uint8)
    return Aligned(rgb, to_blue, to_red)


def find_shift(fixed: Floats, moving: Floats) -> Shift:
    """By how much (H, W) `moving` must be shifted to lie on `fixed`."""
    found = np.zeros(2)
    halvings = max(0, round(np.log2(min(fixed.shape) / _COARSEST)))
    for factor in [2**power for power in range(halvings, -1, -1)]:
        one, other = (_smaller(plane, factor) for plane in (fixed, moving))
        for _ in range(_ROUNDS):
            # Shifted first, so that both windows show the same part of the picture.
            edges = [_edges(one), _edges(ndimage.shift(other, found / factor, order=1, mode="nearest"))]
            more, _, _ = phase_cross_correlation(*map(_inside, edges), upsample_factor=_PARTS)
            found = found + more * factor
            if np.abs(more).max() < _SETTLED:
                break
    return found


def _smaller(plane: Floats, factor: int) -> Floats:
    if factor == 1:
        return plane
    small: Floats = ndimage.zoom(ndimage.gaussian_filter(plane, factor / 2), 1 / factor, order=1)
    return small


def _edges(plane: Floats) -> Floats:
    strength: Floats = ndimage.gaussian_gradient_magnitude(plane, _SIGMA)
    return strength


def _inside(plane: Floats) -> Floats:
    rows, columns = (round(_MARGIN * side) for side in plane.shape)
    return plane[rows : plane.shape[0] - rows, columns : plane.shape[1] - columns]


def _common(planes: list[tuple[Floats, Shift]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(top, left) and (bottom, right) of what every shifted plane shows within its borders."""
    first, last = [], []
    for plane, by in planes:
        before = np.array([_border(plane), _border(plane.T)])
        after = np.array([_border(plane[::-1]), _border(plane.T[::-1])])
        # Beyond where a shifted plane ends, its last row would be repeated.
        first.append(np.ceil(before + by))
        last.append(np.floor(np.array(plane.shape) - after + by))
    return np.max([*first, np.zeros(2)], 0).astype(np.int64), np.min([*last, planes[0][0].shape], 0).astype(np.int64)


def _border(plane: Floats) -> int:
    """Rows of the border at the top: up to the last straight edge across the plate, near its top."""
    steps = np.abs(np.median(plane[2:] - plane[:-2], axis=1))[: round(_MARGIN * len(plane))]
    strong = np.flatnonzero(steps > _STEP)
    return int(strong[-1]) + 1 + _BEYOND if len(strong) else 0
