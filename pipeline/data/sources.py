"""Where photographs come from: each source lists candidates, in an order that never changes."""

from __future__ import annotations

import csv
import difflib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data import arrays
from pipeline.data.candidates import Box, Candidate, SourceError
from pipeline.data.images import FORMATS, SMALLEST_SIDE, SUFFIXES, ImageError, Pixels, decode
from pipeline.params import Sample

SPLITS = ("train", "valid", "test")

# Bundled photographs: cells along the short side, and how many of them validation and test get.
_CELLS, _KEPT = 5, 3


def candidates(sample: Sample, seed: int) -> list[Candidate]:
    """All photographs of the source.

    Raises:
        SourceError: names the path, what was expected and what was found.
    """
    path = Path(sample.path)
    if sample.source == "bundled":
        return bundled(path, seed)
    if sample.source == "stl10":
        return arrays.stl10(path)
    if sample.source == "lab_arrays":
        return arrays.lab_arrays(path)
    if sample.source == "fastai":
        return fastai(sample, seed)
    return folder(path)


def folder(root: Path) -> list[Candidate]:
    """Every image file below a directory, links to directories not followed, sorted by path."""
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise SourceError(f"sample.path {root}: expected a directory of photographs, found {found}")
    found_files = []
    for place, folders, files in os.walk(root, onerror=_unreadable_folder):
        folders.sort()
        found_files += [Path(place, name) for name in files if Path(name).suffix.lower() in SUFFIXES]
    if not found_files:
        raise SourceError(f"sample.path {root}: no image files ({', '.join(sorted(SUFFIXES))}) below it")
    named = sorted((_printable(file.relative_to(root)), file) for file in found_files)
    inside = root.resolve()
    return [Candidate(name, file, reader=decode if _within(file, inside) else _refuse_link) for name, file in named]


def _within(file: Path, root: Path) -> bool:
    return not file.is_symlink() or root in file.resolve().parents


def _refuse_link(_file: Path, _max_pixels: int) -> tuple[Pixels, str]:
    raise ImageError("a link to outside of sample.path")


def _unreadable_folder(error: OSError) -> None:
    raise SourceError(f"sample.path: folder {error.filename} cannot be read: {error.strerror}")


def _printable(path: Path) -> str:
    """A file name need not be UTF-8, but the manifest is."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def fastai(sample: Sample, seed: int) -> list[Candidate]:
    """Photographs of a fastai data set, downloaded and unpacked where fastai keeps them.

    As the COCO notebooks choose: numpy's legacy generator, seeded, picks as many as are asked for and
    shuffles them; the first sample.train are for training. They pick from an unsorted listing, which differs
    from machine to machine; here it is sorted.

    Raises:
        SourceError: no such data set, or it can be neither found nor downloaded.
    """
    found = folder(_fastai_folder(sample.dataset))
    counts = {split: int(getattr(sample, split)) for split in SPLITS}
    total = sum(counts.values())
    if total > len(found):
        return found
    legacy = np.random.RandomState(seed)
    chosen = legacy.choice(len(found), total, replace=False)[legacy.permutation(total)]
    splits = [split for split in SPLITS for _ in range(counts[split])]
    drawn = [replace(found[i], split=split) for i, split in zip(chosen, splits, strict=True)]
    # The rest stand in for photographs that are rejected.
    return drawn + [found[i] for i in sorted(set(range(len(found))) - set(chosen.tolist()))]


def _fastai_folder(name: str) -> Path:
    from fastai.data.external import URLs, untar_data

    url = getattr(URLs, name, None)
    if not (isinstance(url, str) and url.endswith((".tgz", ".zip"))):
        known = [key for key, value in vars(URLs).items() if str(value).endswith((".tgz", ".zip"))]
        near = ", ".join(difflib.get_close_matches(name, known, n=3)) or "COCO_SAMPLE"
        raise SourceError(f"sample.dataset {name!r} is no fastai data set; near: {near}")
    try:
        return Path(untar_data(url))
    except Exception as error:  # urllib, tarfile and fastai itself raise what they like
        archive = url.rsplit("/", 1)[-1]
        raise SourceError(
            f"sample.dataset {name}: neither found nor downloaded ({type(error).__name__}: {error}); put {archive} "
            "into the archive folder of fastai's config (FASTAI_HOME, default ~/.fastai), or take another source"
        ) from None


def bundled(listing: Path, seed: int) -> list[Candidate]:
    """Regions of the photographs that ship inside installed packages.

    Each photograph is cut into cells a fifth of its short side; three cells are kept for validation and
    three for test, by seed. A region lies in cells of one split only, so splits never share a pixel.
    """
    rng = np.random.default_rng([seed, 0xB0])
    found = []
    for package, name in _listed(listing):
        file = _package_file(listing, package, name)
        width, height = _size(listing, file)
        for split, box in _regions(width, height, rng):
            x, y, right, bottom = box
            region = f"{package}/{name}#xywh={x},{y},{right - x},{bottom - y}"
            found.append(Candidate(region, file, box, split))
    return found


def _listed(listing: Path) -> list[tuple[str, str]]:
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            rows = [(str(row["package"] or ""), str(row["file"] or "")) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise SourceError(f"sample.path {listing}: expected a CSV with columns package, file: {error!r}") from None
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
    kept = rng.choice(across * down, size=2 * _KEPT, replace=False)
    split_of = np.full((down, across), SPLITS.index("train"))
    split_of.flat[kept[:_KEPT]] = SPLITS.index("valid")
    split_of.flat[kept[_KEPT:]] = SPLITS.index("test")
    for side in (2 * cell, 3 * cell // 2, cell):
        for top in _starts(down, cell, side):
            for left in _starts(across, cell, side):
                rows = slice(top // cell, (top + side - 1) // cell + 1)
                columns = slice(left // cell, (left + side - 1) // cell + 1)
                touched = np.unique(split_of[rows, columns])
                if len(touched) == 1:
                    yield SPLITS[touched[0]], (left, top, left + side, top + side)


def _starts(cells: int, cell: int, side: int) -> list[int]:
    """Every eighth of a cell, counted from the start of each, so that some regions fill a cell."""
    starts = [number * cell + eighth * cell // 8 for number in range(cells) for eighth in range(8)]
    return [start for start in starts if start + side <= cells * cell]
