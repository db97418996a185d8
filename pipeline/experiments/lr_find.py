"""`twotone lr-find`: how the loss falls and rises as the learning rate grows (Smith 2017), and rates to begin with."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.data.loader import LoaderConfig, train_batches
from pipeline.data.shards import Photographs
from pipeline.errors import SampleError, TrainingError
from pipeline.progress import progress
from pipeline.training.failures import translated_errors
from pipeline.training.objectives import Objective

# As fastai's lr_find: the loss is smoothed so, and the search ends at four times the least one.
_SMOOTHED, _ENOUGH = 0.98, 4
_LEAST_STEPS = 10


@dataclass(frozen=True)
class Sweep:
    """Learning rates from `lowest` to `highest`, each `steps`-th root of their ratio above the one before."""

    lowest: float = 1e-6
    highest: float = 1.0
    steps: int = 100

    def rates(self) -> list[float]:
        ratio = self.highest / self.lowest
        return [self.lowest * ratio ** (step / (self.steps - 1)) for step in range(self.steps)]


def find(objective: Objective, loader: LoaderConfig, photographs: Photographs, sweep: Sweep) -> list[dict[str, float]]:
    """Train with a rate that grows with each step; returns the rate, the content loss and the smoothed one of each.

    All networks have their weights changed. A discriminator learns beside, at its own constant rate. An encoder that is
    frozen in some epochs, but not in all, learns here.

    Raises:
        SampleError: there are fewer photographs than a batch has.
        TrainingError: the loss is no number after a few steps.
    """
    rows: list[dict[str, float]] = []
    average = 0.0
    if not loader.steps(len(photographs)):
        raise SampleError(
            f"the sample has {len(photographs)} photographs, fewer than a batch of {loader.batch_size}; run dvc repro "
            "sample"
        )
    # The discriminator has warmed up, so that the generator learns at once.
    begun = getattr(objective.params, "warmup_steps", 0)
    for network in objective.networks.values():
        network.train()
    batches = progress(_endless(photographs, loader), total=sweep.steps, desc="lr-find", unit="step", leave=False)
    with translated_errors():
        for step, (rate, batch) in enumerate(zip(sweep.rates(), batches, strict=False)):
            for group in objective.optimizers["generator"].param_groups:
                still = 0 < objective.params.epochs <= group.get("frozen", 0)
                group["lr"] = 0.0 if still else rate * group.get("factor", 1.0)
            torch.manual_seed(loader.seed * 1_000_003 + step)
            pair = objective.encode(batch.to(objective.accelerator.device), loader.seed, step)
            loss = float(objective.step(*pair, begun + step)["content"])
            average = _SMOOTHED * average + (1 - _SMOOTHED) * loss
            smoothed = average / (1 - _SMOOTHED ** (step + 1))
            least = min((row["smoothed"] for row in rows), default=smoothed)
            if not math.isfinite(loss) or (step > _LEAST_STEPS and smoothed > _ENOUGH * least):
                break
            rows.append({"rate": rate, "content": loss, "smoothed": smoothed})
    if len(rows) < _LEAST_STEPS:
        raise TrainingError(
            f"the loss is no number after {len(rows)} steps; see base.precision, or begin lower: --from"
        )
    return rows


def suggestions(rows: list[dict[str, float]], sweep: Sweep) -> tuple[float, float]:
    """Return a careful rate and a bold one.

    The careful one is in the middle of the longest fall of the loss (fastai's "valley"), the bold one a tenth of the
    highest that was tried before the loss rose for good. Where it cannot rise so far, as that of a network whose output
    is bounded, it is a tenth of the rate of the least loss, or the careful one where that is higher. (Lower rates are
    not looked at: there the smoothed loss is that of a few batches.) Where the loss never falls, both are the bold one.
    """
    from fastai.callback.schedule import valley

    rates, smoothed = [row["rate"] for row in rows], [row["smoothed"] for row in rows]
    careful, _ = valley(rates, smoothed, len(rows))
    if len(rows) < sweep.steps:
        bold = rates[-1] / 10
    else:
        _, least = min((loss, rate) for rate, loss in zip(rates, smoothed, strict=True) if rate >= careful)
        bold = max(least / 10, careful)
    return float(f"{min(careful, bold):.2g}"), float(f"{bold:.2g}")


def write(rows: list[dict[str, float]], suggested: tuple[float, float], key: str, folder: Path) -> None:
    """Write the sweep as lr-find.csv and, with the suggested rates, as lr-find.png.

    Args:
        key: of params.yaml, whose value was tried.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lr-find.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rates = [row["rate"] for row in rows]
    axes.plot(rates, [row["content"] for row in rows], color="0.75", label="of each step")
    axes.plot(rates, [row["smoothed"] for row in rows], color="C0", label="smoothed")
    for rate, name, style in zip(suggested, ("careful", "bold"), ("--", ":"), strict=True):
        axes.axvline(rate, color="C3", linestyle=style, label=f"{name}: {rate:g}")
    # One loss that has exploded would flatten all the others.
    losses = [row["content"] for row in rows]
    axes.set(xscale="log", xlabel=key, ylabel="content loss", ylim=(0, 1.2 * max(losses[:_LEAST_STEPS])))
    axes.legend()
    figure.savefig(folder / "lr-find.png", dpi=100, metadata={"Software": None})


def _endless(photographs: Photographs, loader: LoaderConfig) -> Iterator[Tensor]:
    epoch = 1
    while True:
        yield from train_batches(photographs, loader, epoch)
        epoch += 1
