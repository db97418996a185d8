"""What a classifier saw in photographs, and how far apart that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Fewer photographs than this say nothing of the covariance of 112 features.
FEWEST = 200
# Of the photographs, for the spread of a Frechet distance: enough for its standard error to within 5 %.
_RESAMPLES = 200


@dataclass(frozen=True)
class Seen:
    """What the classifier says of one photograph."""

    classes: tuple[int, ...]
    """The five likeliest of ImageNet-1k, best first."""
    pooled: NDArray[np.float64]
    """(112,): means of the channels at 1/16 of the input."""
    levels: tuple[NDArray[np.float32], ...]
    """(C, h, w) at five resolutions, each position of length 1."""


def feature_distance(one: Seen, other: Seen) -> float:
    """Return the mean over five levels of the squared distance of unit features: 0 (the same) to 4; LPIPS without
    weights.
    """
    levels = zip(one.levels, other.levels, strict=True)
    return float(np.mean([((a - b) ** 2).sum(0).mean() for a, b in levels]))


def frechet_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Between Gaussians fitted to (N, C) and (M, C) features (Dowson and Landau 1982)."""
    means = one.mean(0) - other.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    # The trace of the root of first @ second, which has the eigenvalues of a symmetric product: real and quick.
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return float(means @ means + np.trace(first + second) - 2 * shared)


def resampled_distances(colored: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Frechet distance on resamples of the photographs, (N, C) each: the same resamples at every call."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(true), size=(_RESAMPLES, len(true)))
    return np.array([frechet_distance(colored[draw], true[draw]) for draw in draws])
