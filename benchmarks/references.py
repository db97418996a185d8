"""A row of docs/reference/references.md: what the recipe that has just run learnt, and what its source reports.

Without a name: the head of the table.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import torch

from pipeline.color.tensors import rgb_to_lab
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.models.checkpoint import load_generator

COLUMNS = ("recipe", "ab_mae", "lightness_table", "colorfulness / truth", "b bias", "own L bias", "discriminator loss")


def row(recipe: str) -> list[str]:
    metrics = json.loads(Path("reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    with Path("reports/evaluate/per_image.csv").open(encoding="utf-8") as file:
        truths = [float(line["truth_colorfulness"]) for line in csv.DictReader(file) if line["colorizer"] == "finetune"]
    with Path("reports/finetune/steps.csv").open(encoding="utf-8") as file:
        losses = [float(line["discriminator"]) for line in csv.DictReader(file)]
    last = losses[-len(losses) // 10 :]
    blue, light = biases()
    return [
        recipe,
        f"{metrics['finetune']['ab_mae']:.2f}",
        f"{metrics['lightness_table']['ab_mae']:.2f}",
        f"{metrics['finetune']['colorfulness'] / (sum(truths) / len(truths)):.2f}",
        f"{blue:+.2f}",
        light,
        f"{losses[0]:.2f} -> {sum(last) / len(last):.2f}",
    ]


def biases() -> tuple[float, str]:
    """Mean of b* less the true one (negative is too blue), and, for RGB, of the network's own L* less the true one."""
    loaded = load_generator(Path("checkpoints/finetune"))
    blue, light, count = 0.0, 0.0, 0
    with torch.no_grad():
        for batch in plain_batches(Photographs(Path("data/sample"), "test", loaded.config.image_size), 32):
            condition, _ = loaded.space.encode(batch)
            output, true = loaded.network(condition), rgb_to_lab(batch)
            blue += float((loaded.space.ab(output)[:, 1] - true[:, 2]).mean((1, 2)).sum())
            if loaded.space.name == "rgb":
                own = rgb_to_lab(((output + 1) * 127.5).clamp(0, 255))[:, 0]
                light += float((own - true[:, 0]).mean((1, 2)).sum())
            count += len(batch)
    return blue / count, f"{light / count:+.2f}" if loaded.space.name == "rgb" else ""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(f"| {' | '.join(row(sys.argv[1]))} |")
    else:
        print(f"| {' | '.join(COLUMNS)} |")
        print(f"|{'---|' * len(COLUMNS)}")
