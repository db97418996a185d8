"""The dial from faithful to vivid, and the saturation knob beside it: what more color costs in error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.color.tensors import rgb_to_lab
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.evaluation.paired import mean_interval
from pipeline.quality.color_statistics import colorfulness
from pipeline.quality.predictor import Predictor

VIVID = (0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
At = Callable[[float], Predictor]
"""A setting -> what colors so."""


def curve(at: At, settings: tuple[float, ...], photographs: Photographs, batch_size: int) -> list[dict[str, float]]:
    """For each setting, mean colorfulness and ab_mae over the photographs, each with its 95 % interval over them."""
    return [{"setting": setting} | _measured(at(setting), photographs, batch_size) for setting in settings]


def _measured(predict: Predictor, photographs: Photographs, batch_size: int) -> dict[str, float]:
    each: dict[str, list[float]] = {"colorfulness": [], "ab_mae": []}
    for batch in plain_batches(photographs, batch_size):
        ab, rgb = predict(batch)
        each["colorfulness"] += [colorfulness(one.permute(1, 2, 0).numpy()) for one in rgb]
        each["ab_mae"] += (ab - rgb_to_lab(batch)[:, 1:]).abs().double().mean((1, 2, 3)).tolist()
    found: dict[str, float] = {}
    for name, values in each.items():
        low, high = mean_interval(np.array(values))
        found |= {name: float(np.mean(values)), f"{name}_low": low, f"{name}_high": high}
    return {name: float(f"{value:.6g}") for name, value in found.items()}
