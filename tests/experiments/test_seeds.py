"""`twotone seeds` through real experiments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from statistics import mean, stdev

import pytest

from tests.helpers import Project


@pytest.mark.slow
def test_mean_and_spread_and_nothing_twice(make_project: Callable[[str], Project]) -> None:
    project = make_project("seeds")
    project.change(generator={"backbone": "test_efficientnet"})
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "small")
    before = (project.folder / "params.yaml").read_bytes()
    done = project.run("pipeline.cli", "seeds", "1", "2", "-S", "finetune.epochs=0")
    assert (project.folder / "params.yaml").read_bytes() == before
    values, margins = [], []
    for seed in (1, 2):
        (name,) = re.findall(rf"-n (seed-{seed}-\w+) ", done.stdout)
        project.dvc("exp", "apply", name)
        metrics = json.loads((project.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
        values.append(metrics["finetune"]["ab_mae"])
        margins.append(metrics["finetune"]["ab_mae"] - metrics["pretrain_saturated"]["ab_mae"])
    row = re.search(r"finetune +ab_mae +([\d.]+) +([\d.]+) +(.*?) *$", done.stdout, re.MULTILINE)
    assert row
    assert float(row[1]) == pytest.approx(mean(values), abs=1e-3)
    assert float(row[2]) == pytest.approx(stdev(values), abs=1e-3)
    row = re.search(r"^ab_mae +(\S+) +(\S+) to (\S+) *$", done.stdout, re.MULTILINE)
    assert row
    assert float(row[1]) == pytest.approx(mean(margins), abs=1e-3)
    # Of two values: 12.706 standard errors (any table of Student's t).
    assert float(row[3]) - float(row[1]) == pytest.approx(12.706 * stdev(margins) / 2**0.5, abs=2e-3)
    (project.folder / "params.yaml").write_bytes(before)
    again = project.run("pipeline.cli", "seeds", "1", "2", "-S", "finetune.epochs=0")
    assert "dvc exp run" not in again.stdout, "those that are there are not run again"
    assert re.search(r"^seed 1: seed-1-\w+ is there already; if photographs outside git", again.stdout, re.MULTILINE)
    assert row[0] in again.stdout


def test_what_cannot_be_run_is_said(make_project: Callable[[str], Project]) -> None:
    project = make_project("no-seeds")
    refused = project.run("pipeline.cli", "seeds", "5", "5", ok=False)
    assert refused.returncode == 2
    assert "name two seeds at least" in refused.stderr
