"""How frequent each color is in training photographs, so that rare ones can count as much as sepia."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

# As in Zhang et al. 2016: squares of 10 Lab units. A color that training never shows does not get an infinite weight.
_STEP, _LIMIT, _UNIFORM = 10, 110, 0.01
_BINS = 2 * _LIMIT // _STEP


class ColorPrior:
    """The share of training pixels in each square of a and b."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS * _BINS, np.int64)

    def add(self, lab: Tensor) -> None:
        """Count (N, 3, H, W) L*a*b*."""
        place = ((lab[:, 1:] + _LIMIT) / _STEP).long().clamp(0, _BINS - 1)
        self._counts += torch.bincount((place[:, 0] * _BINS + place[:, 1]).flatten(), minlength=_BINS**2).numpy()

    def weights(self, ab: NDArray[np.floating[Any]]) -> Array:
        """Return the inverse frequency of each pixel's color: (H, W, 2) -> (H, W) of mean 1."""
        share = self._counts / max(self._counts.sum(), 1)
        mixed = (1 - _UNIFORM) * share + _UNIFORM / len(share)
        place = ((ab + _LIMIT) / _STEP).astype(np.int64).clip(0, _BINS - 1)
        inverse = 1 / mixed[place[..., 0] * _BINS + place[..., 1]]
        return np.asarray(inverse / inverse.mean())
