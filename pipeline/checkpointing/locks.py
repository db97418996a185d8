"""Locks: one process at a time; a lock names its holder and ends with it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import LockError


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for as long as this process lives, however it ends.

    Args:
        what: the work done under the lock, for the message to a second process.

    Raises:
        LockError: another process holds it.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LockError(f"{what} is running already, as {holder}; wait for it, or end it, and run again") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
