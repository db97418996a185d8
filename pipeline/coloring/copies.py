"""Colored copies among photographs: known by their name, NAME-color.EXT, and by their XMP."""

from __future__ import annotations

import re
from mmap import ACCESS_READ, mmap
from pathlib import Path

from pipeline.media.decoding import SUFFIXES
from pipeline.media.provenance import colored_here
from pipeline.media.video_reader import CONTAINERS, is_colored_film

COLORED = SUFFIXES | set(CONTAINERS)
"""The endings of what can be colored."""
MARK = "-color"
# With the numbers that other photographs of one name, seeds and comparisons add.
_COPY = re.compile(rf"(?P<name>.+){MARK}(-\d+)*(-compare)?")


def stem_of(source: Path) -> str:
    """Return the name of a photograph or film without its ending; "Mr. Smith 1935" has none."""
    return source.stem if source.suffix.lower() in COLORED else source.name


def comparison(target: Path) -> Path:
    """Return the file with before and after side by side."""
    return target.with_stem(f"{target.stem}-compare")


def original(file: Path) -> Path | None:
    """Return the photograph, without its ending, of which a file is a copy: a-color-2.jpg -> a.

    Its name says so, and its XMP or a film's comment.
    """
    match = _COPY.fullmatch(file.stem)
    if match is None or not file.is_file():
        return None
    return file.with_name(match["name"]) if is_colored(file) else None


def is_colored(file: Path) -> bool:
    """Whether its XMP, or a film's comment, says that this program has colored it; False where it cannot be read."""
    if not file.is_file():  # reading from a pipe would wait
        return False
    if file.suffix.lower() in CONTAINERS:
        return is_colored_film(file)
    try:
        # Mapped, not read: the packet lies near the beginning of most, and an archive may have 100,000.
        with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
            return colored_here(content)
    except (OSError, ValueError):  # a file of no bytes cannot be mapped
        return False
