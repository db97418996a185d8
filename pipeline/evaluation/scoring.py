"""Score every predictor on every test photograph."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from pipeline.color.tensors import rgb_to_lab
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.evaluation.metrics import METRICS, Photograph, colorfulness, score
from pipeline.evaluation.predictors import Predictor
from pipeline.types import Pixels


@dataclass(frozen=True)
class Scores:
    rows: list[dict[str, Any]]
    """One for each photograph and predictor: index, path, colorizer, each metric, truth_colorfulness."""

    def means(self) -> dict[str, dict[str, float]]:
        """The mean of each metric over the photographs, by predictor."""
        means: dict[str, dict[str, float]] = {}
        for predictor in dict.fromkeys(row["colorizer"] for row in self.rows):
            rows = [row for row in self.rows if row["colorizer"] == predictor]
            means[predictor] = {name: float(np.mean([row[name] for row in rows])) for name in METRICS}
        return means


def score_all(predictors: dict[str, Predictor], test: Photographs, names: list[str], batch_size: int) -> Scores:
    """names: of the test photographs, in their order."""
    rows: list[dict[str, Any]] = []
    # Threads: what takes the time is in NumPy and SciPy, which let others run meanwhile.
    with tqdm(total=len(test), desc="evaluate", unit="photo") as bar, ThreadPoolExecutor(os.cpu_count()) as threads:
        for batch in plain_batches(test, batch_size):
            truths = _photographs(rgb_to_lab(batch)[:, 1:], batch)
            colored = {name: _photographs(*predict(batch)) for name, predict in predictors.items()}
            by_photograph = [{name: own[number] for name, own in colored.items()} for number in range(len(truths))]
            for scores in threads.map(_compare, by_photograph, truths):
                index = len(rows) // len(predictors)
                rows += [
                    {"index": index, "path": names[index], "colorizer": name} | one for name, one in scores.items()
                ]
                bar.update()
    return Scores(rows)


def _compare(colored: dict[str, Photograph], true: Photograph) -> dict[str, dict[str, float]]:
    """All metrics of a photograph by colorizer, and the colorfulness of the true one."""
    truth = {"truth_colorfulness": colorfulness(true.rgb)}
    return {name: score(photograph, true) | truth for name, photograph in colored.items()}


def first_images(predictors: dict[str, Predictor], test: Photographs, columns: int) -> dict[str, Pixels]:
    """The first photographs by predictor, and the truth: (columns, S, S, 3) uint8."""
    batch = next(iter(plain_batches(test, columns)))
    colored = {name: _channels_last(predict(batch)[1]) for name, predict in predictors.items()}
    return {**colored, "truth": _channels_last(batch)}


def _photographs(ab: Tensor, rgb: Tensor) -> list[Photograph]:
    pairs = zip(_channels_last(ab).astype(np.float64), _channels_last(rgb), strict=True)
    return [Photograph(*pair) for pair in pairs]


def _channels_last(tensor: Tensor) -> Any:
    return tensor.permute(0, 2, 3, 1).contiguous().numpy()
