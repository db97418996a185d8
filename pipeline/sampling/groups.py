"""Groups of photographs that stay on one side of the split, such as the frames of one shot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from pipeline.sampling.candidates import Candidate

# Held-out splits are filled first: asking for more training photographs later leaves them as they were.
FILL_ORDER = ("test", "valid", "train")


class Groups:
    """Which photographs belong together, and the split that each group is in.

    Args:
        kind: sample.group: none, folder, or how many consecutive file names make a group.
        candidates: all of them, in the order of their names.
    """

    def __init__(self, kind: str | int, candidates: list[Candidate]):
        self._group_of: dict[str, str] = {}
        self._splits: dict[str, str] = {}
        if kind == "none":
            return
        seen: Counter[str] = Counter()
        for candidate in candidates:
            folder = PurePosixPath(candidate.name).parent.as_posix()
            run = f"{folder}#{seen[folder] // kind}" if isinstance(kind, int) else folder
            self._group_of[candidate.name] = run
            seen[folder] += 1

    def __len__(self) -> int:
        return len(set(self._group_of.values()))

    def together(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The members of each group one after another, groups in the order of their first members."""
        ordered = list(candidates)
        if not self._group_of:
            return ordered
        first: dict[str, int] = {}
        for number, candidate in enumerate(ordered):
            first.setdefault(self._group_of[candidate.name], number)
        return sorted(ordered, key=lambda candidate: first[self._group_of[candidate.name]])

    def split_for(self, candidate: Candidate, drawn: Counter[str], wanted: dict[str, int]) -> str | None:
        """The split that takes the candidate: its own, that of its group, or the first that is not full yet."""
        own = candidate.split or self._splits.get(self._group_of.get(candidate.name, ""))
        for split in FILL_ORDER:
            if own in (None, split) and drawn[split] < wanted[split]:
                return split
        return None

    def bind(self, candidate: Candidate, split: str) -> None:
        """Remember that the group of a candidate is in a split."""
        if candidate.name in self._group_of:
            self._splits.setdefault(self._group_of[candidate.name], split)
