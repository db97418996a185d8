"""The source `bundled`: regions of photographs that ship inside installed packages."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import SourceError
from pipeline.media.decoding import FORMATS, SMALLEST_SIDE
from pipeline.sampling.candidates import SPLITS, Candidate, Candidates
from pipeline.types import Box

# Cells along the short side of a photograph, and how many of them validation and test get each.
_CELLS, _HELD_OUT = 5, 3


def bundled(listing: Path, seed: int) -> Candidates:
    """Regions of the photographs in a CSV with the columns package and file.

    Each photograph is cut into cells a fifth of its short side; three cells are held out for validation and three
    for test, by seed. A region lies in cells of one split only, so splits never share a pixel.

    Raises:
        SourceError: the listing is malformed, or names a photograph that is not installed or too small.
    """
    rng = np.random.default_rng([seed, 0xB0])
    candidates: list[Candidate] = []
    for package, name in _listed(listing):
        file = _package_file(listing, package, name)
        width, height = _size(listing, file)
        for split, box in _regions(width, height, rng):
            x, y, right, bottom = box
            region = f"{package}/{name}#xywh={x},{y},{right - x},{bottom - y}"
            candidates.append(Candidate(region, file, box, split))
    return Candidates(len(candidates), candidates.__getitem__)


def _listed(listing: Path) -> list[tuple[str, str]]:
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            rows = [(str(row["package"] or ""), str(row["file"] or "")) for row in csv.DictReader(file)]
    except OSError as error:
        raise SourceError(f"sample.path {listing}: cannot be read: {error.strerror}") from None
    except KeyError as error:
        expected = "expected a CSV with the columns package and file"
        raise SourceError(f"sample.path {listing}: {expected}, and there is no {error.args[0]}") from None
    except (ValueError, csv.Error) as error:
        raise SourceError(f"sample.path {listing}: is no CSV in UTF-8: {error}") from None
    if not rows:
        raise SourceError(f"sample.path {listing}: lists no photographs")
    return rows


def _size(listing: Path, file: Path) -> tuple[int, int]:
    try:
        with Image.open(file, formats=FORMATS) as image:
            size = image.size
    except OSError:
        raise SourceError(f"sample.path {listing}: {file.name} is no photograph") from None
    if min(size) < _CELLS * SMALLEST_SIDE:
        raise SourceError(f"sample.path {listing}: {file.name} of {size[0]}x{size[1]} is too small to be cut up")
    return size


def _package_file(listing: Path, package: str, name: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"sample.path {listing}: package {package!r} is not installed")
    package_folder = Path(spec.submodule_search_locations[0])
    file = package_folder / name
    if not file.is_file() or package_folder.resolve() not in file.resolve().parents:
        raise SourceError(f"sample.path {listing}: package {package!r} has no file {name!r}")
    return file


def _regions(width: int, height: int, rng: np.random.Generator) -> Iterator[tuple[str, Box]]:
    cell = min(width, height) // _CELLS
    across, down = width // cell, height // cell
    held_out = rng.choice(across * down, size=2 * _HELD_OUT, replace=False)
    split_of = np.full((down, across), SPLITS.index("train"))
    split_of.flat[held_out[:_HELD_OUT]] = SPLITS.index("valid")
    split_of.flat[held_out[_HELD_OUT:]] = SPLITS.index("test")
    for side in (2 * cell, 3 * cell // 2, cell):
        for top in _starts(down, cell, side):
            for left in _starts(across, cell, side):
                rows = slice(top // cell, (top + side - 1) // cell + 1)
                columns = slice(left // cell, (left + side - 1) // cell + 1)
                touched = np.unique(split_of[rows, columns])
                if len(touched) == 1:
                    yield SPLITS[touched[0]], (left, top, left + side, top + side)


def _starts(cells: int, cell: int, side: int) -> list[int]:
    """Every eighth of a cell, counted from the start of each cell, so that some regions fill one."""
    starts = [number * cell + eighth * cell // 8 for number in range(cells) for eighth in range(8)]
    return [start for start in starts if start + side <= cells * cell]
