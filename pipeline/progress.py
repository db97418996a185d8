"""Progress of long work: a bar in a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

SECONDS_A_LINE = 60.0


def progress(items: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """Show how far a loop is, on stderr.

    Args:
        items: what the loop goes through; None where `update` counts.
        options: of tqdm, such as total, desc and unit.
    """
    if sys.stderr is None or sys.stderr.isatty():
        return tqdm(items, **options)
    # A bar that is drawn over itself fills a log: a CI keeps thousands of copies of it in one line.
    every = {"mininterval": SECONDS_A_LINE, "maxinterval": SECONDS_A_LINE, "dynamic_ncols": False}
    return tqdm(items, **{**options, **every, "file": _Lines(sys.stderr)})


class _Lines:
    """A stream on which each state of a bar is a line of its own."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()
