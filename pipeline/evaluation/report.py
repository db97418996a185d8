"""The files that evaluate writes: scores with their intervals, comparisons, pictures, and how all was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.shards import Photographs
from pipeline.evaluation.features import FEWEST
from pipeline.evaluation.metrics import ALL, OWN_METRICS, Metric, available, libraries
from pipeline.evaluation.paired import Difference, difference, fewest, frechet_difference, verdicts
from pipeline.evaluation.published_metrics import implementation
from pipeline.evaluation.scoring import Judges, Scores, images_of
from pipeline.files import write_csv, write_json
from pipeline.models.config import ModelConfig
from pipeline.models.packaged_weights import CLASSIFIER
from pipeline.quality.grids import Row, save_grid
from pipeline.quality.predictor import Predictor
from pipeline.quality.saturation import LARGEST_FACTOR

# Photographs in each row of extremes.png.
_EXTREMES = 10
# What `dvc metrics diff` shows of both generators; the rest is in metrics.json.
_SUMMARY = ("ab_mae", "ciede2000", "colorfulness_gap", "auc_rebalanced", "fd_lite0")
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


def write_report(
    folder: Path, scores: Scores, pictures: Pictures, protocol: dict[str, object], own: Mapping[str, Metric]
) -> None:
    """Write metrics, their summary and intervals, comparisons, scores by photograph, the protocol, and two grids.

    Args:
        own: metrics of one's own.
    """
    write_scores(folder, scores)
    write_json(folder / "summary.json", rounded(_summary(scores.means())))
    write_json(folder / "comparisons.json", rounded(comparisons(scores, own)))
    columns = list(range(min(pictures.columns, len(pictures.test))))
    save_grid(folder / "samples.png", _rows(pictures, columns, ""))
    errors = scores.values("finetune")["ab_mae"]
    order = np.argsort(errors, kind="stable").tolist()
    count = min(_EXTREMES, len(order))
    extremes = _rows(pictures, order[::-1][:count], "worst: ") + _rows(pictures, order[:count], "best: ")
    save_grid(folder / "extremes.png", extremes)
    write_json(folder / "protocol.json", protocol)


def write_scores(folder: Path, scores: Scores) -> None:
    """Write the means, their intervals, and the scores of each photograph."""
    write_json(folder / "metrics.json", rounded(scores.means()))
    write_json(folder / "intervals.json", rounded(scores.intervals()))
    text = [{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in scores.rows]
    write_csv(folder / "per_image.csv", text, list(scores.rows[0]))


def _summary(means: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the few metrics of both generators that DVC compares.

    slider_margin is how much smaller finetune's ab_mae is than that of pretrain with its saturation turned up until
    both are as colorful; Lab units.
    """
    chosen = {
        stage: {name: means[stage][name] for name in _SUMMARY if name in means[stage]}
        for stage in ("pretrain", "finetune")
    }
    chosen["finetune"]["slider_margin"] = means["pretrain_saturated"]["ab_mae"] - means["finetune"]["ab_mae"]
    return chosen


def comparisons(
    scores: Scores, own: Mapping[str, Metric] = MappingProxyType({})
) -> dict[str, dict[str, dict[str, Any]]]:
    """Compare finetune with each of the others."""
    return {f"finetune - {other}": compared(scores, other, "finetune", own) for other in _COMPARED}


def compared(
    scores: Scores, before: str, after: str, own: Mapping[str, Metric] = MappingProxyType({})
) -> dict[str, dict[str, Any]]:
    """Compare two colorizers, paired by photograph: by metric the change, its interval, a verdict.

    Args:
        own: metrics of one's own.
    """
    one, other = scores.values(before), scores.values(after)
    if len(one["ab_mae"]) < 2:
        changes = {name: float((other[name] - one[name]).mean()) for name in other}
        return {name: {"change": change, "verdict": "one photograph tells nothing"} for name, change in changes.items()}
    pairs = {name: difference(_numbered(one[name]), _numbered(other[name])) for name in other}
    if scores.frechet:
        pairs["fd_lite0"] = frechet_difference(scores.frechet[before], scores.frechet[after])
    return _said(pairs, own)


def _numbered(values: NDArray[np.float64]) -> dict[str, float]:
    return {str(number): float(value) for number, value in enumerate(values)}


