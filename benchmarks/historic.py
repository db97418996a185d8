"""How well a model colors photographs unlike those that it was trained on, beside gray and a lightness table.

    python benchmarks/historic.py [MODEL]
    python benchmarks/historic.py [MODEL] --photographs FOLDER [--sample data/sample]
    python benchmarks/historic.py [MODEL] --against OTHER_MODEL

The first form measures on the three-plate photographs of 1905-1915 in docs/historic: their aligned plates are the color
of the time. The second measures on a folder of color photographs. Each photograph is made black and white and colored
as `twotone colorize` does. Black and white is its lightness (as a film for all colors has it), or its blue plate or
channel alone (as the films of the time, which saw blue light and hardly any red), or, with `--gray old`, what `degrade`
makes of it. The third form says whether one model is better than another, photograph by photograph. Prints tables in
Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.grays import GRAYS
from benchmarks.three_plates import read_three_plates
from pipeline.color.tensors import rgb_to_lab
from pipeline.coloring.model_choice import choose_model
from pipeline.data.shards import Photographs, sample_source
from pipeline.errors import ImageError, InputError, exit_status
from pipeline.evaluation.baselines import baselines
from pipeline.evaluation.classifier import Classifier
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.paired import difference, verdicts
from pipeline.evaluation.scoring import Judges, Scores, score_all
from pipeline.experiments.score import BINS, MAX_PIXELS, PARTS, InMemory, reduced
from pipeline.inference import Colorizer
from pipeline.media.decoding import SUFFIXES
from pipeline.models.config import read_config
from pipeline.quality.predictor import Predictor
from pipeline.sampling.photographs import decode

ROOT = Path(__file__).parents[1]
PLATES = ROOT / "docs/historic/prokudin-gorskii"
# Metrics that are shown, with their digits after the point.
SHOWN = {"ab_mae": 1, "ciede2000": 1, "auc_rebalanced": 3, "colorfulness": 1, "top1": 2, "top5": 2}


@dataclass(frozen=True)
class Settings:
    grays: tuple[str, ...] = ("lightness", "blue")
    train: Photographs | None = None
    """The photographs of the model's training; None to make the table of the measured photographs themselves."""
    classifier: Classifier | None = None
    against: Colorizer | None = None
    """Another model to compare with."""
    saturation: float = 1.0
    """Factor of the chroma that the model gives, but not of the other's."""


@dataclass
class Measured:
    scores: Scores = field(default_factory=Scores)
    """Colorizers are called `lightness, gray`, `lightness, lightness_table`, `lightness, model`,
    `lightness, other model`, `blue, gray`, ..."""
    count: int = 0
    table_from: str = ""


def main() -> None:
    sys.exit(exit_status(run, "the measurement"))


