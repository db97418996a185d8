"""A candidate: one photograph that a source lists and the sample may draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.media.decoding import Decoded, decode
from pipeline.types import Box

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One photograph, or one region of one."""

    name: str
    """Path relative to the source; a region ends in #xywh=left,top,width,height."""
    file: Path
    box: Box | None = None
    split: str | None = None
    """Its split, where the source decides it."""
    reader: Callable[[Path, int, int], Decoded] = decode
    """(file, sample.max_pixels, pixels of a side that will be used or 0 for all); raises ImageError."""
