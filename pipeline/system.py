"""What the operating system gives and takes: cores, memory, signals, locks."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from filelock import lock_descriptor

from pipeline.errors import LockError

Handler = Callable[[int, FrameType | None], None] | signal.Handlers

# What a file system says that has no locks.
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Larger arrays go back: gaps between them would cost a quarter of the memory of a training at 256 px. (A page more than
# 128 MiB, since malloc counts its own bytes, too.)
_LARGEST = (128 << 20) + 4096


def cores() -> int:
    """Count the cores that this process may use.

    Under taskset, srun or a container's cpuset they are fewer than the machine has.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let the process keep memory that it frees, for its next arrays, instead of returning it to the system.

    The next array would get it back as pages of zeros, page by page, a fifth to two fifths of a training step at 256
    px on a CPU (docs/explanation/speed.md). Takes effect with glibc 2.35 or later, which most Linux systems have.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Smaller arrays come from the heap. An older glibc refuses such a size, and the next line alone would do harm.
    if mallopt and mallopt(_M_MMAP_THRESHOLD, _LARGEST):
        mallopt(_M_TRIM_THRESHOLD, -1)  # never give back what the heap has


def stop_signals(*names: str) -> tuple[signal.Signals, ...]:
    """Return the signals of these names that end this process.

    Windows knows no SIGHUP, and under `nohup` it ends nothing.
    """
    known = [signal.Signals[name] for name in names if hasattr(signal, name)]
    return tuple(one for one in known if one.name != "SIGHUP" or signal.getsignal(one) is not signal.SIG_IGN)


@contextmanager
def handled(handler: Handler, *numbers: int) -> Iterator[None]:
    """Let signals call the handler for a while, and then do as before. Works in the main thread only, as in Python."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for as long as this process lives, however it ends.

    Args:
        path: the lock file. It names the process that holds it.
        what: the work done under the lock, for the message to a second process.

    Raises:
        LockError: another process holds it.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not locked(file):
            raise LockError(f"{what} is running already, as {_holder(file)}; wait for it, or end it, and run again")
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _holder(file: IO[str]) -> str:
    """Read who holds a lock. Windows lets nobody read a locked file."""
    try:
        file.seek(0)
        return file.read().strip() or "another process"
    except OSError:
        return "another process"


def locked(file: IO[str]) -> bool:
    """Lock an open file until it is closed; return False where another process has locked it.

    Where the file system has no locks, nothing is locked, and the answer is True.
    """
    try:
        return lock_descriptor(file.fileno(), blocking=False)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        return True
