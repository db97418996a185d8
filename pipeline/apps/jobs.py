"""Jobs of `twotone colorize`: which files are colored, and where their colored copies go."""

from __future__ import annotations

import glob
import mimetypes
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pipeline.apps.copies import MARK, comparison, is_colored, original
from pipeline.errors import InputError
from pipeline.files import require_writable
from pipeline.media.decoding import SUFFIXES
from pipeline.media.pictures import WRITABLE, copy_ending
from pipeline.media.video_io import CONTAINERS

_SUFFIXES = SUFFIXES | set(CONTAINERS)
_COPIES = "colored copies"


@dataclass(frozen=True)
class Naming:
    """How the colored copies are named."""

    out: Path | None
    """A folder; for a single photograph, also a file; None for NAME-color.EXT beside each photograph."""
    ending: str | None = None
    """Ending of pictures, such as png; None keeps each photograph's own."""
    seeds: tuple[int, ...] = (0,)
    """One coloring for each; several have their seed before the ending."""
    compare: bool = False
    """Whether before and after are written side by side, too."""
    shard: tuple[int, int] = (1, 1)
    """(number, of how many): which part of the files is colored here."""


@dataclass(frozen=True)
class Job:
    source: Path
    targets: dict[int, Path]
    """The colored copy, by seed."""
    renamed: bool = False
    """Whether another photograph has the name that the copy would have had."""

    @property
    def is_film(self) -> bool:
        return self.source.suffix.lower() in CONTAINERS


@dataclass
class Selection:
    jobs: list[Job] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Files in folders that are not colored, by kind."""
    unreadable: dict[Path, str] = field(default_factory=dict)
    """Folders that could not be looked into, and why."""


def select(inputs: Sequence[str], naming: Naming) -> Selection:
    """Find the photographs in files, folders (recursively, their structure kept) and patterns, and name their copies.

    No two copies share a name, and none has the name of a source.

    Raises:
        InputError: an input does not exist, there is nothing to color, or the output cannot be what it is asked to be.
    """
    require_format(naming)
    _real_folder.cache_clear()
    selection = Selection()
    sources: dict[Path, tuple[Path, Path]] = {}
    out = naming.out
    for source, inside in _sources(inputs, out, selection):
        sources.setdefault(_real(source), (source, inside))
    for key in _copies_among(sources, out):
        del sources[key]
        selection.left_out[_COPIES] += 1
    if not sources:
        closed = [f"{folder}: {reason}" for folder, reason in selection.unreadable.items()]
        looked_for = f"looked for {', '.join(sorted(_SUFFIXES))}"
        raise InputError("; ".join([f"no photographs in {', '.join(inputs)}", *closed, looked_for]))
    if out and _is_file_name(out):
        if naming.shard != (1, 1):
            raise InputError(f"--shard shares out many files, and --out {out} names one; name a folder")
        selection.jobs = [_single_job([source for source, _ in sources.values()], out, naming)]
        return selection
    if out and len(sources) == 1 and not out.exists() and _looks_like_a_file(out):
        writable = ", ".join(sorted({f".{ending}" for ending in WRITABLE} | set(CONTAINERS.values())))
        raise InputError(f"--out {out}: {out.suffix} cannot be written; name a folder, or a file in {writable}")
    taken = {str(real).casefold() for real in sources}
    for real, (source, inside) in sources.items():
        place = out / inside if out else source.with_name(f"{source.stem}{MARK}{source.suffix}")
        target = place.with_suffix(_ending(source, naming.ending))
        if _real(target) == real:
            raise InputError(f"{source} would be overwritten by its own colors; choose another --out than {out}")
        selection.jobs.append(_job_for(source, target, naming, taken))
    # After all have their names: whichever machine colors a photograph, its copy is called the same.
    number, count = naming.shard
    selection.jobs = selection.jobs[number - 1 :: count]
    return selection


def parse_shard(text: str) -> tuple[int, int]:
    """3/16 -> (3, 16).

    Raises:
        InputError: it is no such fraction.
    """
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise InputError(f"--shard must be NUMBER/COUNT with 1 <= NUMBER <= COUNT, such as 3/16, got {text!r}")
    return int(number), int(count)


def require_format(naming: Naming) -> None:
    """Raises InputError where the ending that is asked for cannot be written."""
    if naming.ending is not None and naming.ending not in WRITABLE:
        raise InputError(f"--format must be one of {', '.join(WRITABLE)}, got {naming.ending!r}")


def require_output(naming: Naming, jobs: Sequence[Job]) -> None:
    """Try to write where the copies will go.

    Raises:
        InputError: it cannot be written.
    """
    if naming.out is None:
        _require_one_writable(sorted({target.parent for job in jobs for target in job.targets.values()}))
        return
    folder = naming.out.parent if _is_file_name(naming.out) else naming.out
    if folder.is_file():
        raise InputError(f"--out {folder} is a file and no picture or film; name a folder")
    try:
        require_writable(folder)
    except OSError as error:
        raise InputError(f"--out {naming.out} cannot be written: {error.strerror}") from None


def _require_one_writable(folders: Sequence[Path]) -> None:
    """Where some can be written, those in the others fail one by one."""
    problems = [_why_not_writable(folder) for folder in folders]
    if problems and all(problems):
        raise InputError(f"{folders[0]} cannot be written: {problems[0]}; name a folder with --out")


def _why_not_writable(folder: Path) -> str:
    try:
        require_writable(folder)
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _copies_among(sources: dict[Path, tuple[Path, Path]], out: Path | None) -> list[Path]:
    """Of sources by their real path, those that an earlier run has made: a shell's * finds them, too."""
    named = {source.absolute().with_suffix("") for source, _ in sources.values()}
    beside = [key for key, (source, _) in sources.items() if original(source.absolute()) in named]
    home = out.resolve() if out else None
    inside = [key for key in sources if home in key.parents and key not in beside and is_colored(key)]
    # Where there are no others, they are asked for.
    return beside + inside if len(beside) + len(inside) < len(sources) else beside


