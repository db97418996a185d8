"""Several photographs of the page: what is kept, what is deleted."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.coloring.batch import Batch, Controls, Task, color_all, is_done
from pipeline.coloring.worker import Request, Result, Worker
from pipeline.errors import ColoringError
from pipeline.inference.hints import Hint
from tests.helpers import save_photo


class Copying(Worker):
    """Writes what it is sent, and remembers it."""

    def __init__(self) -> None:
        self.colored: list[str] = []

    def color(self, request: Request) -> Result:
        self.colored.append(request.source.name)
        if request.source.name == "bad.png":
            raise ColoringError("bad.png: unreadable")
        full = request.folder / f"{request.source.stem}-color.png"
        for path in (full, request.folder / "before.webp"):
            path.write_bytes(request.source.read_bytes())
        return Result(request.folder / "before.webp", (full,), (full,))


@pytest.fixture
def sources(tmp_path: Path, rng: np.random.Generator) -> list[Path]:
    paths = [tmp_path / name for name in ("a/Street.png", "b/street.png", "bad.png", "c.png")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        save_photo(path, rng, (8, 6))
    return paths


def test_only_what_changed_is_colored_and_the_rest_is_deleted(tmp_path: Path, sources: list[Path]) -> None:
    results, worker, controls = tmp_path / "results", Copying(), Controls(32, 1.0, None, 1)
    results.mkdir()
    task = Task(sources, controls, first=sources[3])
    batches = list(color_all(task, Batch(), worker, results))
    assert worker.colored == ["c.png", "Street.png", "street.png", "bad.png"], "the one on display comes first"
    assert [len(batch.items) for batch in batches] == [1, 2, 3, 4]
    assert batches[-1].problems == ["bad.png: unreadable"]
    assert batches[-1].archive is not None
    assert zipfile.ZipFile(batches[-1].archive).namelist() == ["Street-color.png", "street-color-2.png", "c-color.png"]
    assert len(list(results.iterdir())) == 4, "three results and their zip"

    worker.colored.clear()
    fewer = list(color_all(replace(task, sources=sources[1:]), batches[-1], worker, results))[-1]
    assert worker.colored == []
    assert len(list(results.iterdir())) == 3

    again = replace(task, sources=sources[1:], controls=replace(controls, saturation=0.5))
    paler = list(color_all(again, fewer, worker, results))[-1]
    assert worker.colored == ["c.png", "street.png", "bad.png"]
    assert len(list(results.iterdir())) == 3

    paler.delete()
    assert list(results.iterdir()) == []


def test_the_hour_is_counted_from_the_last_use(tmp_path: Path, sources: list[Path]) -> None:
    (tmp_path / "results").mkdir()
    task = Task(sources[2:], Controls(32, 1.0, None, 1))
    first = list(color_all(task, Batch(), Copying(), tmp_path / "results"))[-1]
    files = [*task.sources, *(path for result in first.results.values() for path in (result.before, *result.full))]
    for path in files:
        os.utime(path, (0, 0))
    again = replace(task, hints={sources[2]: (Hint("50%", "50%", "red"),)})
    list(color_all(again, first, Copying(), tmp_path / "results"))
    assert all(path.stat().st_mtime > 10**9 for path in files if path.exists())
    assert all(path.exists() for path in task.sources)


def test_what_was_deleted_meanwhile_is_named(tmp_path: Path, sources: list[Path]) -> None:
    sources[3].unlink()
    (tmp_path / "results").mkdir()
    task = Task(sources[3:], Controls(32, 1.0, None, 1))
    (batch,) = [list(color_all(task, Batch(), Copying(), tmp_path / "results"))[-1]]
    assert batch.problems == ["c.png: deleted after an hour; send it again"]
    assert list((tmp_path / "results").iterdir()) == []
    assert is_done(task, batch)
    save_photo(sources[3], np.random.default_rng(0), (8, 6))
    assert not is_done(task, batch)
    (batch,) = [list(color_all(task, batch, Copying(), tmp_path / "results"))[-1]]
    assert batch.problems == []
