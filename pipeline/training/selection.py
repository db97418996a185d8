"""When the adversarial stage should have stopped: the scores of each epoch, and the one to publish.

Published is the epoch that is nearest in color distribution among those that beat the saturation knob on ab_mae: what
the stage began with, its colors times the factor that makes them as colorful as that epoch's. Where no epoch beats the
knob, the stage was worth less than a slider, and what it began with is published again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace, rgb_to_lab
from pipeline.data.loader import LoaderConfig, plain_batches
from pipeline.data.shards import Photographs
from pipeline.quality.color_statistics import ColorCounts
from pipeline.quality.predictor import Predictor, predictor
from pipeline.quality.saturation import Knob, mean_colorfulness, mean_error
from pipeline.quality.validation import ab_mae

DISTANCE, MARGIN = "valid_color_distance", "valid_knob_margin"


class Selection:
    """Scores generators against what the stage began with, on validation photographs.

    Args:
        generator: what the stage begins with, on its device; its weights are copied.
        loader: how training makes its batches: what it can compute at once, and the seed of noise.
    """

    def __init__(self, generator: nn.Module, space: ColorSpace, valid: Photographs, loader: LoaderConfig):
        self._space, self._seed = space, loader.seed
        self.weights: dict[str, Tensor] = {k: v.detach().cpu().clone() for k, v in generator.state_dict().items()}
        self._knob = Knob(self._predictor(generator), valid, loader.share)
        self._true = ColorCounts()
        for batch in self._knob.batches:
            self._true.add(rgb_to_lab(batch)[:, 1:].numpy())
        device = next(generator.parameters()).device
        self.ab_mae = ab_mae(generator, (batch.to(device) for batch in plain_batches(valid, loader.share)), space)
        """Of what the stage began with, on all validation photographs."""

    def scores(self, generator: nn.Module) -> dict[str, float]:
        """For history.csv: how colorful, how far in color distribution, and by how much ab_mae is under the knob's."""
        predict = self._predictor(generator)
        answers = [predict(batch) for batch in self._knob.batches]
        counts, reached = ColorCounts(), mean_colorfulness(rgb for _, rgb in answers)
        for ab, _ in answers:
            counts.add(ab.numpy())
        error = mean_error((ab for ab, _ in answers), self._knob.batches)
        return {
            "valid_colorfulness": reached,
            DISTANCE: counts.distance(self._true),
            MARGIN: self._knob.ab_mae(self._knob.factor(reached)) - error,
        }

    def _predictor(self, generator: nn.Module) -> Predictor:
        return predictor(generator, self._space, next(generator.parameters()).device, self._seed)


def least_error(history: Sequence[Mapping[str, float]]) -> int:
    """Return the epoch that pretraining publishes, which has no rival: that of the least ab_mae on valid."""
    errors = {int(row["epoch"]): row["valid_ab_mae"] for row in history}
    return min(errors, key=lambda epoch: errors[epoch] if math.isfinite(errors[epoch]) else math.inf)


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """Return the epoch to publish, from 1; 0 for what the stage began with."""
    better = [row for row in history if row[MARGIN] > 0]
    return int(min(better, key=lambda row: row[DISTANCE])["epoch"]) if better else 0
