"""A candidate: one photograph that a source lists and the sample may draw."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.sampling.photographs import Decoded, decode
from pipeline.types import Box

SPLITS = ("train", "valid", "test")
HELD_OUT = ("valid", "test")


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
    number: int = -1
    """Among all candidates of the source, which say it when they are asked for it."""


class Candidates:
    """All candidates of a source, in a fixed order. Each is made when it is asked for: a million take no memory.

    Args:
        count: how many there are.
        make: the candidate of a number from 0 to count - 1; the same one each time.
        grouped: whether the source says which of them belong together.
        weights: (count,) how likely each is to be drawn, above 0; None for all alike.
        prepare: called with thousands of candidates before they are decoded, for sources that read many photographs in
            one pass.
    """

    def __init__(
        self,
        count: int,
        make: Callable[[int], Candidate],
        *,
        grouped: bool = False,
        weights: NDArray[np.float64] | None = None,
        prepare: Callable[[Sequence[Candidate]], None] | None = None,
    ):
        self._count, self._make, self.grouped, self.weights, self.prepare = count, make, grouped, weights, prepare

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Candidate:
        return replace(self._make(number), number=number)

    def __iter__(self) -> Iterator[Candidate]:
        return map(self._make, range(self._count))


class TemporaryTables:
    """SQLite tables in a file of their own, below TMPDIR or /var/tmp; the file goes with the object or the process.

    Args:
        schema: CREATE TABLE ...; CREATE TABLE ...
    """

    def __init__(self, schema: str):
        # "" is a private database on disk, of which SQLite holds 2 MB in memory.
        self._connection = sqlite3.connect("")
        # Nothing is ever rolled back.
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.executescript(schema)
        weakref.finalize(self, self._connection.close)

    def run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement of SQL, with a value for each `?`.

        Raises:
            OSError: the file cannot be written, as where the disk is full.
        """
        try:
            return self._connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise _not_kept(error) from None

    def add(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run an INSERT once for each row.

        Raises:
            OSError: the file cannot be written, as where the disk is full.
        """
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.OperationalError as error:
            raise _not_kept(error) from None


def _not_kept(error: sqlite3.OperationalError) -> OSError:
    return OSError(f"SQLite's temporary file (TMPDIR says where): {error}")
