"""The dial from faithful to vivid, and the saturation knob beside it: what more color costs in error."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.evaluation.predictor import Predictor
from pipeline.evaluation.saturation import mean_colorfulness, mean_error

VIVID = (0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
At = Callable[[float], Predictor]
"""A setting -> what colors so."""


def curve(at: At, settings: tuple[float, ...], photographs: Photographs, batch_size: int) -> list[dict[str, float]]:
    """Mean colorfulness and ab_mae over the photographs, for each setting."""
    return [{"setting": setting} | _measured(at(setting), photographs, batch_size) for setting in settings]


def _measured(predict: Predictor, photographs: Photographs, batch_size: int) -> dict[str, float]:
    sums = {"colorfulness": 0.0, "ab_mae": 0.0}
    for batch in plain_batches(photographs, batch_size):
        ab, rgb = predict(batch)
        sums["colorfulness"] += mean_colorfulness([rgb]) * len(batch)
        sums["ab_mae"] += mean_error([ab], [batch]) * len(batch)
    return {name: float(f"{total / len(photographs):.6g}") for name, total in sums.items()}
