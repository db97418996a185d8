"""Progress in a terminal and in a log."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np

from tests.helpers import ROOT, save_photo, twotone

LOOP = """
import time
from pipeline import progress
progress.SECONDS_A_LINE = 0.2
for _ in progress.progress(range(300), desc="work", unit="thing", disable=False):
    time.sleep(0.002)
"""


def test_a_log_gets_a_line_now_and_then() -> None:
    done = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, cwd=ROOT, check=True)
    said = done.stderr.decode()
    assert "\r" not in said
    lines = said.splitlines()
    # The first, one each 0.2 of the 0.6 s or more, and the last; a bar would have some six a second.
    assert 3 <= len(lines) <= 30
    assert all(line.startswith("work: ") for line in lines)
    assert "100%" in lines[-1]
    assert "300/300" in lines[-1]


def test_quiet_says_nothing_of_how_far_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "box").mkdir()
    for name in ("one.jpg", "two.jpg"):
        save_photo(tmp_path / "box" / name, rng)
    said = [twotone(tmp_path, *words, "colorize", "box", "-o", "out", "--overwrite") for words in ([], ["--quiet"])]
    assert [done.returncode for done in said] == [0, 0]
    assert "100%" in said[0].stderr
    assert "%" not in said[1].stderr
    assert said[1].stdout == said[0].stdout
    loop = {**os.environ, "TQDM_DISABLE": "1"}
    done = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, cwd=ROOT, check=True, env=loop)
    assert done.stderr == b""


def test_a_terminal_gets_a_bar() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen([sys.executable, "-c", LOOP], stderr=theirs, cwd=ROOT) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                said += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    assert process.returncode == 0
    assert said.count(b"\r") > 3
    assert said.count(b"\n") <= 2
