"""`twotone colorize`: color many photographs and films, and tell what became of each."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TypeVar

from tqdm import tqdm

from pipeline.coloring.copies import is_colored
from pipeline.coloring.hint_files import read_hints, reference_picture
from pipeline.coloring.inputs import COPIES
from pipeline.coloring.jobs import Job, Selection, require_output, select
from pipeline.coloring.model_choice import choose_model, label, load_signed, used
from pipeline.coloring.one_file import SMOOTHING, BatchOptions, Outcome, all_there, color_file
from pipeline.coloring.processes import Processes, Task, how_many
from pipeline.errors import InputError
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.media.provenance import Origin
from pipeline.media.writing import JPEG_QUALITY, WRITABLE
from pipeline.progress import progress
from pipeline.system import handled, stop_signals

T = TypeVar("T")
# More photographs than this are counted and not listed, but for those that failed.
_LONG_LIST = 20
_NAMED = 5


def colorize(inputs: Sequence[str], model: Path | None, options: BatchOptions) -> int:
    """Color all inputs with a progress bar, and print what became of them.

    Returns:
        The exit status: 1 where a file could not be colored, 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

    Raises:
        InputError: nothing can be colored as asked.
        ModelError: there is no model.
    """
    selection = select(inputs, options.naming)
    _require_hints(options, selection)
    if options.dry_run:
        choose_model(model)
        _say_what_would_be(selection, options)
        return 1 if selection.unreadable else 0
    path, colorizer, origin = load_for(model, options, selection)
    require_output(options.naming, selection.jobs)
    for sentence in _without_effect(selection, options):
        print(f"note: {sentence}", file=sys.stderr)
    options = replace(options, origin=origin)
    closed = selection.unreadable.items()
    outcomes = [Outcome(folder, "failed", f"cannot be looked into: {reason}") for folder, reason in closed]
    with stoppable() as came:
        try:
            with _tasks(selection.jobs, path, colorizer, options) as tasks:
                bar = progress(tasks, desc="colorize", unit="file", total=len(selection.jobs))
                for job, color in until_stopped(bar, came):
                    outcomes.append(color())
                    if outcomes[-1].status == "failed":
                        tqdm.write(f"error: {job.source}: {outcomes[-1].detail}", file=sys.stderr)
        except KeyboardInterrupt:
            _report(outcomes, selection, path)
            by = "Ctrl-C" if came[0] == signal.SIGINT else signal.Signals(came[0]).name
            done = f"{len(outcomes) - len(closed)} of {len(selection.jobs)}"
            print(f"stopped by {by} after {done}; the same command again goes on", file=sys.stderr)
            return 128 + came[0]
    _report(outcomes, selection, path)
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _tasks(
    jobs: Sequence[Job], model: Path, colorizer: Colorizer, options: BatchOptions
) -> AbstractContextManager[Iterator[Task]]:
    """Begin what colors each job, in their order."""

    def here(job: Job) -> Outcome:
        return color_file(job, colorizer, options)

    photographs = sum(not job.is_film for job in jobs)
    # Several processes share no GPU well.
    count = how_many(options.processes if colorizer.device == "cpu" else options.processes or 1, photographs)
    if count > 1:
        return Processes(count, model, options).tasks(jobs, here)
    return nullcontext((job, partial(here, job)) for job in jobs)


def load_for(model: Path | None, options: BatchOptions, selection: Selection) -> tuple[Path, Colorizer, Origin]:
    """Choose a model, load it and what its pictures say; refuse what it cannot do.

    Raises:
        InputError: an option needs another model.
        ModelError: there is no model.
    """
    path = choose_model(model, verbose=options.verbose)
    colorizer, origin = load_signed(path, options.vivid, device=options.device)
    for sentence in filter(
        None, [colorizer.note, "" if colorizer.device == "cpu" else f"coloring on {colorizer.device}"]
    ):
        print(f"note: {sentence}", file=sys.stderr)
    if len(options.naming.seeds) > 1 and not colorizer.noisy:
        raise InputError(f"--samples needs a generator with noise, and the generator of {path} has none")
    _require_own_lightness(colorizer, selection, path, options.coloring)
    return path, colorizer, used(origin, options.coloring)


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Give the numbers of the signals that have come to end the process: Ctrl-C, SIGTERM and SIGHUP.

    Raises:
        KeyboardInterrupt: at the first of them, at once where Python can. A closed terminal may send more, which must
            not disturb what is tidied up.
    """
    came: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    with handled(remember, *stop_signals("SIGINT", "SIGTERM", "SIGHUP")):
        yield came


