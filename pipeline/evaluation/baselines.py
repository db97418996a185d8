"""Median colors of the training photographs: what a network must beat to have learnt what things are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.color.tensors import lab_to_rgb, rgb_to_lab, to_uint8
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.progress import progress
from pipeline.quality.color_statistics import ColorPrior
from pipeline.quality.predictor import Predictor

# Medians are read off histograms, so that memory does not grow with the photographs.
_STEP, _LIMIT = 0.25, 128.0


class MedianColors:
    """The median a and b of the training pixels, for each interval of lightness, and over all.

    Medians are exact to 0.125 Lab units. The median minimizes the mean absolute error, so
    no other function of lightness alone can beat the table on the training photographs.
    """

    def __init__(self, labs: Iterable[Tensor], bins: int):
        """labs: batches of (N, 3, H, W) L*a*b*; bins: equal intervals of L over [0, 100]."""
        levels = int(2 * _LIMIT / _STEP)
        counts = np.zeros((2, bins, levels), np.int64)
        for lab in labs:
            row = lightness_bin(lab[:, 0], bins).numpy().ravel()
            for channel in (0, 1):
                level = ((lab[:, 1 + channel] + _LIMIT) / _STEP).long().clamp(0, levels - 1)
                flat = np.bincount(row * levels + level.numpy().ravel(), minlength=bins * levels)
                counts[channel] += flat.reshape(bins, levels)
        self.constant = torch.tensor(_medians(counts.sum(1, keepdims=True))[:, 0])
        """(2,) Lab units."""
        table = _medians(counts)
        # A lightness that no training pixel has gets the median of all.
        unseen = counts[0].sum(-1) == 0
        table[:, unseen] = self.constant.numpy()[:, None]
        self.table = torch.tensor(table)
        """(2, bins) Lab units."""

    def constant_ab(self, lightness: Tensor) -> Tensor:
        """(N, H, W) L -> (N, 2, H, W)."""
        return self.constant[None, :, None, None].expand(-1, -1, *lightness.shape[1:]).repeat(len(lightness), 1, 1, 1)

    def table_ab(self, lightness: Tensor) -> Tensor:
        """(N, H, W) L -> (N, 2, H, W)."""
        return self.table[:, lightness_bin(lightness, self.table.shape[1])].transpose(0, 1)


def lightness_bin(lightness: Tensor, bins: int) -> Tensor:
    return (lightness / 100 * bins).long().clamp(0, bins - 1)


def _medians(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """(..., levels) histogram -> (...) its median, the middle of the level that it falls in."""
    cumulative = counts.cumsum(-1)
    half = (cumulative[..., -1:] + 1) // 2
    level = (cumulative >= np.maximum(half, 1)).argmax(-1)
    middle: NDArray[np.float32] = ((level + 0.5) * _STEP - _LIMIT).astype(np.float32)
    return middle


def baselines(train: Photographs, batch_size: int, bins: int) -> tuple[dict[str, Predictor], ColorPrior]:
    """Make gray, constant and lightness_table, and count how frequent each color is, in one pass over the photographs.

    Args:
        train: the training photographs.
        bins: rows of the lightness table.
    """
    prior = ColorPrior()

    def labs() -> Iterator[Tensor]:
        total = -(-len(train) // batch_size)
        for batch in progress(plain_batches(train, batch_size), total=total, desc="medians", unit="batch", leave=False):
            lab = rgb_to_lab(batch)
            prior.add(lab[:, 1:].numpy())
            yield lab

    medians = MedianColors(labs(), bins)
    made = {
        "gray": _from_lightness(lambda lightness: torch.zeros_like(medians.constant_ab(lightness))),
        "constant": _from_lightness(medians.constant_ab),
        "lightness_table": _from_lightness(medians.table_ab),
    }
    return made, prior


def _from_lightness(color: Callable[[Tensor], Tensor]) -> Predictor:
    """color: (N, H, W) L -> (N, 2, H, W) ab."""

    def predict(rgb: Tensor) -> tuple[Tensor, Tensor]:
        lightness = rgb_to_lab(rgb)[:, 0]
        ab = color(lightness)
        return ab, to_uint8(lab_to_rgb(torch.cat([lightness[:, None], ab], 1)))

    return predict
