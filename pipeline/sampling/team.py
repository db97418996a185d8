"""A draw that several processes share: the first decides and writes, all of them decode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any, Literal

import torch.distributed as dist

from pipeline.distributed.group import Group, join
from pipeline.errors import ParamsError, TwotoneError
from pipeline.params.schema import Sample
from pipeline.sampling.candidates import Candidate, Candidates
from pipeline.sampling.draw import Alone, Examined
from pipeline.system import cores

Request = Literal["examine", "prepare", "end"]
# Photographs of a round, for each process and thread, and at most: they all come to the first process.
_ROUND, _MOST = 16, 1024
_PATIENCE = timedelta(days=7)


class Team:
    """Processes that have listed the same candidates, and examine them together.

    Each round, the first process says which candidates are next, and every process examines those whose number is its
    own. The results come back in the order in which they were asked for, so the draw is that of one process.

    Args:
        same: a text that is the same on all machines where they would draw the same: parameters, code, packages.

    Raises:
        ParamsError: on another machine it is another, or other photographs are listed.
    """

    def __init__(self, group: Group, candidates: Candidates, sample: Sample, size: int, same: str):
        # A list of many photographs takes hours, and so may a bucket.
        join(group.count, "cpu", _PATIENCE)
        self._group, self._candidates, self._own = group, candidates, Alone(candidates, sample, size)
        self._require_same(same)

    def examine(self, candidates: Iterable[Candidate]) -> Iterator[Examined]:
        """Yield the results for candidates, in their order; in the first process.

        Raises:
            ParamsError: another machine has another photograph in its place.
            SourceError: a process cannot read a file of many photographs any more.
        """
        remaining = iter(candidates)
        while asked := list(islice(remaining, min(_MOST, _ROUND * cores() * self._group.count))):
            answers = [iter(answer) for answer in self._together("examine", asked)]
            for candidate in asked:
                rank = self._rank_for(candidate.number)
                found = next(answers[rank])
                if found.candidate.name != candidate.name:
                    raise ParamsError(
                        f"sample.path must hold the same photographs on all machines: process {rank} of "
                        f"{self._group.count} has {found.candidate.name} in the place of {candidate.name}"
                    )
                yield replace(found, candidate=candidate)  # its group is known to the first process alone

    def prepare(self, candidates: Sequence[Candidate]) -> None:
        """Let each process make its share of these candidates ready; in the first process.

        Raises:
            SourceError: a process cannot read a file of many photographs any more.
        """
        self._together("prepare", candidates)

    def help(self) -> None:
        """Do what the first process asks for, until it has drawn enough; in the others."""
        while True:
            what, numbers = self._told("end", [])
            if what == "end":
                return
            dist.gather_object(self._answer(what, numbers))

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        """Let the other processes go; in the first one."""
        with suppress(RuntimeError):  # one is gone already, which has been said
            self._told("end", [])

    def _together(self, what: Request, candidates: Sequence[Candidate]) -> list[list[Examined]]:
        """Return what each process answers."""
        answers: list[Any] = [None] * self._group.count
        dist.gather_object(self._answer(*self._told(what, [candidate.number for candidate in candidates])), answers)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _told(self, what: Request, numbers: list[int]) -> tuple[Request, list[int]]:
        """Return what the first process asks for; those of the others count nothing."""
        told: list[Any] = [(what, numbers)]
        dist.broadcast_object_list(told)
        asked: tuple[Request, list[int]] = told[0]
        return asked

    def _answer(self, what: Request, numbers: Sequence[int]) -> list[Examined] | Exception:
        """Do this process's share; an error is for the first process to raise."""
        share = [self._candidates[number] for number in numbers if self._rank_for(number) == self._group.rank]
        try:
            if what == "prepare":
                self._own.prepare(share)
                return []
            return [_plain(examined) for examined in self._own.examine(share)]
        except (TwotoneError, OSError) as error:
            return error

    def _rank_for(self, number: int) -> int:
        """Return whose a candidate is: of a file that is read in one pass, neighbors are one process's."""
        count = self._group.count
        return number * count // len(self._candidates) if self._candidates.prepare else number % count

    def _require_same(self, same: str) -> None:
        found: list[Any] = [None] * self._group.count
        dist.all_gather_object(found, (same, len(self._candidates)))
        for rank, (other, listed) in enumerate(found):
            if listed != found[0][1]:
                raise ParamsError(
                    f"sample.path must hold the same photographs on all machines: process {rank} of "
                    f"{self._group.count} lists {listed}, and the first {found[0][1]}"
                )
            if other != found[0][0]:
                raise ParamsError(
                    f"process {rank} of {self._group.count} would draw another sample than the first: params.yaml, the "
                    "code and the packages must be the same on all machines"
                )


def _plain(examined: Examined) -> Examined:
    """Return a result that can be sent: how its source reads a photograph cannot."""
    return replace(examined, candidate=Candidate(examined.candidate.name, examined.candidate.file))
