"""Locks: one process at a time; a lock names its holder and ends with it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.errors import LockError

# What a file system says that has no locks.
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


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
    with path.open("a+", encoding="utf-8") as file:
        if not locked(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LockError(f"{what} is running already, as {holder}; wait for it, or end it, and run again")
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def locked(file: IO[str]) -> bool:
    """Lock an open file until it is closed; False where another process has locked it.

    Where the file system has no locks, nothing is locked, and the answer is True.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    return True
