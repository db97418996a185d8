"""Batches of photographs; randomness is a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.data.shards import Photographs


def train_batches(
    photographs: Photographs, *, batch_size: int, seed: int, epoch: int, flip: bool, num_workers: int, skip: int = 0
) -> Iterator[Tensor]:
    """One epoch in a shuffled order, after its first `skip` batches; what does not fill a batch is left out.

    Yields:
        (batch_size, 3, S, S) uint8 sRGB, channels_last.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(photographs))
    view = _View(photographs, order[skip * batch_size :].tolist(), seed, epoch, flip)
    return _load(view, batch_size, num_workers, drop_last=True)


def plain_batches(photographs: Photographs, *, batch_size: int, num_workers: int = 0) -> Iterator[Tensor]:
    """All photographs once, in their order, unchanged: (up to batch_size, 3, S, S) uint8 sRGB."""
    view = _View(photographs, list(range(len(photographs))), 0, 0, False)
    return _load(view, batch_size, num_workers, drop_last=False)


class _View(Dataset[Tensor]):
    def __init__(self, photographs: Photographs, order: list[int], seed: int, epoch: int, flip: bool):
        self._photographs, self._order = photographs, order
        self._seed, self._epoch, self._flip = seed, epoch, flip

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Tensor:
        index = self._order[position]
        pixels = self._photographs[index]
        # Not a stream of random numbers: each photograph's own, whichever process asks.
        if self._flip and np.random.default_rng([self._seed, self._epoch, index]).random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        return torch.from_numpy(pixels)


def _load(view: _View, batch_size: int, num_workers: int, *, drop_last: bool) -> Iterator[Tensor]:
    loader = DataLoader(view, batch_size, num_workers=num_workers, drop_last=drop_last)
    for batch in loader:
        yield batch.permute(0, 3, 1, 2)
