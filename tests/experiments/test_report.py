"""`twotone report`: the Markdown of a pull request, made of two checkouts."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from stages.dvc import STAGES
from tests.helpers import QUICKSTART, ROOT, Project, save_photo, twotone
from tests.nursery import Nursery

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports(make_project: Callable[[str], Project], nursery: Nursery) -> Path:
    """The reports of a small run."""
    project = make_project("report")
    project.change(sample={"test": 12})
    for stage in STAGES:
        nursery.run(project.folder, stage)
    return project.folder / "reports"


@pytest.fixture
def sides(reports: Path, tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    """Two checkouts with the same reports; before, the ab_mae of each photograph is higher by one."""
    folders = tmp_path / "before", tmp_path / "after"
    for folder in folders:
        shutil.copytree(reports, folder / "reports", ignore=shutil.ignore_patterns("samples*", "*.png"))
        shutil.copy(QUICKSTART, folder / "params.yaml")
        save_photo(folder / "reports/evaluate/samples.png", rng, (80, 60))
    before, after = folders
    table = before / "reports/evaluate/per_image.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "ab_mae": float(row["ab_mae"]) + 1} for row in rows)
    tree = YAML().load(QUICKSTART.read_text(encoding="utf-8"))
    tree["finetune"]["losses"] = {"l1": 10.0}
    with (after / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(tree, file)
    return before, after


def as_the_workflow_types() -> list[str]:
    jobs = YAML(typ="safe").load((ROOT / ".github/workflows/report.yml").read_text(encoding="utf-8"))["jobs"]
    (command,) = [step["run"] for step in jobs["report"]["steps"] if "twotone" in step.get("run", "")]
    assert command.startswith("uv run twotone ")
    return command.split()[3:]


def rows(markdown: str) -> dict[str, list[str]]:
    lines = [re.split(r"\s*\|\s*", line.strip("| ")) for line in markdown.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in lines}


def test_scores_parameters_curves_and_pictures(sides: tuple[Path, Path]) -> None:
    before, after = sides
    done = twotone(after, *as_the_workflow_types())
    assert done.returncode == 0, done.stderr
    markdown = (after / "report/report.md").read_text(encoding="utf-8")
    table = rows(markdown)
    old, new, change, interval, verdict = table["ab_mae"]
    assert float(old) == pytest.approx(float(new) + 1, abs=2e-3)
    assert (change, interval, verdict) == ("-1.000", "-1.000 to -1.000", "better")
    assert table["psnr_rgb"][2:] == ["+0.000", "+0.000 to +0.000", "no difference"]
    assert table["finetune.losses"] == ["{'l1': 100.0}", "{'l1': 10.0}"]
    # Each picture that the Markdown names is there, and the grids are those of their sides.
    named = re.findall(r"\]\((\S+\.png)\)", markdown)
    assert named == ["curves.png", "before.png", "after.png"]
    assert Image.open(after / "report/curves.png").size == (1200, 600)
    for name, side in (("before", before), ("after", after)):
        grid = (side / "reports/evaluate/samples.png").read_bytes()
        assert (after / f"report/{name}.png").read_bytes() == grid
    assert str(after) not in markdown
    # The same inputs, the same bytes.
    first = {path.name: path.read_bytes() for path in (after / "report").iterdir()}
    assert twotone(after, "report", "../before").returncode == 0
    assert {path.name: path.read_bytes() for path in (after / "report").iterdir()} == first


def test_the_curves_of_both_sides_are_drawn(sides: tuple[Path, Path]) -> None:
    before, after = sides
    steps = before / "reports/finetune/steps.csv"
    lines = steps.read_text(encoding="utf-8").splitlines()
    steps.write_text("\n".join([lines[0], *lines[1:3]]) + "\n", encoding="utf-8")
    twotone(after, "report", "../before", "-o", "short")
    shutil.rmtree(before / "reports/finetune")
    assert twotone(after, "report", "../before", "-o", "none").returncode == 0
    pictures = [np.asarray(Image.open(after / name / "curves.png").convert("RGB")) for name in ("short", "none")]
    assert (pictures[0] != pictures[1]).any()
    # Orange, of the side after the change, is in both.
    for picture in pictures:
        assert (np.abs(picture.astype(int) - [0xD5, 0x5E, 0x00]).sum(axis=2) < 60).any()


def test_what_cannot_be_compared_is_said(sides: tuple[Path, Path]) -> None:
    before, after = sides
    table = before / "reports/evaluate/per_image.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text(
        "\n".join([lines[0], *(line for line in lines[1:] if not line.startswith("0,"))]) + "\n", encoding="utf-8"
    )
    (before / "reports/evaluate/samples.png").unlink()
    assert twotone(after, "report", "../before").returncode == 0
    markdown = (after / "report/report.md").read_text(encoding="utf-8")
    assert "Not compared: the side before the change was measured on other photographs" in markdown
    assert "No pictures: reports/evaluate/samples.png is not there; `dvc pull` fetches it." in markdown
    (before / "params.yaml").rename(before / "elsewhere.yaml")
    assert twotone(after, "report", "../before").returncode == 0
    assert "params.yaml is not there, or cannot be read" in (after / "report/report.md").read_text(encoding="utf-8")
    (before / "elsewhere.yaml").rename(before / "params.yaml")
    history = before / "reports/pretrain/history.csv"
    whole = history.read_bytes()
    history.write_bytes(whole.rsplit(b",", 1)[0] + b",broken\n")
    refused = twotone(after, "report", "../before")
    assert refused.returncode == 2
    assert "history.csv: damaged (could not convert string to float" in refused.stderr
    history.write_bytes(whole)
    table.unlink()
    (after / "report/report.md").write_text("the last one", encoding="utf-8")
    refused = twotone(after, "report", "../before")
    assert refused.returncode == 2
    assert "reports/evaluate/per_image.csv: No such file or directory; run dvc repro evaluate" in refused.stderr
    assert (after / "report/report.md").read_text(encoding="utf-8") == "the last one"


def test_nothing_but_an_earlier_report_is_replaced(sides: tuple[Path, Path]) -> None:
    before, after = sides
    for place in ("reports", "../before", "..", "."):
        refused = twotone(after, "report", "../before", "-o", place)
        assert refused.returncode == 2, place
        assert f"-o {place} would be replaced by the report" in refused.stderr
    assert (after / "reports/evaluate/per_image.csv").is_file()
    assert (before / "reports/evaluate/per_image.csv").is_file()
