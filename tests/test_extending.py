"""The patches of docs/extending.md, applied to a copy of the project: each addition works as the document says."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import ROOT, Project, save_photo
from tests.nursery import Nursery

TEXT = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


def patches(heading: str) -> list[tuple[str, str]]:
    """(file, lines that begin with a sign) of each patch of a chapter."""
    (chapter,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```diff\n--- (\S+)\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)


def apply(project: Project, heading: str) -> set[str]:
    """Change the files as the chapter says; gives their names."""
    found = patches(heading)
    for name, lines in found:
        path = project.folder / name
        before = "".join(line[1:] for line in lines.splitlines(keepends=True) if line[0] in " -")
        after = "".join(line[1:] or "\n" for line in lines.splitlines(keepends=True) if line[0] in " +")
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text.count(before) == 1 or (not text and not before), f"{name} has changed: {before!r}"
        path.write_text(text.replace(before, after) if before else after, encoding="utf-8")
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def trained(make_project: Callable[[str], Project], nursery: Nursery) -> Project:
    project = make_project("extending")
    project.change(generator={"architecture": "compact_unet"}, pretrain={"epochs": 0}, finetune={"epochs": 0})
    for stage in ("sample", "pretrain", "finetune"):
        nursery.run(project.folder, stage)
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A copy to change."""
    shutil.copytree(trained.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def test_at_most_three_places_each() -> None:
    places = {
        heading: {name for name, _ in patches(heading)} for heading in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    }
    assert {heading: len(names) for heading, names in places.items()} == {
        "A loss": 2,
        "A generator": 3,
        "A source of photographs": 3,
        "A metric": 1,
        "A stage": 3,
    }


def test_a_loss(project: Project) -> None:
    apply(project, "A loss")
    project.change(pretrain={"epochs": 1, "losses": {"l1": 1.0, "charbonnier": 0.5}})
    project.run("stages", "pretrain")
    with (project.folder / "reports/pretrain/history.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    mean = (float(row["l1"]) + 0.5 * float(row["charbonnier"])) / 1.5
    assert float(row["content"]) == pytest.approx(mean, rel=1e-4)


@pytest.mark.slow
def test_a_generator(project: Project) -> None:
    apply(project, "A generator")
    project.change(generator={"architecture": "three_layers"}, pretrain={"epochs": 1})
    project.run("stages", "pretrain")
    model = json.loads((project.folder / "checkpoints/pretrain/model.json").read_text(encoding="utf-8"))
    assert model["generator"]["architecture"] == "three_layers"


def test_a_source(project: Project, rng: np.random.Generator) -> None:
    apply(project, "A source of photographs")
    for number in range(14):
        save_photo(project.folder / f"{number}.png", rng)
    listing = project.folder / "photographs.txt"
    listing.write_text("".join(f"{number}.png\n" for number in range(14)), encoding="utf-8")
    project.change(sample={"source": "listing", "path": "photographs.txt"})
    project.run("stages", "sample")
    with (project.folder / "data/sample/manifest.csv").open(encoding="utf-8") as file:
        assert {row["path"] for row in csv.DictReader(file)} == {f"{number}.png" for number in range(14)}
    listing.unlink()
    refused = project.run("stages", "sample", ok=False)
    assert refused.returncode == 1
    assert "error: sample.path photographs.txt: no such file; set it to a text file with a path" in refused.stderr


@pytest.mark.slow
def test_a_metric(project: Project) -> None:
    apply(project, "A metric")
    project.run("stages", "evaluate")
    metrics = json.loads((project.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert all(scores["ab_rmse"] >= scores["ab_mae"] for scores in metrics.values())
    protocol = json.loads((project.folder / "reports/evaluate/protocol.json").read_text(encoding="utf-8"))
    assert protocol["metrics"]["ab_rmse"].startswith("root of the mean squared error")


def test_a_stage(project: Project) -> None:
    apply(project, "A stage")
    project.dvc("repro", "contact_sheet")
    with Image.open(project.folder / "reports/contact_sheet/sheet.png") as sheet:
        assert sheet.width > 3 * 96
