"""What works where POSIX's modules are missing, as on Windows. It is no Windows: only Twotone misses them here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import ROOT, save_photo

# What Python on Windows does not have. Libraries look at os.name for that; Twotone's own files meet it here.
BEGINNING = """
import builtins, os, signal, sys
real = builtins.__import__
def imported(name, scope=None, *rest, **more):
    of = (scope or {}).get("__name__", "")
    if of.startswith(("pipeline", "stages")) and name in ("fcntl", "resource", "pwd", "grp", "termios", "tty"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, scope, *rest, **more)
builtins.__import__ = imported
del signal.SIGHUP, os.sched_getaffinity
"""


def on_windows(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BEGINNING + code, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=folder, env=env, check=False)


def test_a_photograph_is_colored(tmp_path: Path) -> None:
    save_photo(tmp_path / "photo.png", np.random.default_rng(0))
    code = "from pipeline.cli import main; sys.argv[0] = 'twotone'; sys.exit(main())"
    done = on_windows(tmp_path, code, "colorize", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out/photo.png") as colored:
        assert np.ptp(np.asarray(colored), axis=2).max() > 0


@pytest.mark.parametrize(
    "module",
    [
        "pipeline.inference",
        "pipeline.page.server",
        "pipeline.training.trainer",
        "pipeline.experiments.backbones",
        "stages.__main__",
    ],
)
def test_everything_imports(module: str, tmp_path: Path) -> None:
    done = on_windows(tmp_path, f"import {module}")
    assert done.returncode == 0, done.stderr
