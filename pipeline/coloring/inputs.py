"""Find the photographs and films that `twotone colorize` is given, in files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from errno import EACCES
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pipeline.coloring.copies import COLORED, original
from pipeline.coloring.hint_files import belongs_to_another
from pipeline.errors import InputError

COPIES = "colored copies"
"""What they are called where files that are left out are counted."""
HINTS = "files of hints"


class Found(NamedTuple):
    """A file that may be colored."""

    source: Path
    inside: Path
    """Its path below the output folder."""
    named: bool = False
    """Whether it was named itself, rather than its folder or a pattern."""


def find(
    inputs: Sequence[str], out: Path | None, left_out: Counter[str], unreadable: dict[Path, str]
) -> Iterator[Found]:
    """Find each photograph in files, folders and patterns.

    Args:
        out: the folder of the colored copies, if there is one.
        left_out: counts the files in folders that are not colored, by kind.
        unreadable: notes the folders that could not be looked into, and why.

    Raises:
        InputError: an input does not exist.
    """
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            folder, found = path, [(file, file.relative_to(path)) for file in _below(path, left_out, unreadable)]
        elif text == "-":
            raise InputError("- is standard input, and is colored alone; a file of that name is ./-")
        elif path.exists():
            if belongs_to_another(path):  # *.png in a shell names it, too
                left_out[HINTS] += 1
            else:
                yield Found(path, Path(path.name), named=True)
            continue
        elif glob.has_magic(text):
            folder, found = (
                _without_magic(path),
                [(Path(name), Path(Path(name).name)) for name in sorted(glob.glob(text, recursive=True))],
            )
        else:
            raise InputError(f"{text}: no such file or folder")
        copies = out.resolve() if out and folder.resolve() in out.resolve().parents else None
        for file, inside in found:
            kind = _kind_left_out(file, folder, copies)
            if kind:
                left_out[kind] += 1
            elif file.is_file():
                yield Found(file, inside)


def _below(folder: Path, left_out: Counter[str], unreadable: dict[Path, str]) -> list[Path]:
    """Find the files in a folder and in those inside it, sorted; note which cannot be looked into.

    Links to folders are counted and not followed: some lead back to where they are.
    """

    def note(error: OSError) -> None:
        parts = Path(error.filename).relative_to(folder).parts
        # Hidden ones are left out in any case; lost+found is a disk's own.
        if not any(part.startswith(".") or part == "lost+found" for part in parts):
            unreadable[Path(error.filename)] = str(error.strerror)

    found: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=note):
        hidden = any(part.startswith(".") for part in Path(root).relative_to(folder).parts)
        linked = sum(os.path.islink(os.path.join(root, name)) for name in folders if not name.startswith("."))
        if linked and not hidden:
            left_out["links to folders"] += linked
        if names and not os.access(root, os.X_OK):
            note(PermissionError(EACCES, os.strerror(EACCES), root))
        else:
            found += [Path(root, name) for name in names]
    return sorted(found)


def _kind_left_out(file: Path, folder: Path, copies: Path | None) -> str:
    """Why a file below a folder is not colored; "" where it is.

    Args:
        copies: the folder of the colored copies, resolved, where it is inside that of the photographs.
    """
    if file.is_dir():
        return ""
    if any(part.startswith(".") for part in file.relative_to(folder).parts):
        return "hidden"
    if not file.is_file():
        return "not regular files"
    if copies and copies in real_path(file).parents:
        return COPIES
    if belongs_to_another(file):
        return HINTS
    if file.suffix.lower() not in COLORED:
        return file.suffix.lower() or "without an ending"
    # And those of a run without --out, beside their photographs; a pattern may find the copies alone.
    source = original(file)
    endings = [ending for suffix in COLORED for ending in (suffix, suffix.upper())]
    beside = source and any(source.with_name(source.name + ending).exists() for ending in endings)
    return COPIES if beside else ""


def _without_magic(pattern: Path) -> Path:
    """Return the folder before the first wildcard: photos/**/*.jpg -> photos."""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def real_path(path: Path) -> Path:
    """Return the absolute path of a file, without links, as `Path.resolve` gives it at more cost for each of
    200,000.
    """
    return path.resolve() if os.path.islink(path) else _real_folder(path.parent) / path.name


def forget_folders() -> None:
    """Forget where folders really are: links may have changed since."""
    _real_folder.cache_clear()


@lru_cache(maxsize=1000)
def _real_folder(folder: Path) -> Path:
    return folder.resolve()
