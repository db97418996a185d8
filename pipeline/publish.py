"""Outs appear whole or not at all.

A stage works in logs/<stage>/, where it can be watched, and publishes when it has succeeded.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def fresh_folder(folder: Path) -> Path:
    """Empty and make the folder; what an earlier run left there is gone.

    Raises:
        OSError: it cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        _remove(folder)
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


def publish(source: Path, out: Path) -> None:
    """Put a finished file or folder in place of `out` with one rename.

    Raises:
        OSError: the copy could not be written; `out` is then as it was, or absent.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside `out`, so that the rename stays within one file system.
    copy = out.with_name(f".{out.name}.publishing")
    _remove(copy)
    try:
        # Not shutil.copytree: it goes on after a full disk, and then raises a list.
        for file in [source, *sorted(source.rglob("*"))]:
            place = copy / file.relative_to(source)
            place.mkdir() if file.is_dir() else shutil.copyfile(file, place)
        for file in [*copy.rglob("*"), copy]:
            _flush(file)
    except BaseException:
        _remove(copy)
        raise
    _remove(out)
    os.replace(copy, out)
    _flush(out.parent)


def write_json(path: Path, value: Any) -> None:
    """Sorted keys, no NaN: the same value gives the same bytes, readable by any JSON parser."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
