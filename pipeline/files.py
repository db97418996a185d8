"""Files and folders that appear whole or not at all; JSON and CSV with stable bytes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import LockError
from pipeline.system import locked

# How the names of files begin that are not finished.
HIDDEN = ".writing-"
_WINDOWS = os.name == "nt"


CONFLICT = "holds the conflict of a merge (<<<<<<<); docs/how-to/merges.md says how to go on"


def has_conflict(text: str) -> bool:
    """Whether git has left both sides of a merge in a text."""
    return any(line.startswith("<<<<<<< ") for line in text.splitlines())


@dataclass(frozen=True)
class StageFolders:
    """Where a stage that trains writes."""

    work: Path
    """Its record while it runs, and its results before they are published."""
    reports: Path
    checkpoints: Path
    states: Path
    """Saved states of the stage, each training's under its fingerprint."""
    trackers: Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a hidden path beside `path` to write a file or a folder to; one rename then puts it in place of `path`.

    Raises:
        LockError: another process writes `path`.
        OSError: it could not be written. After any error `path` is as it was, and the hidden path is gone.
    """
    # Beside `path`, so that the rename stays within one file system; a hash, since no file name may be much longer.
    name = HIDDEN + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    hidden, old = path.with_name(f"{name}{path.suffix}"), path.with_name(f"{name}.old")
    with _alone(path, path.with_name(f"{name}.lock")):
        remove(hidden)
        try:
            yield hidden
            for written in [*hidden.rglob("*"), hidden]:
                _flush(written)
            _put_in_place(hidden, path, old)
        except BaseException:
            remove(hidden)
            raise
        _flush(path.parent)


@contextmanager
def _alone(path: Path, lock: Path) -> Iterator[None]:
    """Within, no other process writes `path`."""
    with lock.open("w", encoding="utf-8") as file:
        # One that was locked after its holder has deleted it keeps nobody away.
        if not locked(file) or not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            raise LockError(f"{path} is being written by another process; wait for it, or end it, and run again")
        try:
            yield
        finally:
            if not _WINDOWS:  # which deletes no open file
                lock.unlink(missing_ok=True)
    if _WINDOWS:
        with suppress(OSError):  # the next process has it already
            lock.unlink(missing_ok=True)


def _put_in_place(hidden: Path, path: Path, old: Path) -> None:
    """Rename; a folder that is replaced steps aside first, since only an empty one is renamed over."""
    if old.exists() and not path.exists():
        os.rename(old, path)  # a run that was killed between the two renames
    remove(old)
    if hidden.is_dir() and os.path.lexists(path):
        os.rename(path, old)
    try:
        os.replace(hidden, path)
    except OSError:
        if old.exists():
            os.rename(old, path)
        raise
    remove(old)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        OSError: it cannot be written; its name is in the error.
    """
    try:
        with replacing(path) as hidden:
            hidden.write_bytes(content)
    except OSError as error:  # a full disk names no file
        raise OSError(error.errno, error.strerror, str(path)) from None


def publish(source: Path, out: Path) -> None:
    """Copy a finished file or folder to `out`.

    Raises:
        OSError: the copy could not be written; `out` is as it was.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as hidden:
        # Not shutil.copytree: it goes on after a full disk, and then raises a list.
        for file in [source, *sorted(source.rglob("*"))]:
            place = hidden / file.relative_to(source)
            place.mkdir() if file.is_dir() else shutil.copyfile(file, place)


def fresh_folder(folder: Path) -> Path:
    """Make an empty folder; delete what an earlier run left there.

    Raises:
        OSError: it cannot be written.
    """
    remove(folder)
    folder.mkdir(parents=True)
    return folder


def require_writable(folder: Path) -> None:
    """Make the folder and try to write into it, before hours are spent on what would go there.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_json(path: Path, value: Any) -> None:
    """Sorted keys, no NaN: the same value gives the same bytes, readable by any JSON parser."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file's name on an old disk may be no UTF-8.
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with all that is in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Ask the operating system to write a file or a folder's list of names to the disk now."""
    if _WINDOWS and path.is_dir():
        return  # its folders cannot be opened
    # Windows flushes what is open for writing.
    descriptor = os.open(path, os.O_RDWR if _WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
