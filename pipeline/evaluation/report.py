"""The files that evaluate writes: scores with their intervals, comparisons, pictures, and how all was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.data.shards import Photographs
from pipeline.evaluation.features import FEWEST
from pipeline.evaluation.metrics import ALL, available, libraries
from pipeline.evaluation.paired import Difference, difference, spread_interval
from pipeline.evaluation.predictor import Predictor
from pipeline.evaluation.published_metrics import implementation
from pipeline.evaluation.saturation import LARGEST_FACTOR
from pipeline.evaluation.scoring import Judges, Scores, images_of
from pipeline.files import write_csv, write_json
from pipeline.media.grids import Row, save_grid
from pipeline.models.config import ModelConfig
from pipeline.models.imagenet_features import NAME

# Photographs in each row of extremes.png.
_EXTREMES = 10
# What fine-tuning is compared with, photograph by photograph.
_COMPARED = ("pretrain", "pretrain_saturated", "lightness_table")


@dataclass(frozen=True)
class Pictures:
    """What samples.png and extremes.png show."""

    test: Photographs
    shown: dict[str, Predictor]
    columns: int


@dataclass(frozen=True)
class Measured:
    """What was measured on what."""

    split: str
    photographs: Photographs
    kept: list[str]
    """Generators of epochs that were kept: pretrain-epoch-0020."""
    factor: float
    """Of pretrain_saturated."""
    judges: Judges
    fit: str
    """sample.fit: how photographs became squares."""
    weights: dict[str, str]
    """SHA-256 of the weights, by generator."""
    batch_size: int
    """evaluate.batch_size: how many photographs were colored at a time."""


def write_report(folder: Path, scores: Scores, pictures: Pictures, protocol: dict[str, object]) -> None:
    """metrics.json, intervals.json, comparisons.json, per_image.csv, samples.png, extremes.png, protocol.json."""
    write_json(folder / "metrics.json", _rounded(scores.means()))
    write_json(folder / "intervals.json", _rounded(scores.intervals()))
    write_json(folder / "comparisons.json", _rounded(comparisons(scores)))
    text = [{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in scores.rows]
    write_csv(folder / "per_image.csv", text, list(scores.rows[0]))
    columns = list(range(min(pictures.columns, len(pictures.test))))
    save_grid(folder / "samples.png", _rows(pictures, columns, ""))
    errors = scores.values("finetune")["ab_mae"]
    order = np.argsort(errors, kind="stable").tolist()
    count = min(_EXTREMES, len(order))
    extremes = _rows(pictures, order[::-1][:count], "worst: ") + _rows(pictures, order[:count], "best: ")
    save_grid(folder / "extremes.png", extremes)
    write_json(folder / "protocol.json", protocol)


def comparisons(scores: Scores) -> dict[str, dict[str, dict[str, Any]]]:
    """finetune less each of the others, paired by photograph: by metric the change, its interval and the verdict."""
    after, found = scores.values("finetune"), {}
    for other in _COMPARED:
        before = scores.values(other)
        pair = {name: _compared(before[name], after[name], ALL[name].better) for name in after}
        if scores.frechet:
            pair["fd_lite0"] = _frechet_compared(*(scores.frechet[name] for name in (other, "finetune")))
        found[f"finetune - {other}"] = pair
    return found


def _frechet_compared(before: tuple[float, Any], after: tuple[float, Any]) -> dict[str, Any]:
    """Each: the distance of all photographs, and of resamples that are the same on both sides."""
    low, high = spread_interval(after[0] - before[0], after[1] - before[1])
    verdict = Difference(before[0], after[0], low, high).verdict("lower")
    return {"change": after[0] - before[0], "low": low, "high": high, "verdict": verdict}


def _compared(before: Any, after: Any, better: Any) -> dict[str, Any]:
    if len(before) < 2:
        return {"change": float((after - before).mean()), "verdict": "one photograph tells nothing"}
    sides = [{str(number): float(value) for number, value in enumerate(side)} for side in (before, after)]
    one = difference(*sides)
    return {"change": one.after - one.before, "low": one.low, "high": one.high, "verdict": one.verdict(better)}


def _rows(pictures: Pictures, indices: list[int], prefix: str) -> list[Row]:
    batch = torch.from_numpy(pictures.test.gather(indices)).permute(0, 3, 1, 2)
    return [Row(f"{prefix}{label}", pixels) for label, pixels in images_of(pictures.shown, batch).items()]


def _rounded(value: Any) -> Any:
    """Numbers to 5 digits after the point, in whatever holds them."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


def protocol(measured: Measured, lightness_bins: int, model: ModelConfig) -> dict[str, object]:
    """How the numbers were made.

    Args:
        lightness_bins: rows of the lightness table.
        model: the fine-tuned generator.
    """
    size, count = model.image_size, len(measured.photographs)
    judges = measured.judges
    metrics = available(judges.classifier is not None, judges.lpips is not None)
    definitions = {name: metric.definition for name, metric in metrics.items()}
    if judges.classifier:
        definitions["fd_lite0"] = (
            f"Frechet distance of the 112 channels of {NAME} at 1/16 of 224 px, averaged over positions, between "
            f"colored and true photographs; only from {FEWEST} photographs on; comparable at equal counts alone, no FID"
        )
    if judges.fid:
        definitions["fid"] = (
            "Frechet Inception Distance (Heusel et al. 2017) of 8-bit sRGB between colored and true photographs, "
            "resized as TensorFlow does; comparable at equal counts and resolution alone"
        )
    return {
        "photographs": {
            "count": count,
            "split": measured.split,
            "resolution": [size, size],
            "fit": measured.fit,
            "sha256": measured.photographs.sha256(),
        },
        "means": "of the metric over photographs, each photograph weighing the same",
        "intervals": "95 %, by bootstrap over photographs (9,999 resamples, percentiles; of fd_lite0, 200 and 1.96 "
        "standard errors); comparisons are paired",
        "color_space": model.color_space,
        "color": "sRGB (IEC 61966-2-1) to CIE L*a*b*, D65, 2 degree observer; networks compute in float32",
        # The numbers of a photograph depend on its place among those that are colored at a time.
        "noise": f"from base.seed, for {measured.batch_size} photographs at a time"
        if model.generator.noise != "none"
        else None,
        "metrics": definitions,
        "classifier": {"name": NAME, "sha256": judges.classifier.sha256} if judges.classifier else None,
        "lpips": implementation("AlexNet of torchvision", judges.lpips.weights) if judges.lpips else None,
        "fid": implementation("Inception of torch-fidelity", judges.fid.weights) if judges.fid else None,
        "colorizers": {
            "gray": "ab = 0",
            "constant": "the median a and b of all training pixels",
            "lightness_table": f"the median a and b of the training pixels in each of {lightness_bins} "
            "equal intervals of L",
            "pretrain": "the generator of checkpoints/pretrain: after the content loss alone, or untrained at 0 epochs",
            "finetune": "the generator of checkpoints/finetune: as the second stage publishes it",
            "pretrain_saturated": _saturated(measured.factor),
            **{name: f"the generator of checkpoints/{name.replace('-', '/', 1)}" for name in measured.kept},
        },
        "weights": measured.weights,
        "libraries": libraries(),
    }


def _saturated(factor: float) -> str:
    times = f"pretrain's a and b times {factor:.5f}, which"
    if factor > LARGEST_FACTOR * 0.999:
        return f"{times} is the most that is tried, and leaves them less colorful than finetune's"
    return f"{times} gives finetune's mean colorfulness on validation photographs"
