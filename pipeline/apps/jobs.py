"""Jobs of `twotone colorize`: which files are colored, and where their colored copies go."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.media.decoding import SUFFIXES
from pipeline.media.pictures import WRITABLE
from pipeline.media.video_io import CONTAINERS

_SUFFIXES = SUFFIXES | set(CONTAINERS)


@dataclass(frozen=True)
class Job:
    source: Path
    target: Path
    """Where the colored copy goes; of several variants each has its seed before the ending."""

    @property
    def is_film(self) -> bool:
        return self.source.suffix.lower() in CONTAINERS


def find_jobs(inputs: Sequence[str], out: Path, ending: str | None) -> list[Job]:
    """Find the photographs in files, folders (recursively, their structure kept) and patterns.

    Args:
        ending: of the colored copies, such as png; None keeps each photograph's own.

    Raises:
        InputError: an input does not exist, or two photographs would be written to one file.
    """
    jobs: dict[Path, Job] = {}
    for source, inside in _sources(inputs, out):
        target = out / inside.with_suffix(_ending(source, ending))
        other = jobs.get(target)
        if other and other.source.resolve() != source.resolve():
            raise InputError(
                f"{other.source} and {source} would both be written to {target}; color them into different folders"
            )
        if target.resolve() == source.resolve():
            raise InputError(f"{source} would be overwritten by its own colors; choose another folder than {out}")
        jobs[target] = Job(source, target)
    if not jobs:
        raise InputError(f"no photographs in {', '.join(inputs)}; looked for {', '.join(sorted(_SUFFIXES))}")
    return list(jobs.values())


def _sources(inputs: Sequence[str], out: Path) -> Iterator[tuple[Path, Path]]:
    """Each photograph and its path below the output folder."""
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                colored = out.resolve() in file.resolve().parents and out.resolve() != path.resolve()
                if file.suffix.lower() in _SUFFIXES and file.is_file() and not colored:
                    yield file, file.relative_to(path)
        elif path.exists():
            yield path, Path(path.name)
        elif glob.has_magic(text):
            files = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
            yield from ((file, Path(file.name)) for file in files if file.is_file())
        else:
            raise InputError(f"{text}: no such file or folder")


def _ending(source: Path, asked: str | None) -> str:
    """A photograph's own ending, where it can be written; animations and files without an ending become PNG."""
    own = source.suffix.lower()
    if own in CONTAINERS:
        return CONTAINERS[own]
    if asked:
        return f".{asked}"
    return own if own[1:] in WRITABLE else ".png"
