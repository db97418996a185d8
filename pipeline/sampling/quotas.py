"""How many photographs of each kind a split takes, and how many it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath

from pipeline.params.schema import Sample
from pipeline.sampling.candidates import SPLITS, Candidate

# Of a sample without weights.
ALL = ""


class Quotas:
    """Photographs that each split wants, by kind.

    With sample.weights, a kind is a folder of sample.path. Training photographs are shared out by weight, held-out ones
    evenly. Without, all are of one kind.
    """

    def __init__(self, sample: Sample):
        self.wanted: dict[tuple[str, str], int] = {}
        """By split and kind."""
        self.drawn: Counter[tuple[str, str]] = Counter()
        self.kinds = list(sample.weights) if isinstance(sample.weights, dict) else [ALL]
        for split in SPLITS:
            weights = sample.weights if split == "train" and isinstance(sample.weights, dict) else {}
            counts = shared_out(getattr(sample, split), {kind: weights.get(kind, 1.0) for kind in self.kinds})
            self.wanted |= {(split, kind): count for kind, count in counts.items()}

    def kind_of(self, candidate: Candidate) -> str | None:
        """Return the kind of a photograph; None where the sample wants none of its kind."""
        if self.kinds == [ALL]:
            return ALL
        kind = PurePosixPath(candidate.name).parts[0]
        return kind if kind in self.kinds else None

    def has_room(self, split: str, kind: str) -> bool:
        return self.drawn[split, kind] < self.wanted[split, kind]

    def add(self, split: str, kind: str) -> None:
        self.drawn[split, kind] += 1

    def total(self, split: str) -> int:
        """Return how many photographs a split has."""
        return sum(self.drawn[split, kind] for kind in self.kinds)

    def missing(self) -> int:
        """Return how many photographs are still to be drawn."""
        return sum(self.wanted.values()) - self.drawn.total()

    def is_full(self, split: str) -> bool:
        return not any(self.has_room(split, kind) for kind in self.kinds)

    def shortages(self, have: Counter[tuple[str, str]]) -> list[str]:
        """Name each split and kind that gets fewer than it wants."""
        return [
            f"sample.{split} {count}{f' of {kind}' if kind else ''} (there are {have[split, kind]})"
            for (split, kind), count in self.wanted.items()
            if have[split, kind] < count
        ]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what was drawn, by kind and split."""
        return {kind: {split: self.drawn[split, kind] for split in SPLITS} for kind in self.kinds}


def shared_out(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Share out a number by weights, by largest remainders: whole numbers whose sum it is."""
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    left = total - sum(counts.values())
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[:left]:
        counts[name] += 1
    return counts
