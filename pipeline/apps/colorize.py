"""`twotone colorize`: color many photographs and films, and tell what became of each."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Literal, TypeVar

import numpy as np
from tqdm import tqdm

from pipeline.apps.copies import comparison
from pipeline.apps.jobs import Job, Naming, Selection, require_output, select
from pipeline.apps.model_choice import choose_model, label, origin_of, used
from pipeline.errors import InputError, TwotoneError
from pipeline.handled_signals import handled
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.inference.video import VideoOptions, color_video
from pipeline.media.pictures import FROM_PHONES, WRITABLE, Picture, read_picture, write_picture
from pipeline.media.provenance import Origin
from pipeline.types import Samples

T = TypeVar("T")
# More photographs than this are counted and not listed, but for those that failed.
_LONG_LIST = 20
_NAMED_KEPT = 5


@dataclass(frozen=True)
class BatchOptions:
    naming: Naming
    coloring: ColoringOptions
    """The seed is that of each coloring."""
    smoothing: float
    """Smoothing of films over time: see inference/smoothing.py."""
    overwrite: bool
    max_pixels: int
    vivid: float | None = None
    """Where the dial from faithful to vivid stands; None for the model as it is."""
    origin: Origin | None = None
    """What the pictures say that has colored them; `colorize` knows it once it has a model."""


@dataclass(frozen=True)
class Outcome:
    source: Path
    status: Literal["colored", "kept", "failed"]
    detail: str
    notes: tuple[str, ...] = ()
    """What is worth knowing about a colored copy, such as another format."""


def colorize(inputs: Sequence[str], model: Path | None, options: BatchOptions) -> int:
    """Color all inputs with a progress bar, and print what became of them.

    Returns:
        The exit status: 1 where a file could not be colored, 130 after Ctrl-C.

    Raises:
        InputError: nothing can be colored as asked.
        ModelError: there is no model.
    """
    selection = select(inputs, options.naming)
    path, colorizer = load_for(model, options, selection)
    require_output(options.naming, selection.jobs)
    options = replace(options, origin=used(origin_of(path, options.vivid), options.coloring))
    closed = selection.unreadable.items()
    outcomes = [Outcome(folder, "failed", f"cannot be looked into: {reason}") for folder, reason in closed]
    try:
        for job in until_ctrl_c(tqdm(selection.jobs, desc="colorize", unit="file")):
            outcomes.append(color_file(job, colorizer, options))
            if outcomes[-1].status == "failed":
                tqdm.write(f"error: {job.source}: {outcomes[-1].detail}", file=sys.stderr)
    except KeyboardInterrupt:
        _report(outcomes, selection, path)
        done = f"{len(outcomes) - len(closed)} of {len(selection.jobs)}"
        print(f"stopped by Ctrl-C after {done}; the same command again goes on", file=sys.stderr)
        return 130
    _report(outcomes, selection, path)
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def load_for(model: Path | None, options: BatchOptions, selection: Selection) -> tuple[Path, Colorizer]:
    """Choose a model and load it; refuse what it cannot do.

    Raises:
        InputError: an option needs another model.
        ModelError: there is no model.
    """
    path = choose_model(model)
    colorizer = Colorizer.load(path, options.vivid)
    if len(options.naming.seeds) > 1 and not colorizer.noisy:
        raise InputError(f"--samples needs a generator with noise, and the generator of {path} has none")
    _require_own_lightness(colorizer, selection, path, options.coloring)
    return path, colorizer


def until_ctrl_c(jobs: Iterable[T]) -> Iterator[T]:
    """The jobs. Python drops a Ctrl-C that comes while it frees an object; before the next job it is raised again.

    Raises:
        KeyboardInterrupt: Ctrl-C, at once where Python can.
    """
    pressed = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(number, frame)

    with handled(remember, signal.SIGINT):
        for job in jobs:
            if pressed:
                raise KeyboardInterrupt
            yield job


def color_file(job: Job, colorizer: Colorizer, options: BatchOptions) -> Outcome:
    """Color one file; whatever is wrong with it becomes its outcome."""
    targets = job.targets
    make = _color_film if job.is_film else _color_photograph
    try:
        if not options.overwrite:
            targets = {seed: target for seed, target in targets.items() if not _all_there(target, options)}
        if not targets:
            return Outcome(job.source, "kept", str(next(iter(job.targets.values()))))
        for target in targets.values():
            target.parent.mkdir(parents=True, exist_ok=True)
        return make(job, targets, colorizer, options)
    except TwotoneError as error:
        return Outcome(job.source, "failed", str(error))
    except OSError as error:
        return Outcome(job.source, "failed", f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
    except MemoryError:
        return Outcome(job.source, "failed", "not enough memory for a picture of its size")
    except Exception as error:  # whatever a decoder or an encoder raises: one file never ends a batch
        return Outcome(job.source, "failed", f"cannot be colored: {type(error).__name__}: {error}")


def _color_photograph(job: Job, targets: dict[int, Path], colorizer: Colorizer, options: BatchOptions) -> Outcome:
    picture = read_picture(job.source, options.max_pixels)
    left_out = set(picture.lost)
    for seed, target in targets.items():
        rgb = colorizer.color(picture.pixels, replace(options.coloring, seed=seed))
        left_out |= {_write(picture, rgb, target, options)} - {""}
    height, width = picture.pixels.shape[:2]
    notes = [*_name_notes(job), *(f"{what} could not be taken over" for what in sorted(left_out))]
    detail = f"{width}x{height} -> {', '.join(str(target) for target in targets.values())}"
    return Outcome(job.source, "colored", detail, tuple(notes))


def _color_film(job: Job, targets: dict[int, Path], colorizer: Colorizer, options: BatchOptions) -> Outcome:
    texts, notes = [], list(_name_notes(job))
    for seed, target in targets.items():
        coloring = replace(options.coloring, seed=seed)
        video = VideoOptions(coloring, options.smoothing, options.max_pixels, options.naming.compare)
        report = color_video(job.source, target, colorizer, video)
        texts.append(
            f"{report.frames} frames, shots: {report.shots} -> {target}, "
            f"flicker {report.flicker:.2f} ({report.flicker_without:.2f} without smoothing)"
        )
        notes.extend(note for note in report.notes if note not in notes)
    return Outcome(job.source, "colored", "; ".join(texts), tuple(notes))


def _write(picture: Picture, rgb: Samples, target: Path, options: BatchOptions) -> str:
    """Write a coloring; returns what the file could not take over."""
    kind, left_out = WRITABLE[target.suffix[1:].lower()], ""
    if options.overwrite or not target.exists():
        left_out = write_picture(target, rgb, picture, kind, options.origin)
    beside = comparison(target)
    if options.naming.compare and (options.overwrite or not beside.exists()):
        before = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[..., None], 3, 2)
        both = np.concatenate([before, rgb], 1)
        write_picture(beside, both, replace(picture, alpha=None), kind, options.origin)
    return left_out


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


def _all_there(target: Path, options: BatchOptions) -> bool:
    return target.exists() and (not options.naming.compare or comparison(target).exists())


def _name_notes(job: Job) -> list[str]:
    """Why the copy has another name or ending than its source."""
    target, notes = next(iter(job.targets.values())), []
    if job.renamed:
        notes.append("written under another name, since another file has that name")
    before, after = job.source.suffix.lower(), target.suffix.lower()
    if job.is_film and before != after:
        notes.append(f"{before} films are written as {after}")
    elif before == ".gif":
        notes.append(f".gif pictures are written as {after}")
    elif before[1:] in FROM_PHONES:
        notes.append(f"{before} photographs are written as {after}")
    return notes


def _report(outcomes: list[Outcome], selection: Selection, model: Path) -> None:
    """Each photograph of a short list; of a long one, counts; and in any case those that failed, at the end."""
    counts = Counter(outcome.status for outcome in outcomes)
    if len(outcomes) <= _LONG_LIST:
        for outcome in outcomes:
            if outcome.status == "colored":
                print("; ".join([f"{outcome.source}: {outcome.detail}", *outcome.notes]))
    else:
        for note, count in Counter(note for outcome in outcomes for note in outcome.notes).items():
            print(f"note: {count} of them: {note}")
    if selection.left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(selection.left_out.items()))
        print(f"not colored, being no photographs or films: {kinds}")
    if counts["kept"]:
        names = [outcome.detail for outcome in outcomes if outcome.status == "kept"]
        more = f" and {len(names) - _NAMED_KEPT} more" if len(names) > _NAMED_KEPT else ""
        print(
            f"kept, because a copy was there already, whichever photograph, model or options it was made with: "
            f"{', '.join(names[:_NAMED_KEPT])}{more}; --overwrite replaces them, another --out keeps both"
        )
    for outcome in outcomes:
        if outcome.status == "failed":
            print(f"failed: {outcome.source}: {outcome.detail}")
    print(
        f"{counts['colored']} colored, {counts['kept']} kept as they were, {counts['failed']} failed; "
        f"model {label(model)}",
        flush=True,
    )
