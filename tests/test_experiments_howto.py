"""docs/how-to/run-experiments.md: each of its commands runs, in its order."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.helpers import ROOT, Project

BLOCKS = re.findall(
    r"^```bash\n(.*?)^```",
    (ROOT / "docs/how-to/run-experiments.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.slow
def test_every_command_of_the_session_runs(make_project: Callable[[str], Project]) -> None:
    project = make_project("experiments")
    for key, value in (("name", "test"), ("email", "test@example.org")):
        project.git("config", f"user.{key}", value)
    said = []
    for block in BLOCKS:
        # Fewer photographs and epochs; the grid, the names and the order stay.
        script = block.replace("uv run ", "").replace("sample.train=64", "sample.train=8")
        script = script.replace("pretrain.epochs=4 -S 'pretrain.sample_epochs=[4]'", "pretrain.epochs=1")
        said.append(project.bash(script, timeout=1800).stdout)
        if "--run-all" in script:
            project.wait_for_the_queue()
    table = next(text for text in said if "| Experiment" in text)
    rows = re.findall(r"\[(grid-\d)\] \| Success .*\| (\d) +\| (resnet\d+) ", table)
    grid = [("1", "resnet18"), ("2", "resnet18"), ("1", "resnet34"), ("2", "resnet34")]
    assert sorted(rows) == [(f"grid-{number}", *cell) for number, cell in enumerate(grid, start=1)]
    assert (project.folder / "dvc_plots/index.html").is_file()
    assert "seed: 2" in (project.folder / "params.yaml").read_text(encoding="utf-8")
