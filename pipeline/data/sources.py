"""Where photographs come from: each source lists candidates, in an order that never changes."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.images import SUFFIXES
from pipeline.params import Sample

SPLITS = ("train", "valid", "test")
Box = tuple[int, int, int, int]


class SourceError(Exception):
    """The source is missing or malformed; the message says what was expected and found."""


@dataclass(frozen=True)
class Candidate:
    """One photograph, or one region of one, that may be drawn."""

    name: str
    """Path relative to the source; a region carries its #xywh=left,top,width,height."""
    file: Path
    box: Box | None = None
    split: str | None = None
    """Where the source itself decides the split."""


def candidates(sample: Sample, seed: int) -> list[Candidate]:
    """All photographs of the source.

    Raises:
        SourceError: names the path, what was expected and what was found.
    """
    if sample.source == "bundled":
        return bundled(Path(sample.path), seed)
    return folder(Path(sample.path))


def folder(root: Path) -> list[Candidate]:
    """Every image file below a directory, links to directories not followed, sorted by path."""
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise SourceError(f"sample.path {root}: expected a directory of photographs, found {found}")
    found_files = []
    for place, folders, files in os.walk(root):
        folders.sort()
        found_files += [Path(place, name) for name in files if Path(name).suffix.lower() in SUFFIXES]
    if not found_files:
        raise SourceError(f"sample.path {root}: no image files ({', '.join(sorted(SUFFIXES))}) below it")
    named = sorted((file.relative_to(root).as_posix(), file) for file in found_files)
    return [Candidate(name, file) for name, file in named]


def bundled(listing: Path, seed: int) -> list[Candidate]:
    """Regions of the photographs that ship inside installed packages.

    Each photograph is cut into cells a third of its short side; one cell is kept for validation and
    one for test, by seed. A region lies in cells of one split only, so splits never share a pixel.
    """
    rng = np.random.default_rng([seed, 0xB0])
    found = []
    for package, name in _listed(listing):
        file = _package_file(listing, package, name)
        with Image.open(file) as image:
            width, height = image.size
        for split, box in _regions(width, height, rng):
            x, y, right, bottom = box
            region = f"{package}/{name}#xywh={x},{y},{right - x},{bottom - y}"
            found.append(Candidate(region, file, box, split))
    return found


def _listed(listing: Path) -> list[tuple[str, str]]:
    try:
        with listing.open(newline="", encoding="utf-8") as file:
            rows = [(row["package"], row["file"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise SourceError(f"sample.path {listing}: expected a CSV with columns package, file: {error!r}") from None
    if not rows:
        raise SourceError(f"sample.path {listing}: lists no photographs")
    return rows


def _package_file(listing: Path, package: str, name: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"sample.path {listing}: package {package!r} is not installed")
    file = Path(spec.submodule_search_locations[0], name)
    if not file.is_file():
        raise SourceError(f"sample.path {listing}: package {package!r} has no file {name!r}")
    return file


def _regions(width: int, height: int, rng: np.random.Generator) -> Iterator[tuple[str, Box]]:
    cell = min(width, height) // 3
    across, down = width // cell, height // cell
    kept = rng.choice(across * down, size=2, replace=False)
    split_of = np.full((down, across), 0)
    split_of.flat[kept[0]], split_of.flat[kept[1]] = 1, 2
    for side in (cell, cell * 3 // 4, cell // 2):
        for top in range(0, down * cell - side + 1, cell // 4):
            for left in range(0, across * cell - side + 1, cell // 4):
                rows = slice(top // cell, (top + side - 1) // cell + 1)
                columns = slice(left // cell, (left + side - 1) // cell + 1)
                touched = np.unique(split_of[rows, columns])
                if len(touched) == 1:
                    yield SPLITS[touched[0]], (left, top, left + side, top + side)
