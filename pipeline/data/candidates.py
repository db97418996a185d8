"""One photograph that may be drawn, whatever source lists it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.images import Pixels, decode

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
    reader: Callable[[Path, int], tuple[Pixels, str]] = decode
    """(file, sample.max_pixels) -> (H, W, 3) uint8 sRGB and a checksum; raises ImageError."""
