"""Color one photograph or film of `twotone colorize`, and tell what became of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.coloring.color_picture import advised, color_picture, side_by_side
from pipeline.coloring.copies import comparison
from pipeline.coloring.hint_files import hints_beside, liked, photograph_beside, read_hints, reference_picture
from pipeline.coloring.jobs import Job, Naming
from pipeline.coloring.model_choice import hinted, hints_text, with_setting
from pipeline.errors import HintError, ImageError, TwotoneError
from pipeline.files import write_whole
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.inference.hints import Hint, Painted
from pipeline.inference.video import VideoOptions, color_video
from pipeline.media.decoding import read_bytes
from pipeline.media.pictures import Picture, decode_picture
from pipeline.media.provenance import Origin, colored_here
from pipeline.media.video_reader import is_colored_film
from pipeline.media.writing import FROM_PHONES, JPEG_QUALITY, RARE_JPEGS, WRITABLE, eight_bits
from pipeline.types import Samples

# How much of its earlier color a thing in a film keeps, unless another share is asked for.
SMOOTHING = 0.9


@dataclass(frozen=True)
class BatchOptions:
    naming: Naming
    coloring: ColoringOptions
    """The seed is that of each coloring."""
    smoothing: float
    """Smoothing of films over time: see inference/smoothing.py."""
    overwrite: bool
    max_pixels: int
    damaged: bool = False
    """Whether to color what is there of a photograph that is cut off."""
    vivid: float | None = None
    """Where the dial from faithful to vivid stands; None for the model as it is."""
    hints: Path | None = None
    """The file of hints of the only photograph; None for the one beside each, if there is one."""
    look_for_hints: bool = True
    """Whether hints beside photographs count."""
    like: Path | None = None
    """A reference picture, whose colors photographs get where they match."""
    device: str = "auto"
    """What the network computes on: see inference/devices.py."""
    processes: int | None = None
    """That color photographs side by side; None for as many as are worth it."""
    jpeg_quality: int = JPEG_QUALITY
    """Of JPEG copies, 1 to 100."""
    verbose: bool = False
    """Whether to say which network the starter model is."""
    dry_run: bool = False
    """Whether to say alone what would be colored."""
    origin: Origin | None = None
    """What the pictures say that has colored them; `colorize` knows it once it has a model."""


@dataclass(frozen=True)
class Outcome:
    source: Path
    status: Literal["colored", "kept", "copy", "failed"]
    """A copy is what this program has colored, and nobody named."""
    detail: str
    notes: tuple[str, ...] = ()
    """What is worth knowing about a colored copy, such as another format."""


def color_file(job: Job, colorizer: Colorizer, options: BatchOptions) -> Outcome:
    """Color one file; whatever is wrong with it becomes its outcome."""
    targets = job.targets
    make = _color_film if job.is_film else _color_photograph
    try:
        if not options.overwrite:
            targets = {seed: target for seed, target in targets.items() if not all_there(target, options)}
        if not targets:
            return Outcome(job.source, "kept", _kept(job, options))
        for target in targets.values():
            target.parent.mkdir(parents=True, exist_ok=True)
        return make(job, targets, colorizer, options)
    except TwotoneError as error:
        return Outcome(job.source, "failed", advised(error))
    except OSError as error:
        return Outcome(job.source, "failed", f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
    except MemoryError:
        return Outcome(job.source, "failed", "not enough memory for a picture of its size")
    except Exception as error:  # whatever a decoder or an encoder raises: one file never ends a batch
        return Outcome(job.source, "failed", f"cannot be colored: {type(error).__name__}: {error}")


def _kept(job: Job, options: BatchOptions) -> str:
    """Name the copy that is kept, and say where somebody has said colors since."""
    target = next(iter(job.targets.values()))
    hints = options.hints or (hints_beside(job.source) if options.look_for_hints else None)
    if hints and hints.is_file() and hints.stat().st_mtime > target.stat().st_mtime:
        return f"{target} (older than {hints.name})"
    return str(target)


def _color_photograph(job: Job, targets: dict[int, Path], colorizer: Colorizer, options: BatchOptions) -> Outcome:
    content = read_bytes(job.source, options.max_pixels)
    if not job.named and colored_here(content):
        return Outcome(job.source, "copy", "")
    picture = decode_picture(content, options.max_pixels, damaged=options.damaged)
    notes = _name_notes(job)
    coloring, origin, said = with_hints_of(job.source, options, picture.pixels)
    notes += said
    written: list[Path] = []
    for seed, target in targets.items():
        kind = WRITABLE[target.suffix[1:].lower()]
        keep = target.is_file() and not options.overwrite
        rgb = _kept_colors(target, picture, options) if keep else None
        if rgb is None:
            colored = color_picture(
                picture, colorizer, replace(coloring, seed=seed), kind, origin, options.jpeg_quality
            )
            rgb = colored.rgb
            notes += [note for note in colored.notes if note not in notes]
        if keep:
            notes.append(f"{target} was there already, and was kept")
        else:
            write_whole(target, colored.content)
            written.append(target)
        beside = comparison(target)
        if options.naming.compare and (options.overwrite or not beside.is_file()):
            write_whole(beside, side_by_side(picture, rgb, kind, origin, options.jpeg_quality))
            written.append(beside)
    height, width = picture.pixels.shape[:2]
    return Outcome(job.source, "colored", f"{width}x{height} -> {', '.join(map(str, written))}", tuple(notes))


def _kept_colors(copy: Path, picture: Picture, options: BatchOptions) -> Samples | None:
    """Return the samples of a copy that is kept, for the comparison; None where it is none of this photograph."""
    try:
        colors = decode_picture(read_bytes(copy, options.max_pixels), options.max_pixels).pixels
    except ImageError:
        return None
    if colors.shape != (*picture.pixels.shape[:2], 3):
        return None
    if colors.dtype == picture.pixels.dtype:
        return colors
    # Of a 16-bit photograph a JPEG has 8 bits.
    return eight_bits(colors) if picture.pixels.dtype == np.uint8 else colors.astype(np.uint16) * 257


def with_hints_of(
    source: Path, options: BatchOptions, pixels: Samples | None = None
) -> tuple[ColoringOptions, Origin | None, list[str]]:
    """Read the hints of a photograph, and find those that a reference picture has for it.

    Args:
        pixels: of the photograph; None for a film, whose frames are compared with a reference picture as they come.

    Returns:
        How it is colored, what its copy says of it, and notes.

    Raises:
        HintError: the file of hints or the reference picture cannot be read, or they are not for each other.
    """
    file = options.hints or (hints_beside(source) if options.look_for_hints else None)
    hints: tuple[Hint, ...] | Painted = read_hints(file) if file else ()
    notes = [f"{hints_text(hints)} of {file.name}"] if file else []
    if options.like and pixels is not None:
        if isinstance(hints, Painted):
            raise HintError(f"{file} is painted, and a reference picture gives hints of its own; leave one of them out")
        hints, note = liked(pixels, reference_picture(options.like), options.like.name, hints)
        notes.append(note)
    if not hints:
        return options.coloring, options.origin, notes
    return replace(options.coloring, hints=hints), options.origin and hinted(options.origin, hints), notes


def _color_film(job: Job, targets: dict[int, Path], colorizer: Colorizer, options: BatchOptions) -> Outcome:
    if not job.named and is_colored_film(job.source):
        return Outcome(job.source, "copy", "")
    texts, notes = [], list(_name_notes(job))
    beside, photograph = hints_beside(job.source), photograph_beside(job.source)
    if beside and photograph and options.look_for_hints and not options.hints:
        notes.append(f"{beside.name} is taken for that of {photograph.name}; --hints names one for the film")
        options = replace(options, look_for_hints=False)
    coloring, origin, said = with_hints_of(job.source, options)
    notes += said
    like = reference_picture(options.like) if options.like else None
    if like is not None and isinstance(coloring.hints, Painted):
        raise HintError("a painted frame and --like say colors of their own; leave one of them out")
    if options.like:
        notes.append(f"colors of {options.like.name} where frames match")
        origin = origin and with_setting(origin, "colors of a reference picture")
    for seed, target in targets.items():
        keep = target.is_file() and not options.overwrite
        video = VideoOptions(
            replace(coloring, seed=seed),
            options.smoothing,
            options.max_pixels,
            options.naming.compare and (options.overwrite or not comparison(target).is_file()),
            keep,
            origin.line if origin else "",
            like,
        )
        report = color_video(job.source, target, colorizer, video)
        if keep:
            notes.append(f"{target} was there already, and was kept; beside it are the colors that it would get now")
        texts.append(
            f"{report.frames} frames, shots: {report.shots} -> {comparison(target) if keep else target}, "
            f"flicker {report.flicker:.2f} ({report.flicker_without:.2f} without smoothing)"
        )
        notes.extend(note for note in report.notes if note not in notes)
    return Outcome(job.source, "colored", "; ".join(texts), tuple(notes))


def all_there(target: Path, options: BatchOptions) -> bool:
    # By `os`: pathlib raises where a name is too long, and that is for the photograph's own turn to say.
    return os.path.isfile(target) and (not options.naming.compare or os.path.isfile(comparison(target)))


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
    elif before[1:] in (*FROM_PHONES, *RARE_JPEGS):
        notes.append(f"{before} photographs are written as {after}")
    return notes
