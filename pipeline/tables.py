"""Tables on the command line: folded to a terminal's width, and never cut where they are piped or written to a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wider than any line: what is piped is for programs.
_PIPED = 10_000


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows of plain text below their headers."""
    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED).print(table)