def run() -> None:
    given = arguments()
    model = choose_model(given.model)
    read = read_photograph if given.photographs else read_plates
    photographs = dict(read_folder(given.photographs or PLATES, read, given.size, given.count))
    train = training_photographs(given.sample, model) if given.sample else None
    other = Colorizer.load(choose_model(given.against)) if given.against else None
    classifier = None if given.no_classifier else Classifier()
    settings = Settings(tuple(given.gray), train, classifier, other, given.saturation)
    measured = measure(photographs, Colorizer.load(model), settings)
    print("\n".join(report(measured)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="checkpoint folder; that of checkpoints/ by default")
    parser.add_argument("--against", type=Path, metavar="OTHER_MODEL", help="checkpoint folder to compare with")
    parser.add_argument(
        "--saturation", type=float, default=1.0, help="factor of the model's chroma, but not the other's"
    )
    parser.add_argument("--photographs", type=Path, help="folder of color photographs instead of the plates")
    parser.add_argument("--sample", type=Path, help="data/sample of the model's training, for the lightness table")
    parser.add_argument("--gray", nargs="+", choices=list(GRAYS), default=["lightness", "blue"])
    parser.add_argument("--size", type=int, default=256, help="short side that is measured, pixels at most")
    parser.add_argument("--count", type=int, default=0, help="so many photographs, evenly spaced; 0 for all")
    parser.add_argument("--no-classifier", action="store_true", help="without top1 and top5")
    return parser.parse_args()


def read_plates(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    return read_three_plates(path, MAX_PIXELS).rgb


def read_photograph(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    return decode(path, MAX_PIXELS).pixels


def read_folder(
    folder: Path, read: Callable[[Path], np.ndarray], size: int, count: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the photographs of a folder by their names, the short side at most `size`.

    Raises:
        InputError: no photographs there, fewer than two, or one that cannot be read.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if count:
        files = [files[place] for place in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)]
    if len(files) < 2:
        raise InputError(f"{folder}: {len(files)} photographs ({', '.join(sorted(SUFFIXES))}); at least 2 are needed")
    for file in files:
        try:
            yield file.relative_to(folder).as_posix(), reduced(read(file), size)
        except ImageError as error:
            raise InputError(f"{file}: {error}; take it out of the folder") from None


def training_photographs(sample: Path, model: Path) -> Photographs:
    """Return the photographs of the model's training.

    Raises:
        InputError: those are of another training.
        SampleError: no sample there, or of another size.
    """
    config = read_config(model.parent if model.suffix == ".onnx" else model)
    photographs, source = Photographs(sample, "train", config.image_size), sample_source(sample)
    if config.training and (config.training.source, config.training.photographs) != (source, len(photographs)):
        raise InputError(
            f"--sample {sample}: {len(photographs)} photographs ({source}), but {model} was trained on "
            f"{config.training.photographs} ({config.training.source}); leave --sample out"
        )
    return photographs


def measure(photographs: dict[str, np.ndarray], colorizer: Colorizer, settings: Settings) -> Measured:
    """Score gray, the lightness table and the model on each photograph, from each of its black-and-white versions.

    Args:
        photographs: (H, W, 3) uint8 by name; two at least.
    """
    found, names = Measured(count=len(photographs)), list(photographs)
    parts = 1 if settings.train else min(PARTS, len(names))
    if settings.train:
        found.table_from = f"the {len(settings.train)} training photographs of the model"
    elif parts == len(names):
        found.table_from = "the other measured photographs, for each photograph (leave one out)"
    else:
        found.table_from = f"the measured photographs of other parts, for each of {parts} parts"
    for part in range(parts):
        own = names[part::parts]
        train = settings.train or InMemory([photographs[name] for name in names if name not in own])
        plain, prior = baselines(train, 1 if not settings.train else 32, BINS)
        predictors: dict[str, Predictor] = {}
        for gray in settings.grays:
            table, nothing = plain["lightness_table"], plain["gray"]
            ways = {"gray": nothing, "lightness_table": table, "model": as_predictor(colorizer, settings.saturation)}
            if settings.against:
                ways["other model"] = as_predictor(settings.against, 1.0)
            predictors |= {f"{gray}, {name}": from_gray(way, GRAYS[gray]) for name, way in ways.items()}
        test = InMemory([photographs[name] for name in own])
        scores = score_all(predictors, test, own, Judges(prior, settings.classifier), batch_size=1)
        found.scores.rows += scores.rows
        for name, features in scores.features.items():
            found.scores.features.setdefault(name, []).extend(features)
    return found


def as_predictor(colorizer: Colorizer, saturation: float) -> Predictor:
    """Return what users get: ab is that of the colored 8-bit picture."""

    def predict(gray: Tensor) -> tuple[Tensor, Tensor]:
        colored = torch.from_numpy(colorizer(gray[0, 0].numpy(), saturation=saturation)).permute(2, 0, 1)[None]
        return rgb_to_lab(colored)[:, 1:], colored

    return predict


def from_gray(predict: Predictor, gray: Callable[[np.ndarray], np.ndarray]) -> Predictor:
    """Show the predictor a black-and-white version; batches of one photograph."""

    def predict_from_gray(rgb: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.from_numpy(np.array(gray(rgb[0].permute(1, 2, 0).numpy())))
        return predict(seen[None, None].repeat(1, 3, 1, 1))

    return predict_from_gray


def report(measured: Measured) -> list[str]:
    """Return the lines of two tables: means with intervals, and the model less the lightness table."""
    means, intervals = measured.scores.means(), measured.scores.intervals()
    shown = [name for name in SHOWN if name in next(iter(intervals.values()))]
    truth = np.mean([row["truth_colorfulness"] for row in measured.scores.rows])
    rows = [
        name.split(", ") + [number(values[metric], intervals[name][metric], metric) for metric in shown]
        for name, values in means.items()
    ]
    lines = [
        f"Means over {measured.count} photographs, with 95 % intervals (bootstrap over photographs). The lightness "
        f"table is made of {measured.table_from}. The true colors have a colorfulness of {truth:.1f}.",
        "",
        *table(["black and white", "colorizer", *shown], rows),
        "",
        "The model less the lightness table, paired by photograph:",
        "",
        *table(["black and white", *shown], compared(measured.scores, shown, "lightness_table")),
    ]
    if any(name.endswith(", other model") for name in means):
        rows = compared(measured.scores, shown, "other model")
        lines += ["", "The model less the other model, paired by photograph:", ""]
        lines += table(["black and white", *shown], rows)
    return lines


def compared(scores: Scores, shown: list[str], other: str) -> list[list[str]]:
    """For each black-and-white version, the model less another colorizer, with intervals and what may be said."""
    rows = []
    for gray in dict.fromkeys(name.split(", ")[0] for name in scores.colorizers()):
        sides = [scores.values(f"{gray}, {name}") for name in (other, "model")]
        found = {}
        for metric in shown:
            before, after = (dict(zip(map(str, range(len(side[metric]))), side[metric], strict=True)) for side in sides)
            found[metric] = difference(before, after)
        said = verdicts(found, {metric: ALL[metric].better for metric in shown})
        cells = [f"{number(one.change, (one.low, one.high), name)}, {said[name]}" for name, one in found.items()]
        rows.append([gray, *cells])
    return rows


def number(value: float, interval: tuple[float, float], metric: str) -> str:
    low, mean, high = (f"{one:.{SHOWN[metric]}f}" for one in (interval[0], value, interval[1]))
    return f"{mean} ({low} to {high})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


if __name__ == "__main__":
    main()
