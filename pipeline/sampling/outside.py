"""Photographs from outside the sample, which a model is measured on, too."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from pipeline.data.shards import ShardWriter
from pipeline.errors import SourceError
from pipeline.params.schema import Sample
from pipeline.progress import progress
from pipeline.sampling.draw import Manifest, examine, in_order
from pipeline.sampling.folder import folder
from pipeline.system import cores

OUTSIDE = "outside"
"""What their split is called."""
_KEY = "evaluate.photographs"
_OF_TRAINING = ("train", "valid")


def take_all(photographs: Path, sample: Sample, size: int, drawn: Path, out: Path) -> None:
    """Write all photographs of a folder that can be used as one split: shards, and manifest.csv with the others.

    They become squares as those of the sample did. One whose file training has seen is left out.

    Args:
        photographs: the folder.
        sample: how photographs become squares, and which are too gray or too large.
        size: pixels of a side.
        drawn: manifest.csv of the sample.
        out: an empty folder.

    Raises:
        SourceError: the folder cannot be read, or none of its photographs can be used.
    """
    candidates = folder(photographs, key=_KEY)
    seen, writer, count = _files_of_training(drawn), ShardWriter(out, OUTSIDE), 0
    work, threads = partial(examine, sample=sample, size=size), cores()
    bar = progress(total=len(candidates), desc=OUTSIDE, unit="photo", leave=False)
    with Manifest(out / "manifest.csv") as manifest, bar:
        for examined in in_order(work, candidates, threads, ahead=threads * 16):
            reason = examined.reason or ("training has seen it" if examined.sha256 in seen else "")
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
