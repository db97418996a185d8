"""The source `folder`: every image file below a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from pipeline.errors import ImageError, SourceError
from pipeline.media.decoding import SUFFIXES
from pipeline.sampling.candidates import Candidate, Candidates, TemporaryTables
from pipeline.sampling.photographs import Decoded, decode


def folder(
    root: Path, include: Sequence[str] = (), exclude: Sequence[str] = (), *, key: str = "sample.path"
) -> Candidates:
    """Every image file below a directory, sorted by path.

    Links to directories are not followed. Hidden files and what is below hidden directories are left out: they hold
    thumbnails, and what a Mac has put beside photographs.

    Args:
        root: the directory.
        include: patterns of paths below it, of which one must fit, in letters of any case, with * for any text, also
            with a slash; () for all.
        exclude: patterns of which none may.
        key: of params.yaml, that names the directory.

    Raises:
        SourceError: no directory, one that cannot be read, or no image files in it.
    """
    if not root.is_dir():
        problem = "not a directory" if root.exists() else "no such directory"
        raise SourceError(f"{key} {root}: {problem}; set it to a directory of photographs")
    tables = TemporaryTables("CREATE TABLE found (name TEXT, file BLOB)")
    found = (file for file in _image_files(root, key) if _wanted(file, include, exclude))
    files = ((printable(file), os.fsencode(file)) for file in found)
    tables.add("INSERT INTO found VALUES (?, ?)", files)
    # SQLite numbers the rows from 1 in this order.
    tables.run("CREATE TABLE sorted AS SELECT file FROM found ORDER BY name, file")
    tables.run("DROP TABLE found")
    (count,) = tables.run("SELECT count(*) FROM sorted").fetchone()
    if not count:
        chosen = " that sample.include and sample.exclude leave" if include or exclude else ""
        raise SourceError(f"{key} {root}: no image files ({', '.join(sorted(SUFFIXES))}) below it{chosen}")
    return Candidates(count, partial(_candidate, tables, root, partial(_decode_inside, root.resolve(), key)))


def _candidate(tables: TemporaryTables, root: Path, reader: partial[Decoded], number: int) -> Candidate:
    (encoded,) = tables.run("SELECT file FROM sorted WHERE rowid = ?", number + 1).fetchone()
    file = os.fsdecode(encoded)
    return Candidate(printable(file), root / file, reader=reader)


def _wanted(file: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    name = file.lower()
    included = not include or any(fnmatchcase(name, pattern.lower()) for pattern in include)
    return included and not any(fnmatchcase(name, pattern.lower()) for pattern in exclude)


def _image_files(root: Path, key: str) -> Iterator[str]:
    """Paths relative to the root, in no order."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{below}{entry.name}/")
                    elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                        yield f"{below}{entry.name}"
        except OSError as error:
            message = f"{key}: folder {root / below} cannot be read: {error.strerror}"
            raise SourceError(message) from None


def _decode_inside(root: Path, key: str, file: Path, max_pixels: int, side: int) -> Decoded:
    # A link that leads in a circle to itself leads nowhere.
    if file.is_symlink() and root not in Path(os.path.realpath(file)).parents:
        raise ImageError(f"a link to outside of {key}")
    return decode(file, max_pixels, side)


def printable(path: str) -> str:
    """Escape what is no UTF-8: a file name need not be, but the manifest is."""
    # csv leaves a carriage return without quotes.
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace("\r", "\\r")
