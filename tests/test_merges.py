"""Two branches with results of their own are merged, and go on as docs/how-to/merges.md says."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.helpers import ROOT, Project

BLOCKS = re.findall(
    r"^```bash\n(.*?)^```", (ROOT / "docs/how-to/merges.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.slow
def test_a_merge_of_two_trained_branches(make_project: Callable[[str], Project]) -> None:
    project = make_project("merges")
    project.change(generator={"architecture": "compact_unet"})
    project.dvc("repro", "evaluate")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "start")
    for branch, seed in (("one", 1), ("other", 2)):
        project.git("checkout", "-q", "-b", branch, "main")
        project.change(base={"seed": seed})
        project.dvc("repro", "evaluate")
        project.git("add", "-A")
        project.git("commit", "-q", "-m", branch)
    project.git("checkout", "-q", "one")
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@example.org")
    with pytest.raises(AssertionError, match="CONFLICT"):
        project.bash("git merge other", timeout=60)
    refused = project.twotone("compare", ok=False)
    assert refused.returncode == 2
    assert (
        "per_image.csv: holds the conflict of a merge (<<<<<<<); docs/how-to/merges.md says how to go on"
        in refused.stderr
    )
    refused = project.twotone("check", ok=False)
    assert "params.yaml: holds the conflict of a merge (<<<<<<<)" in refused.stderr
    assert BLOCKS
    for block in BLOCKS:
        project.bash(block.replace("uv run dvc repro", "dvc repro evaluate"), timeout=600)
    assert "seed: 1" in (project.folder / "params.yaml").read_text(encoding="utf-8")
    assert project.dvc("status", "--json", "evaluate").stdout.strip() == "{}"
    assert project.twotone("compare", "other", ok=False).returncode in (0, 2)
