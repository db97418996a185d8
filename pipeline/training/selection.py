"""When the adversarial stage should have stopped: the scores of each epoch, and the one to publish.

Published is the epoch that is nearest in color distribution among those that beat the saturation knob on ab_mae: what
the stage began with, its colors times the factor that makes them as colorful as that epoch's. Where no epoch beats the
knob, the stage was worth less than a slider, and what it began with is published again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.data.shards import Photographs
from pipeline.evaluation.color_statistics import distribution_distance
from pipeline.evaluation.predictor import Predictor, predictor
from pipeline.evaluation.saturation import Knob, mean_colorfulness, mean_error

_BATCH = 32
DISTANCE, MARGIN = "valid_color_distance", "valid_knob_margin"


class Selection:
    """Scores generators against what the stage began with, on validation photographs.

    Args:
        generator: what the stage begins with, on its device; its weights are copied.
    """

    def __init__(self, generator: nn.Module, space: ColorSpace, valid: Photographs, seed: int):
        self._space, self._seed = space, seed
        self.weights: dict[str, Tensor] = {k: v.detach().cpu().clone() for k, v in generator.state_dict().items()}
        self._knob = Knob(self._predictor(generator), valid, _BATCH)
        self.ab_mae = self._knob.ab_mae(1.0)
        """Of what the stage began with."""

    def scores(self, generator: nn.Module) -> dict[str, float]:
        """For history.csv: how colorful, how far in color distribution, and by how much ab_mae is under the knob's."""
        predict = self._predictor(generator)
        answers = [predict(batch) for batch in self._knob.batches]
        colors, reached = [ab for ab, _ in answers], mean_colorfulness([rgb for _, rgb in answers])
        true = torch.cat([lab[:, 1:] for lab in self._knob.true])
        knob = self._knob.ab_mae(self._knob.factor(reached))
        return {
            "valid_colorfulness": reached,
            DISTANCE: distribution_distance(torch.cat(colors).double().numpy(), true.double().numpy()),
            MARGIN: knob - mean_error(colors, self._knob.true),
        }

    def _predictor(self, generator: nn.Module) -> Predictor:
        return predictor(generator, self._space, next(generator.parameters()).device, self._seed)


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """The epoch to publish, from 1; 0 for what the stage began with."""
    better = [row for row in history if row[MARGIN] > 0]
    return int(min(better, key=lambda row: row[DISTANCE])["epoch"]) if better else 0
