"""Learning rate as a function of progress: no state, so nothing to lose when a run is resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from pipeline.errors import ParamsError
from pipeline.params.schema import part_of
from pipeline.parts import load_part, where

# The learning rate of fastai's fit_one_cycle: a quarter of the steps from lr / 25 up to lr, then down to lr / 100,000.
# Its momentum, which fastai moves the other way, stays where it is here.
_WARM, _START, _END = 0.25, 1 / 25, 1e-5
# The part of warmup_cosine in which the rate rises, in a straight line.
_WARM_UP = 0.05
# Steps at which a schedule of one's own is tried.
_TRIED = 1000


def schedule(name: str, key: str) -> Callable[[int, int], float]:
    """Return what gives the factor at a step of all.

    Args:
        name: of a schedule, or of a part of one's own: function(step, total) -> factor.
        key: of params.yaml, that names it.

    Raises:
        ParamsError: a part cannot be used.
    """
    part = part_of("schedules", name)
    if not part:
        return partial(lr_factor, name)
    own = load_part(key, part, "step", "total")

    def factor(step: int, total: int) -> float:
        try:
            given = own(step, total)
        except Exception as error:  # what somebody else's function may raise is anything
            raise ParamsError(f"{key}: {name} fails at step {step} of {total}: {where(error, own)}") from error
        try:
            found = float(given)
        except (TypeError, ValueError):
            found = math.nan
        if not (math.isfinite(found) and found >= 0):
            raise ParamsError(f"{key}: {name} gives {given!r} at step {step} of {total}; a factor is a number >= 0")
        return found

    return factor


def require_schedule(factor: Callable[[int, int], float], total: int) -> None:
    """Try a schedule at steps all over a training, rather than find after hours that it ends in an error.

    Raises:
        ParamsError: it is no number >= 0 somewhere.
    """
    for number in range(min(total, _TRIED)):
        factor(round(number * (total - 1) / max(min(total, _TRIED) - 1, 1)), total)


def lr_factor(name: str, step: int, total: int) -> float:
    """Return what to multiply the learning rate with at `step` of `total` (0 <= step < total)."""
    progress = step / max(total - 1, 1)
    if name == "one_cycle":
        if progress < _WARM:
            return _cosine(_START, 1.0, progress / _WARM)
        return _cosine(1.0, _END, (progress - _WARM) / (1 - _WARM))
    if name == "cosine":
        return _cosine(1.0, 0.0, step / total)
    if name == "warmup_cosine":
        warm = math.ceil(_WARM_UP * total)
        return (step + 1) / (warm + 1) if step < warm else _cosine(1.0, 0.0, (step - warm) / (total - warm))
    if name == "linear_decay":  # pix2pix: constant for half of the training, then straight to zero
        return min(1.0, 2 * (1 - step / total))
    return 1.0


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
