"""The margins of a picture: a print's paper, a negative's frame, the bed of a scanner, a film's black bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Floats

MARGINS_SEEN = 192
"""Short side of a copy on which margins are looked for, pixels: enough to see narrow ones."""
# L* that a margin may have: film is black and paper white, or gray with age.
_BLACK, _PAPER = 15.0, 75.0
# How far from its margin's lightness a pixel may be, L*: grain, stains, shadows. A frame's holes and letters are white.
_FLAT, _LETTERS = 4.0, 95.0
# How much two opposite sides may differ, L*.
_UNLIKE = 6.0
# Share of a row that must be as light as the margin; and how wide margins are, as shares of the side.
_OF_A_ROW, _NARROWEST, _WIDEST = 0.95, 0.015, 0.4
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
        return _slice(self.top, self.bottom, height), _slice(self.left, self.right, width)


def _slice(first: float, last: float, length: int) -> slice:
    """Return the pixels of a side. How many there are hangs on their share alone, not on where they begin."""
    count = max(1, round((last - first) * length))
    start = min(round(first * length), length - count)
    return slice(start, start + count)


WHOLE = Inside()


def inside_margins(light: Floats, *, of_a_film: bool = False) -> Inside:
    """Find what is inside of the margins: all where there are none.

    A margin is flat, and as dark or light as the one on the other side. Black ones may be on two sides, as bars are.
    Paper is on all four: a white sky over snow is none. Each is two fifths of the side wide at most.

    Args:
        light: (h, w) L* of a copy, as large as MARGINS_SEEN says.
        of_a_film: whether it has the brightest of many frames. White is no margin there.
    """
    height, width = light.shape
    top, bottom, left, right = 0, height, 0, width
    if of_a_film:
        light = np.where(light <= _BLACK, 0, (_BLACK + _PAPER) / 2).astype(np.float32)
    for _ in range(_MOST_LAYERS):
        seen = light[top:bottom, left:right]
        rows = _Pair.of(seen, height - len(seen), height)
        columns = _Pair.of(seen.T, width - seen.shape[1], width)
        if not (rows.found and columns.found):
            rows, columns = rows.black(), columns.black()
        if not (rows.found or columns.found):
            break
        top, bottom, left, right = top + rows.first, bottom - rows.last, left + columns.first, right - columns.last
    return Inside(top / height, bottom / height, left / width, right / width)


@dataclass(frozen=True)
class _Pair:
    """Margins on two opposite sides."""

    first: int = 0
    last: int = 0
    level: float = 0.0
    """L*."""

    @classmethod
    def of(cls, light: Floats, gone: int, side: int) -> _Pair:
        """Find those of the first and the last rows.

        Args:
            gone: rows that were margin before.
            side: rows of the whole copy.
        """
        most = max(0, round(_WIDEST * side) - gone)
        (first, level), (last, other) = _flat_rows(light[:most]), _flat_rows(light[::-1][:most])
        if min(first, last) < _NARROWEST * side or abs(level - other) > _UNLIKE:
            return cls()
        # One row further: where a margin ends within a pixel of the copy, that is half margin.
        return cls(first + 1, last + 1, max(level, other))

    @property
    def found(self) -> bool:
        return self.first > 0

    def black(self) -> _Pair:
        """Return it where it is black, else none."""
        return self if self.level <= _BLACK else _Pair()


def _flat_rows(light: Floats) -> tuple[int, float]:
    """Return how many rows from the first one are margin, and its L*."""
    if not len(light):
        return 0, 0.0
    level = float(np.median(light[: max(1, len(light) // 16)]))
    if _BLACK < level < _PAPER:
        return 0, level
    blank: NDArray[np.bool_] = abs(light - level) <= _FLAT
    if level <= _BLACK:
        blank |= (light >= _LETTERS) | (light <= _BLACK)
    flat = blank.mean(1) >= _OF_A_ROW
    return (0 if flat.all() else int(flat.argmin())), level
