"""How many cores there are to work on."""

from __future__ import annotations

import os


def cores() -> int:
    """Those that this process may use: under taskset, srun or a container's cpuset fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
