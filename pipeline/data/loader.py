"""Batches of photographs; what is random in them is a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.data.shards import Photographs


@dataclass(frozen=True)
class LoaderConfig:
    """How batches for training are made."""

    batch_size: int
    seed: int
    """Seed of the order, the flips and the crops."""
    flip: bool
    """Mirror each photograph with probability 1/2."""
    crop: float = 1.0
    """Least side of the square that is cut out at random and enlarged again, as a share; 1: none."""
    epoch_steps: int = 0
    """Steps of an epoch that goes through a part of the photographs, another one each time; 0: through all."""
    num_workers: int = 0
    rank: int = 0
    """Of the process that this is."""
    processes: int = 1
    """How many share each batch."""
    pinned: bool = False
    """Whether batches are in pinned memory, from which they are copied to a GPU while that computes."""

    @property
    def share(self) -> int:
        """Photographs of a batch that each process gets; at least one, since there may be nothing to train."""
        return max(1, self.batch_size // self.processes)

    def steps(self, photographs: int) -> int:
        """Count the steps of an epoch: the last batch, where it is not full, is left out."""
        full = photographs // self.batch_size
        return min(full, self.epoch_steps) if self.epoch_steps else full


def train_batches(photographs: Photographs, config: LoaderConfig, epoch: int, skip: int = 0) -> Iterator[Tensor]:
    """One epoch in shuffled order, without its first `skip` batches and without a last one that is not full.

    Of several processes each gets its own part of every batch.

    Yields:
        (batch_size / processes, 3, S, S) uint8 sRGB, channels_last.
    """
    order = np.random.default_rng([config.seed, epoch]).permutation(len(photographs))
    full = config.steps(len(photographs))
    batches = order[: full * config.batch_size].reshape(full, config.processes, config.share)
    view = _Shuffled(photographs, batches[skip:, config.rank].flatten().tolist(), config, epoch)
    return _load(view, config.share, config)


def plain_batches(photographs: Photographs, batch_size: int, rank: int = 0, processes: int = 1) -> Iterator[Tensor]:
    """All photographs once, in their order, unchanged: (up to batch_size, 3, S, S) uint8 sRGB.

    Several processes share the batches: of two, the first gets the first, the third, the fifth and so on.
    """
    unchanged = LoaderConfig(batch_size, seed=0, flip=False)
    starts = range(rank * batch_size, len(photographs), processes * batch_size)
    indices = [index for start in starts for index in range(start, min(start + batch_size, len(photographs)))]
    view = _Shuffled(photographs, indices, unchanged, epoch=0)
    return _load(view, batch_size, unchanged)


def augmented(batch: Tensor, config: LoaderConfig, epoch: int, indices: list[int]) -> Tensor:
    """Photographs as training sees them in an epoch: (N, S, S, 3) uint8 -> the same shape.

    Args:
        indices: of the photographs in their split.
    """
    if not config.flip and config.crop == 1:
        return batch
    # No stream of random numbers: each photograph has its own, whichever process asks.
    draws = torch.tensor(np.stack([np.random.default_rng([config.seed, epoch, index]).random(4) for index in indices]))
    if config.flip:
        batch = torch.where((draws[:, 0] < 0.5)[:, None, None, None], batch.flip(2), batch)
    return _cropped(batch, config.crop, draws[:, 1:].float()) if config.crop < 1 else batch


def _cropped(batch: Tensor, least: float, draws: Tensor) -> Tensor:
    """Return a random square of each photograph, enlarged to the whole: (N, S, S, 3) uint8 -> the same shape.

    Args:
        least: side of the smallest square, as a share of S.
        draws: (N, 3) in [0, 1): how large, how far to the right, how far down.
    """
    side = least + (1 - least) * draws[:, 0]
    # The corners of the square lie within [-1, 1], which is the whole photograph.
    center = (draws[:, 1:] * 2 - 1) * (1 - side)[:, None]
    squares = torch.cat([torch.diag_embed(side[:, None].expand(-1, 2)), center[:, :, None]], 2)
    pixels = batch.permute(0, 3, 1, 2)
    grid = F.affine_grid(squares, list(pixels.shape), align_corners=False)
    enlarged = F.grid_sample(pixels.float(), grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return enlarged.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)


class _Shuffled(Dataset[Tensor]):
    def __init__(self, photographs: Photographs, order: list[int], config: LoaderConfig, epoch: int):
        self._photographs, self._order = photographs, order
        self._config, self._epoch = config, epoch

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Tensor:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: list[int]) -> Tensor:
        """Load a whole batch at once, which is several times faster than photograph by photograph."""
        indices = [self._order[position] for position in positions]
        return augmented(torch.from_numpy(self._photographs.gather(indices)), self._config, self._epoch, indices)


def _load(view: _Shuffled, batch_size: int, config: LoaderConfig) -> Iterator[Tensor]:
    how = {"num_workers": config.num_workers, "pin_memory": config.pinned}
    loader = DataLoader(view, batch_size, collate_fn=_as_it_is, **how)  # type: ignore[arg-type]
    for batch in loader:
        yield batch.permute(0, 3, 1, 2)


def _as_it_is(batch: Tensor) -> Tensor:
    return batch
