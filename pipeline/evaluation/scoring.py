"""Score every predictor on every test photograph."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.color.tensors import rgb_to_lab
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.evaluation.classifier import Classifier
from pipeline.evaluation.features import FEWEST, frechet_distance, resampled_distances
from pipeline.evaluation.metrics import OTHER_COLUMNS, Metric, Photograph, score
from pipeline.evaluation.paired import mean_interval, spread_interval
from pipeline.evaluation.published_metrics import Fid, Lpips
from pipeline.progress import progress
from pipeline.quality.color_statistics import ColorPrior
from pipeline.quality.predictor import Predictor
from pipeline.system import cores
from pipeline.types import Pixels

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Judges:
    """What colored photographs are judged by, besides the true ones."""

    prior: ColorPrior
    classifier: Classifier | None
    lpips: Lpips | None = None
    fid: Fid | None = None
    own: Mapping[str, Metric] = field(default_factory=dict)
    """Metrics of one's own."""


@dataclass
class Scores:
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One for each photograph and predictor: index, path, colorizer, each metric, truth_colorfulness."""
    features: dict[str, list[Array]] = field(default_factory=dict)
    """The classifier's features of each photograph by predictor, and under "truth"; empty without a classifier."""
    fid: dict[str, float] = field(default_factory=dict)
    """By predictor, where it is measured."""

    def colorizers(self) -> list[str]:
        return list(dict.fromkeys(row["colorizer"] for row in self.rows))

    def values(self, colorizer: str) -> dict[str, Array]:
        """Each metric of each photograph, in their order."""
        rows = [row for row in self.rows if row["colorizer"] == colorizer]
        names = [name for name in rows[0] if name not in OTHER_COLUMNS]
        return {name: np.array([row[name] for row in rows]) for name in names}

    def means(self) -> dict[str, dict[str, float]]:
        """By predictor: the mean of each metric over the photographs, and what only many of them together have."""
        return {name: self._means_of(name) for name in self.colorizers()}

    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Return the 95 % interval of each mean, and of fd_lite0, by predictor."""
        found = {
            name: {metric: mean_interval(values) for metric, values in self.values(name).items()}
            for name in self.colorizers()
        }
        for name, (value, resampled) in self.frechet.items():
            found[name]["fd_lite0"] = spread_interval(value, resampled)
        return found

    @cached_property
    def frechet(self) -> dict[str, tuple[float, Array]]:
        """fd_lite0 by predictor, of all photographs and of resamples, where there are enough; ask once at the end."""
        if len(self.features.get("truth", [])) < FEWEST:
            return {}
        true = np.stack(self.features["truth"])
        each = {name: np.stack(self.features[name]) for name in self.colorizers()}
        return {name: (frechet_distance(own, true), resampled_distances(own, true)) for name, own in each.items()}

    def _means_of(self, colorizer: str) -> dict[str, float]:
        means = {name: float(values.mean()) for name, values in self.values(colorizer).items()}
        if colorizer in self.frechet:
            means["fd_lite0"], _ = self.frechet[colorizer]
        if colorizer in self.fid:
            means["fid"] = self.fid[colorizer]
        return means


def score_all(
    predictors: dict[str, Predictor], test: Photographs, names: list[str], judges: Judges, batch_size: int
) -> Scores:
    """Score each predictor on each photograph.

    Args:
        test: the photographs.
        names: theirs, in their order.
        judges: what measures besides the pixels; its FID looks at each, and has a value once all have been seen.
        batch_size: how many photographs are colored at a time.
    """
    found, index = Scores(), 0
    # Threads: what takes the time is in NumPy and SciPy, which let others run meanwhile.
    with progress(total=len(test), desc="evaluate", unit="photo") as bar, ThreadPoolExecutor(cores()) as threads:
        for batch in plain_batches(test, batch_size):
            truths = [_weighted(true, judges.prior) for true in _photographs(rgb_to_lab(batch)[:, 1:], batch, judges)]
            outputs = {name: predict(batch) for name, predict in predictors.items()}
            colored = {name: _photographs(*output, judges, batch) for name, output in outputs.items()}
            if judges.fid:
                judges.fid.look({name: rgb for name, (_, rgb) in outputs.items()}, batch)
            if judges.classifier:
                for name, photographs in {**colored, "truth": truths}.items():
                    found.features.setdefault(name, []).extend(one.seen.pooled for one in photographs if one.seen)
            by_photograph = [{name: own[number] for name, own in colored.items()} for number in range(len(truths))]
            for scores in threads.map(partial(_compare, own=judges.own), by_photograph, truths):
                found.rows += [
                    {"index": index, "path": names[index], "colorizer": name} | one for name, one in scores.items()
                ]
                index += 1
                bar.update()
    return found


def _compare(
    colored: dict[str, Photograph], true: Photograph, own: Mapping[str, Metric]
) -> dict[str, dict[str, float]]:
    """All metrics of a photograph by colorizer, and the colorfulness of the true one."""
    truth = {"truth_colorfulness": true.colorfulness}
    return {name: score(photograph, true, own) | truth for name, photograph in colored.items()}


def images_of(predictors: dict[str, Predictor], batch: Tensor) -> dict[str, Pixels]:
    """Color some photographs by predictor, and add the truth: (N, S, S, 3) uint8.

    Args:
        batch: (N, 3, S, S) uint8 sRGB.
    """
    colored = {name: _channels_last(predict(batch)[1]) for name, predict in predictors.items()}
    return {**colored, "truth": _channels_last(batch)}


def _weighted(true: Photograph, prior: ColorPrior) -> Photograph:
    return replace(true, weights=prior.weights(true.ab))


def _photographs(ab: Tensor, rgb: Tensor, judges: Judges, true: Tensor | None = None) -> list[Photograph]:
    """Split a batch into photographs, with what the judges see in each.

    Args:
        true: the photographs that these are colored copies of.
    """
    seen = judges.classifier.look(rgb) if judges.classifier else [None] * len(rgb)
    lpips = judges.lpips.distances(rgb, true) if judges.lpips and true is not None else [None] * len(rgb)
    parts = zip(_channels_last(ab), _channels_last(rgb), seen, lpips, strict=True)
    return [Photograph(own_ab, own_rgb, seen=own_seen, lpips=own) for own_ab, own_rgb, own_seen, own in parts]


def _channels_last(tensor: Tensor) -> Any:
    return tensor.permute(0, 2, 3, 1).contiguous().numpy()
