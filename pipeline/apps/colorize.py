"""`twotone colorize`: color many photographs and films, and tell what became of each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from pipeline.apps.jobs import Job, find_jobs
from pipeline.errors import ImageError, InputError, VideoError
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.inference.networks import newest_model
from pipeline.inference.video import VideoOptions, color_video
from pipeline.media.pictures import WRITABLE, Picture, read_picture, write_picture
from pipeline.types import Samples

# A longer list is cut to what did not go well.
_LONG_LIST = 20


@dataclass(frozen=True)
class BatchOptions:
    coloring: ColoringOptions
    """With the seed of the first variant."""
    variants: int
    """Colorings of each photograph, by seeds that follow each other."""
    smoothing: float
    """Smoothing of films over time: see inference/smoothing.py."""
    format: str | None
    """Ending of pictures, such as png; None keeps the photograph's own."""
    overwrite: bool
    compare: bool
    """Also write before and after side by side."""
    max_pixels: int


@dataclass(frozen=True)
class Outcome:
    source: Path
    status: Literal["colored", "kept", "failed"]
    detail: str


def colorize(inputs: Sequence[str], out: Path, model: Path | None, options: BatchOptions) -> int:
    """Color all inputs with a progress bar, and print a table of the results.

    Returns:
        The exit status: 1 where a file could not be colored.

    Raises:
        InputError: nothing can be colored as asked.
        ModelError: there is no model.
    """
    if options.format is not None and options.format not in WRITABLE:
        raise InputError(f"--format must be one of {', '.join(WRITABLE)}, got {options.format!r}")
    jobs = find_jobs(inputs, out, options.format)
    path = model or newest_model(Path("checkpoints"))
    colorizer = Colorizer.load(path)
    if options.variants > 1 and not colorizer.noisy:
        raise InputError(f"--samples needs a generator with noise, and the generator of {path} has none")
    outcomes: list[Outcome] = []
    for job in tqdm(jobs, desc="colorize", unit="file"):
        outcomes.append(color_file(job, colorizer, options))
        if outcomes[-1].status == "failed":
            tqdm.write(f"error: {job.source}: {outcomes[-1].detail}", file=sys.stderr)
    return _print_outcomes(outcomes, path)


def color_file(job: Job, colorizer: Colorizer, options: BatchOptions) -> Outcome:
    """Color one file; whatever is wrong with it becomes its outcome."""
    targets = _targets(job, options)
    if not options.overwrite:
        targets = {seed: target for seed, target in targets.items() if not _all_there(target, options)}
    if not targets:
        return Outcome(job.source, "kept", f"{job.target} exists already; --overwrite replaces it")
    make = _color_film if job.is_film else _color_photograph
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        return Outcome(job.source, "colored", make(job.source, targets, colorizer, options))
    except (ImageError, VideoError) as error:
        return Outcome(job.source, "failed", str(error))
    except OSError as error:
        return Outcome(job.source, "failed", f"{error.filename or job.target}: {error.strerror or error}")
    except MemoryError:
        return Outcome(job.source, "failed", "not enough memory for a picture of its size")


def _color_photograph(source: Path, targets: dict[int, Path], colorizer: Colorizer, options: BatchOptions) -> str:
    picture = read_picture(source, options.max_pixels)
    for seed, target in targets.items():
        rgb = colorizer.color(picture.pixels, replace(options.coloring, seed=seed))
        _write(picture, rgb, target, options)
    height, width = picture.pixels.shape[:2]
    return f"{width}x{height} -> {', '.join(str(target) for target in targets.values())}"


def _color_film(source: Path, targets: dict[int, Path], colorizer: Colorizer, options: BatchOptions) -> str:
    texts = []
    for seed, target in targets.items():
        coloring = replace(options.coloring, seed=seed)
        video = VideoOptions(coloring, options.smoothing, options.max_pixels, options.compare)
        report = color_video(source, target, colorizer, video)
        faults = f", {report.damaged} of them damaged" if report.damaged else ""
        texts.append(
            f"{report.frames} frames in {report.shots} shots{faults} -> {target}, "
            f"flicker {report.flicker:.2f} ({report.flicker_without:.2f} without smoothing)"
        )
    return "; ".join(texts)


def _write(picture: Picture, rgb: Samples, target: Path, options: BatchOptions) -> None:
    kind = WRITABLE[target.suffix[1:].lower()]
    if options.overwrite or not target.exists():
        write_picture(target, rgb, picture, kind)
    if options.compare and (options.overwrite or not _comparison(target).exists()):
        before = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[..., None], 3, 2)
        write_picture(_comparison(target), np.concatenate([before, rgb], 1), replace(picture, alpha=None), kind)


def _all_there(target: Path, options: BatchOptions) -> bool:
    return target.exists() and (not options.compare or _comparison(target).exists())


def _comparison(target: Path) -> Path:
    """The file with before and after side by side."""
    return target.with_stem(f"{target.stem}-compare")


def _targets(job: Job, options: BatchOptions) -> dict[int, Path]:
    """Where each variant goes, by seed."""
    first = options.coloring.seed
    if options.variants == 1:
        return {first: job.target}
    seeds = range(first, first + options.variants)
    return {seed: job.target.with_stem(f"{job.target.stem}-{seed}") for seed in seeds}


def _print_outcomes(outcomes: list[Outcome], model: Path) -> int:
    console = Console(highlight=False, soft_wrap=True)
    table = Table("photograph", "", "", box=None, pad_edge=False, show_header=False)
    listed = [o for o in outcomes if o.status != "colored"] if len(outcomes) > _LONG_LIST else outcomes
    for outcome in listed:
        table.add_row(escape(str(outcome.source)), outcome.status, escape(outcome.detail))
    if listed:
        console.print(table)
    counts = Counter(outcome.status for outcome in outcomes)
    console.print(
        f"{counts['colored']} colored, {counts['kept']} kept as they were, {counts['failed']} failed; model {model}",
        markup=False,
    )
    return 1 if counts["failed"] else 0
