"""Several processes that color photographs, of which one may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.coloring import processes
from tests.helpers import save_photo, twotone
from tests.page.conftest import TWOTONE

PHOTOGRAPHS = 40


def test_as_many_as_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 16)
    monkeypatch.setattr(processes, "_memory", lambda: 64 * 2**30)
    assert [processes.how_many(None, photographs) for photographs in (0, 1, 15, 16, 40, 1000)] == [1, 1, 1, 2, 5, 16]
    assert [processes.how_many(4, photographs) for photographs in (0, 1, 3, 1000)] == [1, 1, 3, 4]
    monkeypatch.setattr(processes, "_memory", lambda: 4 * 2**30)
    assert processes.how_many(None, 1000) == 2


def test_a_container_has_less_memory_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (tmp_path / "memory.max", tmp_path / "nowhere")
    monkeypatch.setattr(processes, "cores", lambda: 16)
    monkeypatch.setattr(processes, "_CONTAINER_LIMITS", limits)
    limits[0].write_text("max\n", encoding="utf-8")
    machine = processes._memory()
    limits[0].write_text(f"{2 * 2**30}\n", encoding="utf-8")
    assert processes._memory() == 2 * 2**30 < machine
    assert processes.how_many(None, 1000) == 1


def test_several_give_the_same_bytes_and_each_file_its_line(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "box").mkdir()
    for name in ("a.jpg", "c.png", "d.tif"):
        save_photo(tmp_path / "box" / name, rng, (300, 200))
    (tmp_path / "box/b.jpg").write_bytes(b"<html>not found</html>")
    words = ("colorize", "box", "--model", "starter", "--saturation", "1.2")
    one, two = (twotone(tmp_path, *words, "-o", f"out{n}", "--processes", str(n)) for n in (1, 2))
    assert (one.returncode, two.returncode) == (1, 1), one.stderr + two.stderr
    assert two.stdout.replace("out2/", "out1/") == one.stdout
    assert two.stderr.count("error: box/b.jpg: unreadable") == 1
    for name in ("a.jpg", "c.png", "d.tif"):
        assert (tmp_path / "out2" / name).read_bytes() == (tmp_path / "out1" / name).read_bytes()


@pytest.mark.slow
def test_a_killed_process_costs_no_photograph(tmp_path: Path, rng: np.random.Generator) -> None:
    with coloring(tmp_path, rng) as process:
        os.kill(children(process.pid)[0], signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stdout + stderr
    assert f"{PHOTOGRAPHS} colored, 0 kept as they were, 0 failed" in stdout
    assert stderr.count("was killed, for want of memory perhaps; going on without") == 1
    assert len(list(tmp_path.glob("out/*.png"))) == PHOTOGRAPHS
    assert not list(tmp_path.glob("out/.*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_none_outlives_the_first(tmp_path: Path, rng: np.random.Generator, number: signal.Signals) -> None:
    with coloring(tmp_path, rng) as process:
        others = children(process.pid)
        os.kill(process.pid, number)
        process.communicate(timeout=60)
    wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in others))


@contextmanager
def coloring(folder: Path, rng: np.random.Generator) -> Iterator[subprocess.Popen[str]]:
    """Two processes that color, some photographs after their beginning."""
    (folder / "box").mkdir()
    for number in range(PHOTOGRAPHS):
        save_photo(folder / f"box/{number:03d}.png", rng, (900, 900))
    words = [TWOTONE, "colorize", "box", "-o", "out", "--model", "starter", "--processes", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=folder, **pipes) as process:
        wait_until(lambda: process.poll() is not None or len(list(folder.glob("out/*.png"))) > 2)
        yield process


def children(pid: int) -> list[int]:
    """The processes that color, and not the one that cleans up after them."""
    listed = subprocess.run(
        ["pgrep", "-P", str(pid), "-f", "spawn_main"], capture_output=True, encoding="utf-8", check=True
    )
    return [int(line) for line in listed.stdout.split()]


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)
