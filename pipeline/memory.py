"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Larger arrays go back: gaps between them would cost a quarter of the memory of a training at 256 px.
_LARGEST = 128 << 20


def keep_freed_memory() -> None:
    """Let the process keep memory that it frees, for its next arrays, instead of returning it to the system.

    The next array would get it back as pages of zeros, page by page: a third of a training step at 256 px on a CPU
    (docs/speed.md). Takes effect with glibc, which most Linux systems have, and does nothing elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_TRIM_THRESHOLD, -1)  # never give back what the heap has
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)  # what is smaller comes from the heap