def until_stopped(jobs: Iterable[T], came: Sequence[int]) -> Iterator[T]:
    """Yield the jobs until a signal has come. Python drops what is raised while it frees an object.

    Raises:
        KeyboardInterrupt: a signal has come.
    """
    for job in jobs:
        if came:
            raise KeyboardInterrupt
        yield job


def _say_what_would_be(selection: Selection, options: BatchOptions) -> None:
    """Print each photograph that would be colored with its copies, and how many are kept; nothing is written."""
    kept = copies = 0
    for job in selection.jobs:
        if not job.named and is_colored(job.source):
            copies += 1
            continue
        new = [target for target in job.targets.values() if options.overwrite or not all_there(target, options)]
        kept += not new
        if new:
            print(f"{job.source} -> {', '.join(map(str, new))}")
    for folder, reason in selection.unreadable.items():
        print(f"failed: {folder}: cannot be looked into: {reason}")
    selection.left_out[COPIES] += copies
    _say_left_out(selection)
    would = len(selection.jobs) - kept - copies
    print(f"{would} would be colored, {kept} kept as they were; nothing was written")


def _say_left_out(selection: Selection) -> None:
    if selection.left_out.total():
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(selection.left_out.items()) if count)
        print(f"not colored: {kinds}")


def _without_effect(selection: Selection, options: BatchOptions) -> Iterator[str]:
    """Yield a sentence for each option that changes nothing here."""
    targets = [target for job in selection.jobs for target in job.targets.values()]
    if options.jpeg_quality != JPEG_QUALITY and not any(
        WRITABLE.get(target.suffix[1:].lower()) == "JPEG" for target in targets
    ):
        yield "--jpeg-quality is for copies that are JPEG, and none is"
    films = [job.source for job in selection.jobs if job.is_film]
    if films and options.naming.ending:
        yield f"--format is for photographs; films such as {films[0]} keep the kind of file that they have"
    if films and options.damaged:
        yield "--damaged is for photographs; of films, what is there is colored in any case"
    if not films and options.smoothing != SMOOTHING:
        yield "--smoothing is for films, and there is none"


def _require_own_lightness(colorizer: Colorizer, selection: Selection, model: Path, coloring: ColoringOptions) -> None:
    if not coloring.own_lightness:
        return
    if not colorizer.has_own_lightness:
        raise InputError(f"--own-lightness needs a generator of base.color_space rgb, and that of {model} gives lab")
    if coloring.saturation != 1:
        raise InputError("--own-lightness shows the generator's output as it is; leave --saturation out")
    films = [job.source for job in selection.jobs if job.is_film]
    if films:
        raise InputError(f"--own-lightness is for photographs, and {films[0]} is a film")


def _require_hints(options: BatchOptions, selection: Selection) -> None:
    """Refuse hints that are not of one photograph, before a model is loaded."""
    if options.like:
        reference_picture(options.like)
    if options.hints is None:
        return
    if options.naming.shard != (1, 1):
        raise InputError("--hints has the hints of one photograph, and --shard shares out many")
    if len(selection.jobs) > 1:
        raise InputError(
            f"--hints {options.hints} has the hints of one photograph, and there are {len(selection.jobs)}; "
            "NAME.hints.json beside each is found by itself"
        )
    read_hints(options.hints)


def _report(outcomes: list[Outcome], selection: Selection, model: Path) -> None:
    """Each photograph of a short list; of a long one, counts; and in any case those that failed, at the end."""
    counts = Counter(outcome.status for outcome in outcomes)
    if len(outcomes) <= _LONG_LIST:
        for outcome in outcomes:
            if outcome.status == "colored":
                print("; ".join([f"{outcome.source}: {outcome.detail}", *outcome.notes]))
    else:
        for note, names in _by_note(outcomes).items():
            print(f"note: {len(names)} of them: {note}: {_first(names)}")
    selection.left_out[COPIES] += counts["copy"]
    _say_left_out(selection)
    if counts["kept"]:
        names = [outcome.detail for outcome in outcomes if outcome.status == "kept"]
        print(
            f"kept, because there was a copy already: {_first(names)}; --overwrite colors anew, whatever it was made "
            "with, and another --out keeps both"
        )
    for outcome in outcomes:
        if outcome.status == "failed":
            print(f"failed: {outcome.source}: {outcome.detail}")
    print(
        f"{counts['colored']} colored, {counts['kept']} kept as they were, {counts['failed']} failed; "
        f"model {label(model)}",
        flush=True,
    )


def _by_note(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """Return the files of which each note is true."""
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        for note in outcome.notes:
            found.setdefault(note, []).append(str(outcome.source))
    return found


def _first(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
