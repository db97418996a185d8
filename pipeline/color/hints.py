"""Colors that were said for places of a picture, spread along its lightness."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.color.constants import AB_SCALE
from pipeline.errors import InputError, missing_extra
from pipeline.types import Floats

# The best of a search on 48 photographs (docs/how-to/hints.md): how much of a color passes between two neighbors whose
# L* differs, what passes in any case, how fast a color fades, and how firmly a hint is kept.
_SIGMA, _FLOOR, _PULL, _KEPT = 3.0, 1e-4, 9e-5, 1e3
# Short side of the copy that hints are spread on, and its most pixels: solving takes so many some 0.5 s.
_SIDE, _MOST_PIXELS = 192, 2**17


@dataclass(frozen=True)
class Said:
    """What hints say of a small copy."""

    ab: Floats
    """(2, h, w) a* and b*; 0 where nothing is said."""
    where: NDArray[np.bool_]
    """(h, w): whether a color is said."""

    @property
    def channels(self) -> Floats:
        """What a generator sees of it: (3, h, w), a* and b* as fractions of 110, and 1 where a color is said."""
        return np.concatenate([self.ab / np.float32(AB_SCALE), self.where[None].astype(np.float32)])


def spread_hints(light: Floats, ab: Floats, said: Said) -> Floats:
    """Spread the difference between what is said and what a network painted there.

    Colorization by optimization (Levin, Lischinski & Weiss 2004, https://doi.org/10.1145/1015706.1015780), of the
    residual: between two of the eight neighbors passes more of it the less their lightness differs, and it fades with
    the distance. So it stops at edges, and a place that nothing was said of keeps the network's color.

    Args:
        light: (h, w) L* of the small copy.
        ab: (2, h, w) a* and b* that the network painted.
        said: on the same copy.

    Returns:
        (2, h, w) a* and b*, those said where they are.

    Raises:
        InputError: scipy is not installed.
    """
    residual = np.where(said.where, said.ab - ab, 0).astype(np.float32)
    spread = _solved(light, residual, said.where)
    colors: Floats = np.where(said.where, said.ab, ab + spread).astype(np.float32)
    return colors


def require_solver() -> tuple[Any, Any]:
    """Return scipy's sparse matrices and their solver.

    Raises:
        InputError: scipy is not installed.
    """
    try:
        from scipy import sparse
        from scipy.sparse import linalg
    except ImportError:
        raise InputError(missing_extra("hints are spread by scipy", "hints")) from None
    return sparse, linalg


def hint_side(height: int, width: int) -> int:
    """Return the short side of the copy of a photograph on which its hints are spread, pixels."""
    short, long = sorted((height, width))
    return max(1, min(_SIDE, short, int(sqrt(_MOST_PIXELS * short / long))))


def _solved(light: Floats, residual: Floats, said: NDArray[np.bool_]) -> Floats:
    """Minimize w_ij (u_i - u_j)^2 summed over neighbors, pull u_i^2, and kept (u_i - residual_i)^2 at hints."""
    sparse, linalg = require_solver()
    height, width = light.shape
    count, light = height * width, light.astype(np.float64)
    number = np.arange(count).reshape(height, width)
    one, other, weights = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, height - down), slice(max(-right, 0), width - max(right, 0)))
        there = (slice(down, height), slice(max(right, 0), width - max(-right, 0)))
        weight = np.exp(-((light[here] - light[there]) ** 2) / (2 * _SIGMA**2)) + _FLOOR
        one.append(number[here].ravel())
        other.append(number[there].ravel())
        weights.append(weight.ravel())
    pairs = (np.concatenate(one), np.concatenate(other))
    passing = sparse.coo_matrix((np.concatenate(weights), pairs), (count, count))
    passing = (passing + passing.T).tocsc()
    firm = _KEPT * said.astype(np.float64).ravel()
    # A color fades over the same part of a photograph, however small the copy is.
    pull = _PULL * (_SIDE / min(height, width)) ** 2
    matrix = sparse.diags(np.asarray(passing.sum(1)).ravel() + pull + firm) - passing
    # For a symmetric matrix whose diagonal is the largest: no pivots, and half the fill-in.
    factors = linalg.splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True}
    )
    solution = factors.solve((firm * residual.reshape(2, -1)).T.astype(np.float64))
    return np.asarray(solution.T.reshape(2, height, width), np.float32)
