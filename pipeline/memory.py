"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Larger arrays go back: gaps between them would cost a quarter of the memory of a training at 256 px. (A page more than
# 128 MiB, since malloc counts its own bytes, too.)
_LARGEST = (128 << 20) + 4096


def keep_freed_memory() -> None:
    """Let the process keep memory that it frees, for its next arrays, instead of returning it to the system.

    The next array would get it back as pages of zeros, page by page, a fifth to two fifths of a training step at 256
    px on a CPU (docs/speed.md). Takes effect with glibc 2.35 or later, which most Linux systems have.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Smaller arrays come from the heap. An older glibc refuses such a size, and the next line alone would do harm.
    if mallopt and mallopt(_M_MMAP_THRESHOLD, _LARGEST):
        mallopt(_M_TRIM_THRESHOLD, -1)  # never give back what the heap has
