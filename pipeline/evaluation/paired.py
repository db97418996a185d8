"""Whether one colorizer is better than another: paired by photograph, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

Verdict = Literal["better", "worse", "differs", "no difference"]

_RESAMPLES, _CONFIDENCE = 9999, 0.95


@dataclass(frozen=True)
class Difference:
    """The mean of a metric in two runs, and its mean difference over the same photographs."""

    before: float
    after: float
    low: float
    """The 95 % interval of the difference, by bootstrap over photographs."""
    high: float

    def verdict(self, better: Literal["lower", "higher", ""]) -> Verdict:
        """What may be said: nothing, where the interval holds zero."""
        if self.low <= 0 <= self.high:
            return "no difference"
        if not better:
            return "differs"
        return "better" if (self.high < 0) == (better == "lower") else "worse"


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> Difference:
    """Compare a metric of the same photographs, by their names.

    Raises:
        ValueError: the photographs are not the same, or fewer than two.
    """
    if before.keys() != after.keys() or len(before) < 2:
        raise ValueError("a paired comparison needs the same photographs on both sides, two at least")
    names = sorted(before)
    one, other = (np.array([side[name] for name in names]) for side in (before, after))
    low, high = mean_interval(other - one)
    return Difference(float(one.mean()), float(other.mean()), low, high)


def spread_interval(value: float, resampled: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of what many photographs have together: 1.96 standard errors, by bootstrap, on either side.

    No percentiles: a Frechet distance is larger on every resample, which has fewer different photographs.
    """
    margin = 1.96 * float(resampled.std(ddof=1))
    return value - margin, value + margin


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of a mean: the percentile bootstrap (Efron and Tibshirani 1993), the same at every call."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    # In batches of ten million numbers, which bounds memory and changes no result.
    batch = max(1, 10**7 // len(values))
    options = {"confidence_level": _CONFIDENCE, "n_resamples": _RESAMPLES, "method": "percentile", "batch": batch}
    interval = bootstrap((values,), np.mean, rng=np.random.default_rng(0), **options).confidence_interval
    return float(interval.low), float(interval.high)
