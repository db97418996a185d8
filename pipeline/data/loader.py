"""Batches of photographs; what is random in them is a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.data.shards import Photographs


@dataclass(frozen=True)
class LoaderConfig:
    """How batches for training are made."""

    batch_size: int
    seed: int
    """Seed of the order and of the flips."""
    flip: bool
    """Mirror each photograph with probability 1/2."""
    num_workers: int = 0
    rank: int = 0
    """Of the process that this is."""
    processes: int = 1
    """How many share each batch."""
    pinned: bool = False
    """Whether batches are in pinned memory, from which they are copied to a GPU while that computes."""

    def steps(self, photographs: int) -> int:
        """Steps of an epoch: the last batch, where it is not full, is left out."""
        return photographs // self.batch_size


def train_batches(photographs: Photographs, config: LoaderConfig, epoch: int, skip: int = 0) -> Iterator[Tensor]:
    """One epoch in shuffled order, without its first `skip` batches and without a last one that is not full.

    Of several processes each gets its own part of every batch.

    Yields:
        (batch_size / processes, 3, S, S) uint8 sRGB, channels_last.
    """
    order = np.random.default_rng([config.seed, epoch]).permutation(len(photographs))
    full, share = config.steps(len(photographs)), config.batch_size // config.processes
    batches = order[: full * config.batch_size].reshape(full, config.processes, share)
    view = _Shuffled(photographs, batches[skip:, config.rank].flatten().tolist(), config, epoch)
    return _load(view, share, config)


def plain_batches(photographs: Photographs, batch_size: int) -> Iterator[Tensor]:
    """All photographs once, in their order, unchanged: (up to batch_size, 3, S, S) uint8 sRGB."""
    unchanged = LoaderConfig(batch_size, seed=0, flip=False)
    view = _Shuffled(photographs, list(range(len(photographs))), unchanged, epoch=0)
    return _load(view, batch_size, unchanged)


def augmented(batch: Tensor, config: LoaderConfig, epoch: int, indices: list[int]) -> Tensor:
    """Photographs as training sees them in an epoch: (N, S, S, 3) uint8 -> the same shape.

    Args:
        indices: of the photographs in their split.
    """
    if not config.flip:
        return batch
    # No stream of random numbers: each photograph has its own, whichever process asks.
    mirrored = [np.random.default_rng([config.seed, epoch, index]).random() < 0.5 for index in indices]
    return torch.where(torch.tensor(mirrored)[:, None, None, None], batch.flip(2), batch)


class _Shuffled(Dataset[Tensor]):
    def __init__(self, photographs: Photographs, order: list[int], config: LoaderConfig, epoch: int):
        self._photographs, self._order = photographs, order
        self._config, self._epoch = config, epoch

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Tensor:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: list[int]) -> Tensor:
        """A whole batch at once, which is several times faster than photograph by photograph."""
        indices = [self._order[position] for position in positions]
        return augmented(torch.from_numpy(self._photographs.gather(indices)), self._config, self._epoch, indices)


def _load(view: _Shuffled, batch_size: int, config: LoaderConfig) -> Iterator[Tensor]:
    how = {"num_workers": config.num_workers, "pin_memory": config.pinned}
    loader = DataLoader(view, batch_size, collate_fn=_as_it_is, **how)  # type: ignore[arg-type]
    for batch in loader:
        yield batch.permute(0, 3, 1, 2)


def _as_it_is(batch: Tensor) -> Tensor:
    return batch
