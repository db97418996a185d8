"""The margins of a picture: a print's paper, a negative's frame, the bed of a scanner, a film's black bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Floats

# L* that a margin may have: film is black and paper white, or gray with age.
_BLACK, _PAPER = 15.0, 75.0
# How far from its margin's lightness a pixel may be, L*: grain, stains, shadows. A frame's holes and letters are white.
_FLAT, _LETTERS = 4.0, 95.0
# Share of a row that must be as light as the margin; and how wide margins are, as shares of the side.
_OF_A_ROW, _NARROWEST, _WIDEST = 0.9, 0.015, 0.4
# Paper lies on the bed of a scanner, and film in a holder.
_MOST_LAYERS = 3


@dataclass(frozen=True)
class Inside:
    """What is inside of the margins, as shares of height and width."""

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0

    def slices(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Return rows and columns of a copy of the photograph of this (height, width)."""
        height, width = shape
        rows = slice(round(self.top * height), max(round(self.bottom * height), round(self.top * height) + 1))
        columns = slice(round(self.left * width), max(round(self.right * width), round(self.left * width) + 1))
        return rows, columns


WHOLE = Inside()


def inside_margins(light: Floats, *, of_a_film: bool = False) -> Inside:
    """Find what is inside of the margins: all where there are none.

    A margin is dark or light and flat. It counts where there is one on the other side, too: a white sky is none. Nor is
    what is wider than two fifths of the side.

    Args:
        light: (h, w) L* of a copy; 200 pixels or so are enough.
        of_a_film: whether it has the brightest of many frames. White is no margin there.
    """
    height, width = light.shape
    top, bottom, left, right = 0, height, 0, width
    if of_a_film:
        light = np.where(light <= _BLACK, 0, (_BLACK + _PAPER) / 2).astype(np.float32)
    for _ in range(_MOST_LAYERS):
        seen = light[top:bottom, left:right]
        above, below = _pair(seen, height - (bottom - top), height)
        before, behind = _pair(seen.T, width - (right - left), width)
        if not (above or before):
            break
        top, bottom, left, right = top + above, bottom - below, left + before, right - behind
    return Inside(top / height, bottom / height, left / width, right / width)


def _pair(light: Floats, gone: int, side: int) -> tuple[int, int]:
    """Return how many rows are margin above and below; none where one of them has none."""
    most = max(0, round(_WIDEST * side) - gone)
    found = _flat_rows(light[:most]), _flat_rows(light[::-1][:most])
    # One row further: where a margin ends within a pixel of the copy, that is half margin.
    return (found[0] + 1, found[1] + 1) if min(found) >= _NARROWEST * side else (0, 0)


def _flat_rows(light: Floats) -> int:
    """Return how many rows from the first one are margin."""
    if not len(light):
        return 0
    level = float(np.median(light[: max(1, len(light) // 16)]))
    if _BLACK < level < _PAPER:
        return 0
    blank: NDArray[np.bool_] = (abs(light - level) <= _FLAT) | (light >= _LETTERS) | (light <= _BLACK)
    flat = blank.mean(1) >= _OF_A_ROW
    return 0 if flat.all() else int(flat.argmin())
