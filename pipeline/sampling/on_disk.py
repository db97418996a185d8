"""What grows with the number of photographs is kept in a temporary file, so that memory stays flat."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable
from typing import Any


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
