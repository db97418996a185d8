"""The source `folder`: every image file below a directory."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import ImageError, SourceError
from pipeline.media.decoding import SUFFIXES, Decoded, decode
from pipeline.sampling.candidates import Candidate


def folder(root: Path) -> list[Candidate]:
    """Every image file below a directory, sorted by path; links to directories are not followed.

    Raises:
        SourceError: no directory, one that cannot be read, or no image files in it.
    """
    if not root.is_dir():
        problem = "not a directory" if root.exists() else "no such directory"
        raise SourceError(f"sample.path {root}: {problem}; set it to a directory of photographs")
    files: list[Path] = []
    for place, folders, names in os.walk(root, onerror=_refuse_unreadable):
        folders.sort()
        files += [Path(place, name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    if not files:
        raise SourceError(f"sample.path {root}: no image files ({', '.join(sorted(SUFFIXES))}) below it")
    named = sorted((_printable(file.relative_to(root)), file) for file in files)
    inside = root.resolve()
    return [Candidate(name, file, reader=decode if _within(file, inside) else _refuse_link) for name, file in named]


def _within(file: Path, root: Path) -> bool:
    # A link that leads in a circle to itself leads nowhere.
    return not file.is_symlink() or root in Path(os.path.realpath(file)).parents


def _refuse_link(_file: Path, _max_pixels: int, _side: int) -> Decoded:
    raise ImageError("a link to outside of sample.path")


def _refuse_unreadable(error: OSError) -> None:
    raise SourceError(f"sample.path: folder {error.filename} cannot be read: {error.strerror}")


def _printable(path: Path) -> str:
    """A file name need not be UTF-8, but the manifest is."""
    # csv leaves a carriage return without quotes.
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace").replace("\r", "\\r")
