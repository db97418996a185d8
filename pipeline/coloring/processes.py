"""Color photographs in several processes, since one core at a time decodes and saves a photograph."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from pipeline.coloring.jobs import Job
from pipeline.coloring.model_choice import load_signed, used
from pipeline.coloring.one_file import BatchOptions, Outcome, color_file
from pipeline.errors import ModelError
from pipeline.system import cores, handled, stop_signals

# What a process needs at most for the model and a photograph of 48 megapixels.
_MEMORY = 1.5 * 2**30
# Where Linux says how many bytes a container may use: of control groups 2 and 1.
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
# So many are colored in about the time in which a further process starts.
_PHOTOGRAPHS_EACH = 8
# Photographs that wait for each process, so that a large one does not leave the others idle.
_AHEAD = 4
# Windows waits for no more at once.
_MOST = 61

Task = tuple[Job, Callable[[], Outcome]]
"""A file, and what colors it, or waits until another process has."""


def how_many(asked: int | None, photographs: int) -> int:
    """Return the processes that are asked for, or one a core, where there is memory and photographs enough for each."""
    if asked is not None:
        return max(1, min(asked, photographs, _MOST))
    return max(1, min(cores(), int(_memory() / _MEMORY), photographs // _PHOTOGRAPHS_EACH, _MOST))


@dataclass(frozen=True)
class Processes:
    """What they color with."""

    count: int
    model: Path
    options: BatchOptions

    @contextmanager
    def tasks(self, jobs: Sequence[Job], here: Callable[[Job], Outcome]) -> Iterator[Iterator[Task]]:
        """All jobs, in their order, while other processes color the photographs among the next ones.

        Afterwards the photographs that were begun are finished, and no others are begun.

        Args:
            here: colors films, which take all cores, and what is left when a process was killed.
        """
        # Ctrl-C, and the end of a terminal, reach all its processes; those that start while that is ignored never hear
        # of it. One of them, which Python starts beside, counts locks.
        with handled(signal.SIG_IGN, *stop_signals("SIGINT", "SIGHUP")):
            # Spawned: a fork of a process with threads may hang.
            pool = ProcessPoolExecutor(self.count, multiprocessing.get_context("spawn"), _begin)
            for _ in range(self.count):
                pool.submit(os.getpid)
        with pool:
            try:
                yield self._tasks(jobs, here, pool)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _tasks(self, jobs: Sequence[Job], here: Callable[[Job], Outcome], pool: ProcessPoolExecutor) -> Iterator[Task]:
        waiting: deque[Task] = deque()
        work = partial(_color, model=self.model, options=self.options)
        finish = _Finish()
        for job in jobs:
            color = partial(here, job)
            if not job.is_film:
                with suppress(BrokenProcessPool):
                    color = partial(finish, pool.submit(work, job), color)
            waiting.append((job, color))
            if len(waiting) > self.count * _AHEAD:
                yield waiting.popleft()
        yield from waiting


@dataclass
class _Finish:
    """Waits for a photograph, and colors it here where the other processes cannot."""

    said: bool = False

    def __call__(self, begun: Future[Outcome], here: Callable[[], Outcome]) -> Outcome:
        try:
            return begun.result()
        except (BrokenProcessPool, ModelError) as error:
            if not self.said:
                why = "was killed, for want of memory perhaps" if isinstance(error, BrokenProcessPool) else str(error)
                tqdm.write(f"note: one of the processes that color: {why}; going on without them", file=sys.stderr)
            self.said = True
            return here()


def _begin() -> None:
    """In each process: leave Ctrl-C and SIGHUP to the first one, and end with it, whatever ends it."""
    for number in stop_signals("SIGINT", "SIGHUP"):
        signal.signal(number, signal.SIG_IGN)
    # What it was writing is removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _color(job: Job, model: Path, options: BatchOptions) -> Outcome:
    try:
        colorizer, origin = load_signed(model, options.vivid, threads=1, device=options.device)
        return color_file(job, colorizer, replace(options, origin=used(origin, options.coloring)))
    except SystemExit as end:
        # The pool would take it for the photograph's answer, and go on with the next one.
        os._exit(int(end.code or 1))


def _memory() -> int:
    """Bytes of this machine, or what a container may use of them; a terabyte where neither is said."""
    limits = [2**40]
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in _CONTAINER_LIMITS:
        with suppress(ValueError, OSError):  # "max" is no limit
            limits.append(int(file.read_text(encoding="utf-8")))
    return min(limits)
