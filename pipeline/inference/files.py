"""Many photographs and films: which files, where their colored copies go, and what became of each."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.data.images import SUFFIXES, ImageError
from pipeline.inference.clips import CONTAINERS, FilmError
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.film import FilmOptions, color_film
from pipeline.inference.lab import Samples
from pipeline.inference.pictures import WRITABLE, Picture, read_picture, write_picture

_SUFFIXES = SUFFIXES | set(CONTAINERS)


class InputError(ValueError):
    """What was asked for cannot be colored at all; the message says why and what to do."""


@dataclass(frozen=True)
class Options:
    render_size: int | None
    seed: int
    samples: int
    saturation: float
    smoothing: float
    """Of films, in time: see smoothing.Smoother."""
    format: str | None
    """An ending of pictures, such as png; None keeps the photograph's own."""
    overwrite: bool
    compare: bool
    max_pixels: int


@dataclass(frozen=True)
class Job:
    source: Path
    target: Path
    """Of the only coloring; several get their seed before the ending."""


@dataclass(frozen=True)
class Outcome:
    source: Path
    status: Literal["colored", "kept", "failed"]
    detail: str


def jobs(inputs: Sequence[str], out: Path, ending: str | None) -> list[Job]:
    """Find the photographs in files, folders (recursively, their structure kept) and patterns.

    Raises:
        InputError: an input is not there, or two photographs would be written to one file.
    """
    found: dict[Path, Job] = {}
    for source, inside in _sources(inputs, out):
        target = out / inside.with_suffix(_ending(source, ending))
        other = found.get(target)
        if other and other.source.resolve() != source.resolve():
            raise InputError(
                f"{other.source} and {source} would both be written to {target}; color them into different folders"
            )
        if target.resolve() == source.resolve():
            raise InputError(f"{source} would be overwritten by its own colors; choose another folder than {out}")
        found[target] = Job(source, target)
    if not found:
        raise InputError(f"no photographs in {', '.join(inputs)}; looked for {', '.join(sorted(_SUFFIXES))}")
    return list(found.values())


def color_file(job: Job, colorizer: Colorizer, options: Options) -> Outcome:
    """Color one photograph; whatever is wrong with it becomes its outcome, never a gray copy."""
    targets = _targets(job, options)
    if not options.overwrite:
        targets = {seed: target for seed, target in targets.items() if not _all_there(target, options)}
    if not targets:
        return Outcome(job.source, "kept", f"{job.target} is there already; --overwrite replaces it")
    make = _color_film if job.source.suffix.lower() in CONTAINERS else _color_photograph
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        return Outcome(job.source, "colored", make(job.source, targets, colorizer, options))
    except (ImageError, FilmError) as error:
        return Outcome(job.source, "failed", str(error))
    except OSError as error:
        return Outcome(job.source, "failed", f"{error.filename or job.target}: {error.strerror or error}")
    except MemoryError:
        return Outcome(job.source, "failed", "not enough memory for a picture of its size")


def _color_photograph(source: Path, targets: dict[int, Path], colorizer: Colorizer, options: Options) -> str:
    picture = read_picture(source, options.max_pixels)
    for seed, target in targets.items():
        _color(picture, seed, target, colorizer, options)
    height, width = picture.pixels.shape[:2]
    return f"{width}x{height} -> {', '.join(str(target) for target in targets.values())}"


def _color_film(source: Path, targets: dict[int, Path], colorizer: Colorizer, options: Options) -> str:
    said = []
    for seed, target in targets.items():
        chosen = FilmOptions(
            options.render_size, seed, options.saturation, options.smoothing, options.max_pixels, options.compare
        )
        report = color_film(source, target, colorizer, chosen)
        faults = f", {report.damaged} of them damaged" if report.damaged else ""
        said.append(
            f"{report.frames} frames in {report.shots} shots{faults} -> {target}, "
            f"flicker {report.flicker:.2f} ({report.flicker_without:.2f} without smoothing)"
        )
    return "; ".join(said)


def _color(picture: Picture, seed: int, target: Path, colorizer: Colorizer, options: Options) -> None:
    rgb = colorizer(picture.pixels, render_size=options.render_size, seed=seed, saturation=options.saturation)
    kind = WRITABLE[target.suffix[1:].lower()]
    if options.overwrite or not target.exists():
        write_picture(target, rgb, picture, kind)
    if options.compare and (options.overwrite or not _beside(target).exists()):
        write_picture(
            _beside(target), np.concatenate([_in_three(picture.pixels), rgb], 1), _without_alpha(picture), kind
        )


def _all_there(target: Path, options: Options) -> bool:
    return target.exists() and (not options.compare or _beside(target).exists())


def _beside(target: Path) -> Path:
    """The before and after of a coloring."""
    return target.with_stem(f"{target.stem}-compare")


def _targets(job: Job, options: Options) -> dict[int, Path]:
    """By seed."""
    if options.samples == 1:
        return {options.seed: job.target}
    seeds = range(options.seed, options.seed + options.samples)
    return {seed: job.target.with_stem(f"{job.target.stem}-{seed}") for seed in seeds}


def _sources(inputs: Sequence[str], out: Path) -> Iterator[tuple[Path, Path]]:
    """Each photograph and its path below the output folder."""
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                own = out.resolve() in file.resolve().parents and out.resolve() != path.resolve()
                if file.suffix.lower() in _SUFFIXES and file.is_file() and not own:
                    yield file, file.relative_to(path)
        elif path.exists():
            yield path, Path(path.name)
        elif glob.has_magic(text):
            files = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
            yield from ((file, Path(file.name)) for file in files if file.is_file())
        else:
            raise InputError(f"{text}: no such file or folder")


def _ending(source: Path, asked: str | None) -> str:
    """A photograph's own, where it can be written; animations and what has no ending become PNG."""
    own = source.suffix.lower()
    if own in CONTAINERS:
        return CONTAINERS[own]
    if asked:
        return f".{asked}"
    return own if own[1:] in WRITABLE else ".png"


def _in_three(pixels: Samples) -> Samples:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2)


def _without_alpha(picture: Picture) -> Picture:
    return Picture(picture.pixels, None, picture.exif, picture.dpi, picture.format)
