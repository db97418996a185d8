"""Photographs from outside the sample, which a model is measured on, too."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from PIL import Image

from pipeline.data.shards import Photographs, ShardWriter, split_names
from pipeline.errors import SourceError
from pipeline.params.schema import Sample
from pipeline.progress import progress
from pipeline.sampling.draw import Manifest, examine, in_order
from pipeline.sampling.duplicates import DuplicateFinder, ImageHash, image_hash
from pipeline.sampling.folder import folder
from pipeline.system import cores
from pipeline.types import Pixels

OUTSIDE = "outside"
"""What their split is called."""
_KEY = "evaluate.photographs"
_OF_TRAINING = ("train", "valid")


def take_all(photographs: Path, sample: Sample, size: int, drawn: Path, out: Path) -> None:
    """Write all photographs of a folder that can be used as one split: shards, and manifest.csv with the others.

    They become squares as those of the sample did. Left out is what training has seen: the same file, or a square with
    the same pixels or nearly the same, as after it was saved again; and of two with the same pixels the second.

    Args:
        photographs: the folder.
        sample: how photographs become squares, and which are too gray or too large.
        size: pixels of a side.
        drawn: the folder of the sample.
        out: an empty folder.

    Raises:
        SourceError: the folder cannot be read, or none of its photographs can be used.
    """
    candidates = folder(photographs, key=_KEY)
    seen, squares = _files_of_training(drawn / "manifest.csv"), _squares_of_training(drawn, size)
    # Regions of a bundled photograph share no pixel, and patches of one sky all look alike.
    near, writer, count = sample.source != "bundled", ShardWriter(out, OUTSIDE), 0
    work, threads = partial(examine, sample=sample, size=size), cores()
    bar = progress(total=len(candidates), desc=OUTSIDE, unit="photo", leave=False)
    with Manifest(out / "manifest.csv") as manifest, bar:
        for examined in in_order(work, candidates, threads, ahead=threads * 16):
            reason = examined.reason or ("training has seen it" if examined.sha256 in seen else "")
            if not reason and examined.pixels is not None:
                hashed = _hash_of_square(examined.pixels)
                reason = squares.find_duplicate(examined.candidate.name, hashed, OUTSIDE, near=near)
            manifest.add(examined.row(OUTSIDE, reason))
            if not reason and examined.pixels is not None:
                writer.add(examined.pixels)
                count += 1
            bar.update()
    writer.close()
    if not count:
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(manifest.rejected.items()))
        raise SourceError(f"{_KEY} {photographs}: none of {len(candidates)} photographs can be used: {reasons}")


def _files_of_training(manifest: Path) -> set[str]:
    """Return the SHA-256 of the files that training has learnt from, or was chosen by."""
    with manifest.open(newline="", encoding="utf-8") as file:
        return {row["sha256"] for row in csv.DictReader(file) if row["split"] in _OF_TRAINING}


def _squares_of_training(drawn: Path, size: int) -> DuplicateFinder:
    """Return all squares that training has learnt from, or was chosen by."""
    found = DuplicateFinder()
    for split in _OF_TRAINING:
        photographs, names = Photographs(drawn, split, size), split_names(drawn, split)
        for number, name in enumerate(progress(names, desc=f"{OUTSIDE}: {split}", unit="photo", leave=False)):
            hashed = _hash_of_square(photographs[number])
            found.find_duplicate(name, hashed, split, near=False)  # remembers its pixels
            found.add(name, hashed, split)
    return found


def _hash_of_square(pixels: Pixels) -> ImageHash:
    """Of the square alone, on both sides: of a photograph that was drawn there is nothing else."""
    return image_hash(Image.fromarray(pixels), pixels)
