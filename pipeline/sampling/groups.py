"""Groups of photographs that stay on one side of the split, such as the frames of one shot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.sampling.candidates import SPLITS, Candidate, Candidates

# Held-out splits are filled first: asking for more training photographs later leaves them as they were.
FILL_ORDER = ("test", "valid", "train")
_NOT_BOUND = -1
_NUMBER = re.compile(r"0*([0-9]+)")


class Groups:
    """Which photographs belong together, and the split that each group is in.

    Args:
        kind: sample.group: none, folder, or how many consecutive file names make a group. With none, those that the
            source states are kept.
        candidates: all of them.

    Raises:
        SourceError: the source states different splits for photographs of one group.
    """

    def __init__(self, kind: str | int, candidates: Candidates):
        self._candidates = candidates
        self._group_of = _own(candidates) if kind == "none" else _numbered(kind, candidates)
        """(candidates,), or empty without groups."""
        self._split_of = np.full(self._group_of.max(initial=-1) + 1, _NOT_BOUND, np.int8)
        """(groups,): an index into SPLITS."""

    def __len__(self) -> int:
        return len(self._split_of)

    def together(self, order: NDArray[np.int64]) -> Iterator[Candidate]:
        """Yield the candidates of these numbers, but the members of each group after the first of them."""
        if not len(self):
            yield from (self._candidates[int(number)] for number in order)
            return
        _, first, which = np.unique(self._group_of[order], return_index=True, return_inverse=True)
        for number in order[np.argsort(first[which], kind="stable")]:
            yield replace(self._candidates[int(number)], group=int(self._group_of[number]))

    def split_for(self, candidate: Candidate, has_room: Callable[[str], bool]) -> str | None:
        """Return the split that takes the candidate: its own, that of its group, or the first that has room."""
        own = candidate.split
        if own is None and candidate.group is not None and self._split_of[candidate.group] != _NOT_BOUND:
            own = SPLITS[self._split_of[candidate.group]]
        for split in FILL_ORDER:
            if own in (None, split) and has_room(split):
                return split
        return None

    def bind(self, candidate: Candidate, split: str) -> None:
        """Remember that the group of a candidate is in a split."""
        if candidate.group is not None and self._split_of[candidate.group] == _NOT_BOUND:
            self._split_of[candidate.group] = SPLITS.index(split)


def _own(candidates: Candidates) -> NDArray[np.int32]:
    """Return the group of each candidate as the source says, of its own where it says none; [] without groups."""
    if not candidates.grouped:
        return np.zeros(0, np.int32)
    # A source may number its groups as it likes.
    given: dict[int, int] = {}
    stated = [
        -1 if candidate.group is None else given.setdefault(candidate.group, len(given)) for candidate in candidates
    ]
    groups = np.array(stated, np.int32)
    alone = np.flatnonzero(groups < 0)
    groups[alone] = np.arange(len(alone), dtype=np.int32) + len(given)
    return groups


def _numbered(kind: str | int, candidates: Candidates, order: Sequence[int] | None = None) -> NDArray[np.int32]:
    """(candidates,): the number of each one's group.

    Args:
        order: numbers of the candidates in the order of their names; None to try whether they are in it.

    Raises:
        SourceError: the source states different splits for photographs of one group.
    """
    groups = np.empty(len(candidates), np.int32)
    latest: dict[str, tuple[int, int]] = {}  # by folder: the group that is being filled, and its members so far
    stated: dict[int, str] = {}
    count, before = 0, ""
    for number in range(len(candidates)) if order is None else order:
        candidate = candidates[number]
        place = _in_number_order(candidate.name)
        # A list may have them in any order, and a folder has frame10 before frame9.
        if kind != "folder" and place < before:
            return _numbered(kind, candidates, _by_name(candidates))
        before = place
        folder = PurePosixPath(candidate.name).parent.as_posix()
        group, members = latest.get(folder, (count, 0))
        if members == kind:
            group, members = count, 0
        count = max(count, group + 1)
        latest[folder] = (group, members + 1)
        groups[number] = group
        split = candidate.split
        if split and stated.setdefault(group, split) != split:
            raise SourceError(
                f"sample.group {kind}: {candidate.name} is stated to be in {split}, and another photograph of its "
                f"group in {stated[group]}; a group stays in one split"
            )
    return groups


def _by_name(candidates: Candidates) -> list[int]:
    """Return their numbers in the order of their names, which are all in memory meanwhile."""
    places = [_in_number_order(candidate.name) for candidate in candidates]
    return sorted(range(len(places)), key=places.__getitem__)


def _in_number_order(name: str) -> str:
    """Return a text that puts frame9 before frame10: before each number stands how many digits it has."""
    return _NUMBER.sub(lambda found: f"{len(found[1]):03d}{found[1]}", name)
