"""Looking for a learning rate, on a real sample."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from itertools import pairwise

import pytest

from pipeline.experiments.lr_find import Sweep, suggestions
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
    careful, bold = suggestions(rows)
    assert 1e-4 < careful < 1e-1
    assert bold == pytest.approx(0.1)


@pytest.mark.slow
def test_both_stages_are_swept_and_nothing_is_published(make_project: Callable[[str], Project]) -> None:
    project = make_project("lr-find")
    for stage in ("sample", "pretrain"):
        project.run("stages", stage)
    before = project.outs()
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
    refused = project.twotone("lr-find", "sample", ok=False)
    assert refused.returncode == 2
    assert "there are the stages pretrain and finetune, got 'sample'" in refused.stderr
