"""A candidate: one photograph that a source lists and the sample may draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.sampling.photographs import Decoded, decode
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
    group: int | None = None
    """Candidates of one group stay in one split (sample.group)."""


class Candidates:
    """All candidates of a source, in a fixed order. Each is made when it is asked for: a million take no memory.

    Args:
        count: how many there are.
        make: the candidate of a number from 0 to count - 1; the same one each time.
    """

    def __init__(self, count: int, make: Callable[[int], Candidate]):
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Candidate:
        return self._make(number)

    def __iter__(self) -> Iterator[Candidate]:
        return map(self._make, range(self._count))
