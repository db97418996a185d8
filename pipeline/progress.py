"""Progress of long work: a bar in a terminal, a line a minute in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

SECONDS_A_LINE = 60.0
# tqdm's own variable: with it, nothing says how far it is.
QUIET = "TQDM_DISABLE"


def progress(items: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """Show how far a loop is, on stderr; nothing where the variable TQDM_DISABLE is set.

    Args:
        items: what the loop goes through; None where `update` counts.
        options: of tqdm, such as total, desc and unit.
    """
    if os.environ.get(QUIET):
        options["disable"] = True
    if sys.stderr is None or sys.stderr.isatty():
        return tqdm(items, **options)
    return _Log(items, **{**options, "file": _Lines(sys.stderr), "dynamic_ncols": False})


class _Log(tqdm):  # type: ignore[type-arg]
    """A bar that is a line a minute, and one at the end unless it shall not be left.

    A bar that is drawn over itself fills a log: a CI keeps thousands of copies of it in one line.
    """

    _said: tuple[float, float] | None = None
    """When it has begun or said something last, and how far it was."""

    def display(self, msg: str | None = None, **_place: Any) -> None:  # type: ignore[override]
        """Write a line where it is time for one."""
        now = time.monotonic()
        since, done = self._said or (now, -1)
        self._said = (since, done)
        finished = self.leave and self.total is not None and self.n >= self.total
        if msg != "" and self.n != done and (finished or now - since >= SECONDS_A_LINE):
            self._said = (now, self.n)
            self.fp.write(f"{self}\n")


class _Lines:
    """A stream that drops what only moves a cursor."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()
