"""The saturation knob: a generator's colors times one factor. Fine-tuning must be worth more than this slider."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from torch import Tensor

from pipeline.color.tensors import lab_to_rgb, rgb_to_lab, to_uint8
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.evaluation.color_statistics import colorfulness
from pipeline.evaluation.predictor import Predictor

# Photographs of validation that the knob knows, which bounds its memory; and the largest factor.
_MOST, _LARGEST = 512, 8.0
_HALVINGS = 20


def saturated(predict: Predictor, factor: float) -> Predictor:
    """The predictor with its ab times a factor, on the photograph's own lightness."""

    def predict_saturated(rgb: Tensor) -> tuple[Tensor, Tensor]:
        ab = predict(rgb)[0] * factor
        return ab, to_uint8(lab_to_rgb(torch.cat([rgb_to_lab(rgb)[:, :1], ab], 1)))

    return predict_saturated


class Knob:
    """A predictor's colors of the first validation photographs (512 at most), to be saturated.

    Args:
        batch_size: of the photographs that are predicted at once.
    """

    def __init__(self, predict: Predictor, valid: Photographs, batch_size: int):
        self.batches = list(islice(plain_batches(valid, batch_size), -(-_MOST // batch_size)))
        self.true = [rgb_to_lab(batch) for batch in self.batches]
        """(N, 3, S, S) L*a*b* of each batch."""
        self._ab = [predict(batch)[0] for batch in self.batches]

    def factor(self, wanted: float) -> float:
        """The factor that gives a mean colorfulness: between 0 and 8, exact to 1e-5."""
        low, high = 0.0, _LARGEST
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._colorfulness(middle) < wanted else (low, middle)
        return (low + high) / 2

    def ab_mae(self, factor: float) -> float:
        """The mean absolute error of a and b, Lab units."""
        return mean_error([ab * factor for ab in self._ab], self.true)

    def _colorfulness(self, factor: float) -> float:
        lights = (lab[:, :1] for lab in self.true)
        return mean_colorfulness(
            [
                to_uint8(lab_to_rgb(torch.cat([light, ab * factor], 1)))
                for light, ab in zip(lights, self._ab, strict=True)
            ]
        )


def mean_error(colors: list[Tensor], true: list[Tensor]) -> float:
    """The mean absolute error of batches of (N, 2, S, S) ab, against (N, 3, S, S) L*a*b*."""
    errors = [(ab - lab[:, 1:]).abs() for ab, lab in zip(colors, true, strict=True)]
    return float(sum(error.double().sum() for error in errors)) / sum(error.numel() for error in errors)


def mean_colorfulness(pictures: list[Tensor]) -> float:
    """Of batches of (N, 3, S, S) uint8 sRGB."""
    return float(np.mean([colorfulness(one.permute(1, 2, 0).numpy()) for batch in pictures for one in batch]))