def _single_job(sources: list[Path], out: Path, naming: Naming) -> Job:
    """The job where --out names a file."""
    source = sources[0]
    if len(sources) > 1:
        raise InputError(f"--out {out} names one file for {len(sources)} photographs; name a folder")
    if _key(source) == _key(out):
        raise InputError(f"{source} would be overwritten by its own colors; choose another --out")
    film = source.suffix.lower() in CONTAINERS
    allowed = set(CONTAINERS.values()) if film else {f".{ending}" for ending in WRITABLE}
    if out.suffix.lower() not in allowed:
        raise InputError(f"--out {out}: {source.name} can be written as {', '.join(sorted(allowed))}")
    return _job_for(source, out, naming, {_key(source)})


def _job_for(source: Path, target: Path, naming: Naming, taken: set[str]) -> Job:
    """The first name like that of the target of which no file is taken yet.

    Without --out, neither is that of a photograph which is only called like a copy: --overwrite would replace it.
    """
    number = 1
    while True:
        name = target if number == 1 else target.with_stem(f"{target.stem}-{number}")
        several = len(naming.seeds) > 1
        targets = {seed: name.with_stem(f"{name.stem}-{seed}") if several else name for seed in naming.seeds}
        files = [file for path in targets.values() for file in _files(path, naming.compare)]
        keys = {_key(file) for file in files}
        foreign = naming.out is None and any(os.path.exists(file) and not original(file) for file in files)
        if not keys & taken and not foreign:
            taken |= keys
            return Job(source, targets, renamed=number > 1)
        number += 1


def _files(target: Path, compare: bool) -> list[Path]:
    return [target, comparison(target)] if compare else [target]


def _key(path: Path) -> str:
    """Equal for paths that some file systems cannot tell apart."""
    return str(_real(path)).casefold()


def _real(path: Path) -> Path:
    """The absolute path of a file, without links, as `Path.resolve` gives it at more cost for each of 200,000."""
    return path.resolve() if os.path.islink(path) else _real_folder(path.parent) / path.name


@lru_cache(maxsize=1000)
def _real_folder(folder: Path) -> Path:
    return folder.resolve()


def _sources(inputs: Sequence[str], out: Path | None, selection: Selection) -> Iterator[tuple[Path, Path]]:
    """Each photograph and its path below the output folder; notes what is left out of folders."""
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            folder, found = path, [(file, file.relative_to(path)) for file in _below(path, selection.unreadable)]
        elif text == "-":
            raise InputError("- is standard input, and is colored alone; a file of that name is ./-")
        elif path.exists():
            yield path, Path(path.name)
            continue
        elif glob.has_magic(text):
            folder, found = (
                _without_magic(path),
                [(Path(name), Path(Path(name).name)) for name in sorted(glob.glob(text, recursive=True))],
            )
        else:
            raise InputError(f"{text}: no such file or folder")
        copies = out.resolve() if out and folder.resolve() in out.resolve().parents else None
        for file, inside in found:
            kind = _kind_left_out(file, folder, copies)
            if kind:
                selection.left_out[kind] += 1
            elif file.is_file():
                yield file, inside


def _below(folder: Path, unreadable: dict[Path, str]) -> list[Path]:
    """The files in a folder and in those inside it, sorted; notes which cannot be looked into."""

    def note(error: OSError) -> None:
        unreadable[Path(error.filename)] = str(error.strerror)

    return sorted(Path(root, name) for root, _, names in os.walk(folder, onerror=note) for name in names)


def _kind_left_out(file: Path, folder: Path, copies: Path | None) -> str:
    """Why a file below a folder is not colored; "" where it is.

    Args:
        copies: the folder of the colored copies, resolved, where it is inside that of the photographs.
    """
    if file.is_dir():
        return ""
    if any(part.startswith(".") for part in file.relative_to(folder).parts):
        return "hidden"
    if not file.is_file():
        return "not regular files"
    if copies and copies in _real(file).parents:
        return _COPIES
    if file.suffix.lower() not in _SUFFIXES:
        return file.suffix.lower() or "without an ending"
    # And those of a run without --out, beside their photographs; a pattern may find the copies alone.
    source = original(file)
    endings = [ending for suffix in _SUFFIXES for ending in (suffix, suffix.upper())]
    beside = source and any(source.with_name(source.name + ending).exists() for ending in endings)
    return _COPIES if beside else ""


def _without_magic(pattern: Path) -> Path:
    """photos/**/*.jpg -> photos"""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _is_file_name(out: Path) -> bool:
    """Whether --out names a picture or a film, and no folder."""
    return out.suffix.lower() in {*(f".{ending}" for ending in WRITABLE), *CONTAINERS} and not out.is_dir()


def _looks_like_a_file(out: Path) -> bool:
    """street.gif, but not a folder such as colored or 2024.11."""
    return str(mimetypes.guess_type(out.name)[0]).startswith(("image/", "video/"))


def _ending(source: Path, asked: str | None) -> str:
    """A film's or a photograph's own ending, where it can be written, unless another is asked for."""
    own = source.suffix.lower()
    if own in CONTAINERS:
        return CONTAINERS[own]
    return f".{asked or copy_ending(own)}"