def _said(pairs: dict[str, Difference], own: Mapping[str, Metric]) -> dict[str, dict[str, Any]]:
    better = {name: metric.better for name, metric in {**ALL, **own}.items()} | {"fd_lite0": "lower"}
    verdict = verdicts(pairs, better)
    return {
        name: {"change": one.change, "low": one.low, "high": one.high, "p": one.p, "verdict": verdict[name]}
        for name, one in pairs.items()
    }


def _rows(pictures: Pictures, indices: list[int], prefix: str) -> list[Row]:
    batch = torch.from_numpy(pictures.test.gather(indices)).permute(0, 3, 1, 2)
    return [Row(f"{prefix}{label}", pixels) for label, pixels in images_of(pictures.shown, batch).items()]


def rounded(value: Any) -> Any:
    """Round numbers to 5 digits after the point, in whatever holds them."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


def protocol(measured: Measured, lightness_bins: int, model: ModelConfig) -> dict[str, object]:
    """How the numbers were made.

    Args:
        lightness_bins: rows of the lightness table.
        model: the fine-tuned generator.
    """
    size, count, judges = model.image_size, len(measured.photographs), measured.judges
    defined = definitions(judges.classifier is not None, judges.lpips is not None, judges.fid is not None)
    own = {name: {"definition": metric.definition, "better": metric.better} for name, metric in judges.own.items()}
    return {
        "photographs": {
            "count": count,
            "split": measured.split,
            "resolution": [size, size],
            "fit": measured.fit,
            "sha256": measured.photographs.sha256(),
        },
        **how(judges.classifier is not None, judges.lpips is not None, len(own)),
        "color_space": model.color_space,
        "color": "sRGB (IEC 61966-2-1) to CIE L*a*b*, D65, 2 degree observer; networks compute in float32",
        # The numbers of a photograph depend on its place among those that are colored at a time.
        "noise": f"from base.seed, for {measured.batch_size} photographs at a time"
        if model.generator.noise != "none"
        else None,
        "metrics": defined,
        **({OWN_METRICS: own} if own else {}),
        **networks(judges),
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


def networks(judges: Judges) -> dict[str, dict[str, str] | None]:
    """Name the networks that judge, for protocol.json."""
    return {
        "classifier": {"name": CLASSIFIER, "sha256": judges.classifier.sha256} if judges.classifier else None,
        "lpips": implementation("AlexNet of torchvision", judges.lpips.weights) if judges.lpips else None,
        "fid": implementation("Inception of torch-fidelity", judges.fid.weights) if judges.fid else None,
    }


def how(classifier: bool, lpips: bool = False, own: int = 0) -> dict[str, str]:
    """Say how means, intervals and verdicts are made, for protocol.json.

    Args:
        own: how many metrics of one's own there are.
    """
    few = fewest(len(available(classifier, lpips)) + own)
    return {
        "means": "of the metric over photographs, each photograph weighing the same",
        "intervals": "95 %, by bootstrap over photographs (9,999 resamples, expanded percentiles, Hesterberg 2015; of "
        "fd_lite0, 200 and 1.96 standard errors)",
        "verdicts": f"paired by photograph: p by sign flips (Fisher 1935; of fd_lite0, a normal's), corrected for the "
        f"number of metrics (Holm 1979), so that one table in twenty has a false alarm; {few} photographs at least",
    }


def definitions(classifier: bool, lpips: bool = False, fid: bool = False) -> dict[str, str]:
    """Define each metric that is measured, for protocol.json."""
    found = {name: metric.definition for name, metric in available(classifier, lpips).items()}
    if classifier:
        found["fd_lite0"] = (
            f"Frechet distance of the 112 channels of {CLASSIFIER} at 1/16 of 224 px, averaged over positions, between "
            f"colored and true photographs; only from {FEWEST} photographs on; comparable at equal counts alone, no FID"
        )
    if fid:
        found["fid"] = (
            "Frechet Inception Distance (Heusel et al. 2017) of 8-bit sRGB between colored and true photographs, "
            "resized as TensorFlow does; comparable at equal counts and resolution alone"
        )
    return found


def _saturated(factor: float) -> str:
    times = f"pretrain's a and b times {factor:.5f}, which"
    if factor > LARGEST_FACTOR * 0.999:
        return f"{times} is the most that is tried, and leaves them less colorful than finetune's"
    return f"{times} gives finetune's mean colorfulness on validation photographs"
