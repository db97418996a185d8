"""The default tests pass in a checkout that somebody uses, on another processor, in other surroundings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, Project, environment

# oneDNN and torch compute as on a processor of 2013, and the machine is somebody else's in every other way.
OTHER_PROCESSOR = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
# The page's tests wait for a browser most of the time, and find their texts by it. Its server is in the other tests.
LEFT_OUT = ("tests/page",)
ELSEWHERE = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "LANG": "C", "COLUMNS": "50", "TERM": "dumb"}


@pytest.fixture(autouse=True)
def _nothing_of_the_user_is_read() -> None:
    """Copies all of this checkout, and so reads what conftest.py forbids others to read."""


def used_checkout(folder: Path) -> Project:
    """A copy of this checkout in which all that is its user's has changed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    project = Project(folder)
    project.git("init", "-q", "-b", "mine")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "a clone")
    project.twotone("recipe", "smoke")
    project.change(base={"seed": 7}, sample={"train": 40})
    project.dvc("repro", env=OTHER_PROCESSOR)
    project.dvc("repro", "--force", "--single-item", "finetune", env=OTHER_PROCESSOR)
    # Committed, too: the last commit is the user's own.
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "my results")
    project.twotone("recipe", "compact_lsgan")
    project.change(base={"seed": 8})
    project.dvc("remote", "add", "--local", "-d", "mine", str(folder / "remote"))
    return project


@pytest.mark.slow
def test_the_default_tests_pass_in_a_used_checkout(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so nothing says which files are the project's")
    project = used_checkout(tmp_path / "used checkout")
    home, disk = tmp_path / "home", Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path / "other disk"
    home.mkdir()
    disk.mkdir(exist_ok=True)
    # The copy's modules, also for the console script, which is this checkout's.
    env = {**environment(), **OTHER_PROCESSOR, **ELSEWHERE, "HOME": str(home), "PYTHONPATH": str(project.folder)}
    env = {key: value for key, value in env.items() if not key.startswith("PYTEST_")}
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(disk / "twotone-used-checkout")]
    words += [f"--ignore={name}" for name in LEFT_OUT]
    try:
        done = subprocess.run(
            [sys.executable, *words], cwd=project.folder, env=env, capture_output=True, encoding="utf-8"
        )
    finally:
        shutil.rmtree(disk / "twotone-used-checkout", ignore_errors=True)
    assert done.returncode == 0, done.stdout[-6000:]
