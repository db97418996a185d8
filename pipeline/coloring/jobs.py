"""Jobs of `twotone colorize`: which files are colored, and where their colored copies go."""

from __future__ import annotations

import mimetypes
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.coloring.copies import COLORED, MARK, comparison, is_colored, original, stem_of
from pipeline.coloring.inputs import COPIES, Found, find, forget_folders, real_path
from pipeline.errors import InputError
from pipeline.files import require_writable
from pipeline.media.video_reader import CONTAINERS
from pipeline.media.writing import WRITABLE, copy_ending


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
    named: bool = False
    """Whether it was named itself: then it is colored even if this program has made it."""

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
    forget_folders()
    selection = Selection()
    out = naming.out
    sources = _each_once(find(inputs, out, selection.left_out, selection.unreadable), selection.left_out)
    for key in _copies_among(sources, naming):
        del sources[key]
        selection.left_out[COPIES] += 1
    if not sources:
        closed = [f"{folder}: {reason}" for folder, reason in selection.unreadable.items()]
        looked_for = f"looked for {', '.join(sorted(COLORED))}"
        raise InputError("; ".join([f"no photographs in {', '.join(inputs)}", *closed, looked_for]))
    if out and _is_file_name(out):
        if naming.shard != (1, 1):
            raise InputError(f"--shard shares out many files, and --out {out} names one; name a folder")
        selection.jobs = [_single_job([found.source for found in sources.values()], out, naming)]
        return selection
    if out and len(sources) == 1 and not out.exists() and _looks_like_a_file(out):
        writable = ", ".join(sorted({f".{ending}" for ending in WRITABLE} | set(CONTAINERS.values())))
        raise InputError(f"--out {out}: {out.suffix} cannot be written; name a folder, or a file in {writable}")
    taken = {str(real).casefold() for real in sources}
    for real, (source, inside, named) in sources.items():
        target = _target(source, inside, naming)
        if real_path(target) == real:
            other = f"another --out than {out}" if out else "the place of its copy with --out"
            raise InputError(f"{source} would be overwritten by its own colors; choose {other}")
        selection.jobs.append(replace(_job_for(source, target, naming, taken), named=named))
    # After all have their names: whichever machine colors a photograph, its copy is called the same.
    number, count = naming.shard
    selection.jobs = selection.jobs[number - 1 :: count]
    return selection


def _each_once(files: Iterable[Found], left_out: Counter[str]) -> dict[Path, Found]:
    """Return each file by its real path: the path that is no link, or else the first one.

    Args:
        left_out: counts the links that are not needed.
    """
    sources: dict[Path, Found] = {}
    for found in files:
        real = real_path(found.source)
        earlier = sources.setdefault(real, found)
        links = [os.path.islink(one.source) for one in (earlier, found)]
        if earlier is not found and any(links):
            left_out["links to what is colored"] += 1
            if links == [True, False]:
                sources[real] = found._replace(named=found.named or earlier.named)
    return sources


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
    """Refuse an ending that cannot be written."""
    if naming.ending is not None and naming.ending not in WRITABLE:
        raise InputError(f"--format must be one of {', '.join(WRITABLE)}, got {naming.ending!r}")


def require_one_format(out: Path, naming: Naming) -> None:
    """Refuse a --format that is not that of the file which --out names."""
    if naming.ending is not None and WRITABLE[naming.ending] != WRITABLE.get(out.suffix[1:].lower()):
        raise InputError(f"--format {naming.ending} and --out {out} name different formats; leave one of them out")


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
        raise InputError(f"--out {folder} is a file, and no folder to write into; name a folder")
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


def _copies_among(sources: dict[Path, Found], naming: Naming) -> set[Path]:
    """Find inputs that are themselves colored copies; `*.jpg` in a shell matches those, too.

    Files of folders and patterns are looked into when their turn comes, those that were named now.
    """
    originals = {found.source.absolute().with_suffix("") for found in sources.values()}
    beside = {key for key, found in sources.items() if original(found.source.absolute()) in originals}
    own = {key for key, (source, inside, _) in sources.items() if real_path(_target(source, inside, naming)) == key}
    marked = {key for key, found in sources.items() if (found.named or key in own) and is_colored(key)}
    copies = beside | marked
    # Where there are no others, they are asked for.
    return copies if len(copies) < len(sources) else beside


def _target(source: Path, inside: Path, naming: Naming) -> Path:
    """Where the copy would go, if no other file had its name."""
    place = naming.out / inside if naming.out else source
    return place.with_name(f"{stem_of(source)}{'' if naming.out else MARK}{_ending(source, naming.ending)}")


def _single_job(sources: list[Path], out: Path, naming: Naming) -> Job:
    """Return the job where --out names a file."""
    source = sources[0]
    if len(sources) > 1:
        raise InputError(f"--out {out} names one file for {len(sources)} photographs; name a folder")
    if _key(source) == _key(out):
        raise InputError(f"{source} would be overwritten by its own colors; choose another --out")
    film = source.suffix.lower() in CONTAINERS
    allowed = set(CONTAINERS.values()) if film else {f".{ending}" for ending in WRITABLE}
    if out.suffix.lower() not in allowed:
        raise InputError(f"--out {out}: {source.name} can be written as {', '.join(sorted(allowed))}")
    if not film:
        require_one_format(out, naming)
    return replace(_job_for(source, out, naming, {_key(source)}), named=True)


def _job_for(source: Path, target: Path, naming: Naming, taken: set[str]) -> Job:
    """Return the first name like that of the target of which no file is taken yet.

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
    return str(real_path(path)).casefold()


def _is_file_name(out: Path) -> bool:
    """Whether --out names a picture or a film, and no folder."""
    return out.suffix.lower() in {*(f".{ending}" for ending in WRITABLE), *CONTAINERS} and not out.is_dir()


def _looks_like_a_file(out: Path) -> bool:
    """street.gif, but not a folder such as colored or 2024.11."""
    return str(mimetypes.guess_type(out.name)[0]).startswith(("image/", "video/"))


def _ending(source: Path, asked: str | None) -> str:
    """Return a film's or a photograph's own ending, where it can be written, unless another is asked for."""
    own = source.suffix.lower()
    if own in CONTAINERS:
        return CONTAINERS[own]
    return f".{asked or copy_ending(own)}"
