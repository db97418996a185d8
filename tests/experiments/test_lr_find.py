"""Looking for a learning rate, on a real sample."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import LoaderConfig
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.experiments.lr_find import Sweep, find, suggestions
from pipeline.models.generators import backbone_parameters, build_generator
from pipeline.params.schema import Params
from pipeline.training.objectives import ContentObjective
from tests.helpers import Project


def test_the_rates_grow_by_one_factor() -> None:
    rates = Sweep(lowest=1e-4, highest=1.0, steps=5).rates()
    assert rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


def test_the_careful_rate_is_where_the_loss_falls_and_the_bold_one_a_tenth_of_where_it_ends() -> None:
    """A loss that falls from 1e-3 to 1e-1, by a made curve."""
    rows = []
    for rate in Sweep(1e-5, 1.0, 60).rates():
        fall = 1 / (1 + math.exp(-3 * (math.log10(rate) + 2)))
        rise = 3 if rate > 0.5 else 0
        rows.append({"rate": rate, "content": 1 - 0.8 * fall + rise, "smoothed": 1 - 0.8 * fall + rise})
    sweep = Sweep(1e-5, 1.0, 60)
    careful, bold = suggestions(rows[:-1], sweep)
    rising = [{"rate": row["rate"], "content": 1.0 + n, "smoothed": 1.0 + n} for n, row in enumerate(rows)]
    assert suggestions(rising, sweep)[0] <= suggestions(rising, sweep)[1]
    assert 1e-4 < careful < 1e-1
    assert bold == pytest.approx(0.1, rel=0.3)


def test_of_a_loss_that_cannot_explode_the_least_counts() -> None:
    """As with a generator that ends in tanh: beyond the best rate it rises to twice the least, and stays."""
    sweep = Sweep(1e-5, 1.0, 60)
    losses = [0.5 + abs(math.log10(rate) + 2) / 4 for rate in sweep.rates()]
    losses[:3] = [0.4, 0.9, 1.3]  # of a few batches
    rows = [{"rate": rate, "content": loss, "smoothed": loss} for rate, loss in zip(sweep.rates(), losses, strict=True)]
    careful, bold = suggestions(rows, sweep)
    assert bold == pytest.approx(max(1e-3, careful), rel=0.3)
    assert careful > 1e-4


@pytest.mark.slow
def test_both_stages_are_swept_and_nothing_is_published(make_project: Callable[[str], Project]) -> None:
    project = make_project("lr-find")
    for stage in ("sample", "pretrain"):
        project.run("stages", stage)
    before = project.outs()
    # A discriminator that would learn alone all the time, and fewer photographs than a batch.
    project.change(finetune={"warmup_steps": 1})
    for stage, key in (("pretrain", "pretrain.lr"), ("finetune", "finetune.lr_generator")):
        printed = project.twotone("lr-find", stage, "--steps", "25").stdout
        assert re.search(rf"{re.escape(key)}: \S+ is careful and \S+ bold, after \d+ steps", printed)
        folder = project.folder / "logs/lr-find" / stage
        assert (folder / "lr-find.png").stat().st_size > 5000
        with (folder / "lr-find.csv").open(encoding="utf-8") as file:
            rates = [float(row["rate"]) for row in csv.DictReader(file)]
        assert rates[0] == pytest.approx(1e-6)
        assert all(one < other for one, other in pairwise(rates))
    assert project.outs() == before
    project.change(sample={"train": 64}, pretrain={"batch_size": 64})
    refused = project.twotone("lr-find", ok=False)
    assert "fewer than a batch of 64; run dvc repro sample" in refused.stderr
    refused = project.twotone("lr-find", "sample", ok=False)
    assert refused.returncode == 2
    assert "there are the stages pretrain and finetune, got 'sample'" in refused.stderr


@pytest.mark.parametrize(
    ("epochs", "frozen"),
    [pytest.param(10, 10, marks=pytest.mark.slow), (10, 9), pytest.param(0, 0, marks=pytest.mark.slow)],
)
def test_batch_normalization_learns_as_in_the_stage(params: Params, tmp_path: Path, epochs: int, frozen: int) -> None:
    """Networks that were loaded are in evaluation mode. A stage without epochs has a rate to look for, too."""
    block = params.pretrain.model_copy(update={"freeze_epochs": frozen, "epochs": epochs})
    generator = build_generator(params.generator.model_copy(update={"max_width": 64}), ColorSpace("lab"), 32, 0).eval()
    objective = ContentObjective(generator, block, ColorSpace("lab"), Accelerator(cpu=True))
    encoder = [weight.detach().clone() for weight in backbone_parameters(generator)]
    writer = ShardWriter(tmp_path, "train")
    for shade in range(8):
        writer.add(np.full((32, 32, 3), 30 * shade, np.uint8))
    writer.close()
    rows = find(objective, LoaderConfig(4, 0, flip=False), Photographs(tmp_path, "train", 32), Sweep(1e-6, 1e-3, 12))
    assert len(rows) == 12
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.training and norm.num_batches_tracked == 12 for norm in norms)
    # An encoder that never learns does not here, either.
    same = all(torch.equal(*pair) for pair in zip(backbone_parameters(generator), encoder, strict=True))
    assert same == (frozen == epochs > 0)
