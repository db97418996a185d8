"""Color several photographs of the page, one after another, and put what came out into a zip."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.coloring.worker import Request, Result, Worker
from pipeline.errors import ColoringError, HintError
from pipeline.inference.colorizer import ColoringOptions
from pipeline.inference.hints import Hint
from pipeline.media.video_reader import CONTAINERS

_DELETED = "deleted after an hour; send it again"


@dataclass(frozen=True)
class Controls:
    """What the page's sliders say."""

    size: int
    saturation: float
    vivid: float | None
    """None for a model without a dial."""
    variants: int


@dataclass(frozen=True)
class Item:
    """One photograph that was tried."""

    source: Path
    controls: Controls
    result: Result | None
    hints: tuple[Hint, ...] = ()
    like: Path | None = None
    problem: str = ""
    """Its name and why it could not be colored, where there is no result."""


@dataclass(frozen=True)
class Batch:
    """The photographs that were tried so far, in the order in which they were sent."""

    items: tuple[Item, ...] = ()
    archive: Path | None = None
    """A zip of all results, once each photograph was tried, where there are several."""
    archive_problem: str = ""

    @property
    def results(self) -> dict[Path, Result]:
        """By photograph."""
        return {item.source: item.result for item in self.items if item.result is not None}

    @property
    def problems(self) -> list[str]:
        """A sentence for each photograph that failed, and for a zip that did."""
        found = [item.problem for item in self.items if item.result is None]
        return [*found, self.archive_problem] if self.archive_problem else found

    @property
    def notes(self) -> list[str]:
        """What is worth knowing about results, in a sentence each."""
        named = [(item.source.name, item.result) for item in self.items if item.result is not None]
        return [f"{name}: {note}" for name, result in named for note in result.notes]

    def delete(self) -> None:
        """Delete the files of all results."""
        for result in self.results.values():
            _delete(result.before)
        _delete(self.archive)


@dataclass(frozen=True)
class Task:
    sources: Sequence[Path]
    controls: Controls
    first: Path | None = None
    """The photograph that somebody looks at, which is colored before the others."""
    hints: Mapping[Path, tuple[Hint, ...]] = field(default_factory=dict)
    """By photograph, where there are some."""
    like: Path | None = None
    """A reference picture, whose colors all photographs get where they match."""

    def item(self, source: Path) -> Item:
        """Return a photograph as it is to be colored, without a result."""
        return Item(source, self.controls, None, self.hints.get(source, ()), self.like)


def color_all(task: Task, earlier: Batch, worker: Worker, folder: Path) -> Iterator[Batch]:
    """Yield the batch after each photograph, after the last one with the zip.

    One that fails does not stop the others. What was colored earlier with the same controls is kept, other results are
    deleted. One photograph is in memory at a time, in the worker's process.

    Args:
        folder: gets a folder for each result, and for the zip.
    """
    replaced = {item.source: item.result for item in earlier.items}
    done = _done(task, earlier)
    _delete(earlier.archive)
    for source in replaced.keys() - set(task.sources):
        _delete_result(replaced[source])
    for source in sorted(task.sources, key=lambda source: source != task.first):
        keep_alive(Batch(tuple(done.values())), [*task.sources, *([task.like] if task.like else [])])
        if source in done:
            continue
        done[source] = _color(task.item(source), worker, folder)
        _delete_result(replaced.get(source))
        if len(done) < len(task.sources):
            yield _ordered(task.sources, done)
    finished = _ordered(task.sources, done)
    yield _with_archive(finished, folder) if len(finished.results) > 1 else finished


def keep_alive(batch: Batch, more: Sequence[Path] = ()) -> None:
    """Count the hour, after which files are deleted, from now: of photographs, of their results, and of more files."""
    results = [path for one in batch.results.values() for path in (one.before, *one.after, *one.full)]
    likes = [item.like for item in batch.items if item.like is not None]
    archive = [batch.archive] if batch.archive else []
    for path in (*(item.source for item in batch.items), *results, *likes, *archive, *more):
        with suppress(OSError):  # it has gone
            os.utime(path)


def is_done(task: Task, earlier: Batch) -> bool:
    """Whether all was colored already, with the same controls, and nothing else."""
    return _done(task, earlier).keys() == set(task.sources) and len(earlier.items) == len(task.sources)


def _done(task: Task, earlier: Batch) -> dict[Path, Item]:
    return {
        item.source: item
        for item in earlier.items
        if replace(item, result=None, problem="") == task.item(item.source) and _is_there(item)
    }


def _is_there(item: Item) -> bool:
    if item.result is None:
        # What was deleted may have been sent again.
        return not (item.problem.endswith(_DELETED) and item.source.exists())
    return all(path.exists() for path in item.result.full)


def _ordered(sources: Sequence[Path], done: dict[Path, Item]) -> Batch:
    return Batch(tuple(done[source] for source in sources if source in done))


def _color(item: Item, worker: Worker, folder: Path) -> Item:
    name, controls = item.source.name, item.controls
    if not item.source.exists():
        return replace(item, problem=f"{name}: {_DELETED}")
    if item.source.suffix.lower() in CONTAINERS:
        reason = f"a film; this page colors photographs, and `twotone colorize {name}` colors films"
        return replace(item, problem=f"{name}: {reason}")
    work = Path(tempfile.mkdtemp(dir=folder))
    options = ColoringOptions(controls.size, seed=0, saturation=controls.saturation, hints=item.hints)
    request = Request(item.source, work, options, controls.variants, controls.vivid, item.like)
    try:
        try:
            result = worker.color(request)
        except HintError as error:  # with its picture before one, what was said can be mended
            result = worker.color(replace(request, coloring=replace(options, hints=())))
            result = replace(result, notes=(*result.notes, f"colored without what was said: {error}"))
    except ColoringError as error:
        shutil.rmtree(work, ignore_errors=True)
        return replace(item, problem=str(error))
    return replace(item, result=result)


def _with_archive(batch: Batch, folder: Path) -> Batch:
    path = Path(tempfile.mkdtemp(dir=folder)) / "twotone.zip"
    try:
        # Stored: pictures are compressed already.
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file, name in _named(batch):
                archive.write(file, name)
    except OSError as error:
        _delete(path)
        return replace(batch, archive_problem=f"{path.name}: cannot be written: {error.strerror or error}")
    return replace(batch, archive=path)


def _named(batch: Batch) -> Iterator[tuple[Path, str]]:
    """Each full-size result and its name in the zip; no two names differ in upper and lower case only."""
    taken: set[str] = set()
    for result in batch.results.values():
        for file in result.full:
            name, number = file.name, 1
            while name.casefold() in taken:
                number += 1
                name = f"{file.stem}-{number}{file.suffix}"
            taken.add(name.casefold())
            yield file, name


def _delete_result(result: Result | None) -> None:
    if result is not None:
        _delete(result.before)


def _delete(path: Path | None) -> None:
    """Delete the folder that a file has to itself."""
    if path is not None:
        shutil.rmtree(path.parent, ignore_errors=True)
