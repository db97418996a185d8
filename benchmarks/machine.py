"""What the machine can do at most, measured in the same run: the limits that a row is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

_SIDE, _COPY_BYTES = 1024, 2**28


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of a product of large matrices: the best of several."""
    side = _SIDE if device.type == "cpu" else 8 * _SIDE
    one, other = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / best(lambda: one @ other, device)


def copy_rate(device: torch.device) -> float:
    """Bytes a second that are read and written by copying memory."""
    source = torch.zeros(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / best(lambda: target.copy_(source), device)


def best(work: Callable[[], object], device: torch.device, repeats: int = 7) -> float:
    """Seconds of the fastest of several runs, after one that sets things up."""
    work()
    return min(timed(work, device) for _ in range(repeats))


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the work is done, on the device, too."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
