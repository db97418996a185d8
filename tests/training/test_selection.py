"""Which epoch of the adversarial stage is published."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import LoaderConfig
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.quality.color_statistics import ColorCounts
from pipeline.training.selection import Selection, best_epoch
from tests.helpers import Project, smooth_photos
from tests.nursery import Nursery

LAB = ColorSpace("lab")


def test_the_distance_is_scipys(rng: np.random.Generator) -> None:
    one, other = rng.normal(5, 20, (3, 2, 16, 16)), rng.normal(-4, 30, (2, 2, 16, 16))
    values = [(ab[:, 0].ravel(), ab[:, 1].ravel(), np.hypot(ab[:, 0], ab[:, 1]).ravel()) for ab in (one, other)]
    expected = sum(wasserstein_distance(a, b) for a, b in zip(*values, strict=True))
    # Histograms of half a unit.
    counts = [ColorCounts(), ColorCounts()]
    for own, ab in zip(counts, (one, other), strict=True):
        for picture in ab:
            own.add(picture[None])
    assert counts[0].distance(counts[1]) == pytest.approx(expected, abs=0.5)
    assert counts[0].distance(counts[0]) == 0


class Times(nn.Module):
    """Gives ab as a table by lightness, times a factor, and so knows nothing but its factor."""

    def __init__(self, factor: float, offset: float = 0.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.offset = nn.Parameter(torch.tensor(offset))

    def forward(self, condition: Tensor) -> Tensor:
        return torch.cat([self.factor * condition + self.offset, self.factor * condition], 1)


def test_what_a_slider_could_do_has_no_margin(tmp_path: Path, rng: np.random.Generator) -> None:
    writer = ShardWriter(tmp_path, "valid")
    for photograph in smooth_photos(rng, 6, 32):
        writer.add(photograph)
    writer.close()
    selection = Selection(Times(0.2), LAB, Photographs(tmp_path, "valid", 32), LoaderConfig(4, 0, flip=False))
    slid, wrong = (selection.scores(network) for network in (Times(0.3), Times(0.3, offset=0.5)))
    assert slid["valid_knob_margin"] == pytest.approx(0, abs=0.01)
    # Of an epoch of warm-up, in which the generator did not learn, to the last bit.
    assert selection.scores(Times(0.2))["valid_knob_margin"] == 0
    assert wrong["valid_knob_margin"] < -1
    assert wrong["valid_color_distance"] > slid["valid_color_distance"]
    assert wrong["valid_colorfulness"] > slid["valid_colorfulness"]


def row(epoch: int, distance: float, margin: float) -> dict[str, float]:
    return {"epoch": epoch, "valid_color_distance": distance, "valid_knob_margin": margin}


def test_the_nearest_of_those_that_beat_the_knob() -> None:
    assert best_epoch([row(1, 9, 0.2), row(2, 7, 0.1), row(3, 3, -0.1)]) == 2
    assert best_epoch([row(1, 9, -0.2), row(2, 7, 0.0)]) == 0


@pytest.mark.slow
def test_what_is_published(make_project: Callable[[str], Project], nursery: Nursery) -> None:
    """Of two epochs the best, or what the stage began with, said loudly; and the last where that is asked for."""
    project = make_project("selection")
    project.change(finetune={"epochs": 3, "publish": "best", "keep_epochs": [1, 2], "lr_generator": 0.002})
    for stage in ("sample", "pretrain"):
        nursery.run(project.folder, stage)
    said = nursery.run(project.folder, "finetune")
    with (project.folder / "reports/finetune/history.csv").open(encoding="utf-8") as file:
        history = [{key: float(value) for key, value in line.items()} for line in csv.DictReader(file)]
    best = best_epoch(history)
    published = (project.folder / "checkpoints/finetune/generator.safetensors").read_bytes()
    assert not (project.folder / "checkpoints/finetune/best").exists()
    metrics = json.loads((project.folder / "reports/finetune/metrics.json").read_text(encoding="utf-8"))
    assert metrics["published_epoch"] == best
    pretrained = (project.folder / "checkpoints/pretrain/generator.safetensors").read_bytes()
    assert (published == pretrained) == (best == 0)
    assert ("WARNING: no epoch beats the saturation knob" in said) == (best == 0)
    if best in (1, 2):
        kept = project.folder / f"checkpoints/finetune/epoch-{best:04d}/generator.safetensors"
        assert published == kept.read_bytes()
    # At such a rate nothing is learnt: every epoch is worse than a slider.
    project.change(finetune={"lr_generator": 0.5})
    assert "WARNING: no epoch beats the saturation knob" in nursery.run(project.folder, "finetune")
    assert (project.folder / "checkpoints/finetune/generator.safetensors").read_bytes() == pretrained
    trainings = [
        json.loads((project.folder / f"checkpoints/{stage}/model.json").read_text(encoding="utf-8"))["training"]
        for stage in ("pretrain", "finetune")
    ]
    assert trainings[0] == trainings[1], "what is published has learnt nothing in the second stage"
    # What was trained is not lost, and is measured.
    rejected = project.folder / "checkpoints/finetune/epoch-0003/generator.safetensors"
    assert rejected.read_bytes() != pretrained
    nursery.run(project.folder, "evaluate")
    assert "finetune-epoch-0003" in json.loads(
        (project.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8")
    )
    nursery.run(project.folder, "export")
    card = " ".join((project.folder / "checkpoints/export/README.md").read_text(encoding="utf-8").split())
    assert "then 3 epochs of a second stage, none of which was better than a saturation slider" in card
