"""The saturation knob: a generator's colors times one factor. Fine-tuning must be worth more than this slider."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from pipeline.color.tensors import lab_to_rgb, rgb_to_lab, to_uint8
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.quality.color_statistics import colorfulness
from pipeline.quality.predictor import Predictor

# Pixels of validation that the knob knows, which bounds its memory and time: 128 photographs of 256 px.
_MOST_PIXELS = 128 * 256 * 256
# The largest factor, and how often the interval is halved in which it is looked for.
LARGEST_FACTOR, _HALVINGS = 8.0, 13


def saturated(predict: Predictor, factor: float) -> Predictor:
    """Return the predictor with its ab times a factor, on the photograph's own lightness."""

    def predict_saturated(rgb: Tensor) -> tuple[Tensor, Tensor]:
        ab = predict(rgb)[0] * factor
        return ab, to_uint8(lab_to_rgb(torch.cat([rgb_to_lab(rgb)[:, :1], ab], 1)))

    return predict_saturated


class Knob:
    """A predictor's colors of the first validation photographs (8 megapixels at most), to be saturated.

    Args:
        batch_size: of the photographs that are predicted at once.
    """

    def __init__(self, predict: Predictor, valid: Photographs, batch_size: int):
        pixels = batch_size * valid[0].shape[0] * valid[0].shape[1]
        self.batches = list(islice(plain_batches(valid, batch_size), -(-_MOST_PIXELS // pixels)))
        """(N, 3, S, S) uint8 sRGB."""
        self._ab = [predict(batch)[0] for batch in self.batches]
        self._light = [rgb_to_lab(batch)[:, :1] for batch in self.batches]

    def factor(self, wanted: float) -> float:
        """Return the factor that gives a mean colorfulness: between 0 and 8, exact to 0.001."""
        if self._colorfulness(1.0) == wanted:  # of the same network, whose margin over itself is 0
            return 1.0
        low, high = 0.0, LARGEST_FACTOR
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._colorfulness(middle) < wanted else (low, middle)
        return (low + high) / 2

    def ab_mae(self, factor: float) -> float:
        """Return the mean absolute error of a and b, Lab units."""
        return mean_error((ab * factor for ab in self._ab), self.batches)

    def _colorfulness(self, factor: float) -> float:
        pairs = zip(self._light, self._ab, strict=True)
        return mean_colorfulness(to_uint8(lab_to_rgb(torch.cat([light, ab * factor], 1))) for light, ab in pairs)


def mean_error(colors: Iterable[Tensor], true: Iterable[Tensor]) -> float:
    """Return the mean absolute error of batches of (N, 2, S, S) ab, against (N, 3, S, S) uint8 sRGB."""
    total, count = 0.0, 0
    for ab, rgb in zip(colors, true, strict=True):
        total += float((ab - rgb_to_lab(rgb)[:, 1:]).abs().double().sum())
        count += ab.numel()
    return total / count


def mean_colorfulness(pictures: Iterable[Tensor]) -> float:
    """Of batches of (N, 3, S, S) uint8 sRGB."""
    return float(np.mean([colorfulness(one.permute(1, 2, 0).numpy()) for batch in pictures for one in batch]))
