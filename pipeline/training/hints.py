"""Hints as somebody might give them, drawn from the true colors of training photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.color.constants import AB_SCALE
from pipeline.models.config import HINT_CHANNELS

Array = NDArray[np.float64]

# After each hint a further one follows with 7 in 8: 8 in the mean, as in Zhang et al. 2017 (section 3.1), which has the
# squares of true mean colors and the normal places from there, too.
_STOP = 1 / 8
_MOST = 64
# Side of a hint's square, as a share of the photograph's.
_SMALLEST, _LARGEST = 0.01, 0.05
# Deviation of places around the middle, as a share of the side; and how many are anywhere.
_AROUND, _ANYWHERE = 0.25, 0.5
# How many photographs show their whole truth: whatever is said must be kept.
_WHOLE = 0.01
# How many hints are a little off, as people pick them; and by how much, Lab units.
_OFF, _DEVIATION = 0.2, 6.0
# Another stream of random numbers than that of a photograph's other accidents.
_STREAM = 0x48


def simulated(ab: Tensor, seeds: Sequence[int], without: float) -> Tensor:
    """Draw hints for photographs; each photograph's depend on its own seed alone.

    Args:
        ab: (N, 2, H, W) true a* and b* as fractions of 110.
        seeds: of each photograph.
        without: share of the photographs that get none.

    Returns:
        (N, 3, H, W): a* and b* as fractions of 110 where there is a hint, and 1 there; 0 elsewhere.
    """
    true = ab.detach().float().cpu().numpy()  # where slices cost less
    hints = np.zeros((len(true), HINT_CHANNELS, *true.shape[2:]), np.float32)
    for number, seed in enumerate(seeds):
        rng = np.random.default_rng([seed, _STREAM])
        if rng.random() < without:
            continue
        if rng.random() < _WHOLE:
            hints[number, :2], hints[number, 2] = true[number], 1
            continue
        for top, left, side, off in _places(rng, true.shape[2], true.shape[3]):
            square = (slice(top, top + side), slice(left, left + side))
            color = true[(number, slice(None), *square)].mean((1, 2)) + off
            hints[(number, slice(0, 2), *square)] = color[:, None, None]
            hints[(number, 2, *square)] = 1
    return torch.from_numpy(hints).to(ab.device)


def _places(rng: np.random.Generator, height: int, width: int) -> list[tuple[int, int, int, Array]]:
    """Draw the top, left and side of each hint's square, pixels, and how far its color is off, fractions of 110."""
    count = min(int(rng.geometric(_STOP)), _MOST)
    largest = max(1, round(_LARGEST * min(height, width)))
    smallest = min(largest, max(1, round(_SMALLEST * min(height, width))))
    found = []
    for _ in range(count):
        side = int(rng.integers(smallest, largest + 1))
        middle = rng.random(2) if rng.random() < _ANYWHERE else rng.normal(0.5, _AROUND, 2)
        top, left = (
            int(np.clip(place * (length - side), 0, length - side))
            for place, length in zip(middle, (height, width), strict=True)
        )
        off = rng.normal(0, _DEVIATION / AB_SCALE, 2) if rng.random() < _OFF else np.zeros(2)
        found.append((top, left, side, off))
    return found


def with_hints(condition: Tensor, hints: Tensor) -> Tensor:
    """Join what a generator sees: (N, 1, H, W) lightness and (N, 3, H, W) hints -> (N, 4, H, W)."""
    return torch.cat([condition, hints], 1)
