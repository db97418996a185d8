"""Draw the sample: choose, reject, deduplicate and split photographs; write shards and the manifest."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from pipeline.color.arrays import chromaticity
from pipeline.data.shards import ShardWriter
from pipeline.errors import ImageError, LimitError, SourceError
from pipeline.files import write_json
from pipeline.params.schema import Fit, Sample
from pipeline.progress import progress
from pipeline.sampling.candidates import HELD_OUT, SPLITS, Candidate, Candidates
from pipeline.sampling.duplicates import DuplicateFinder, ImageHash, image_hash
from pipeline.sampling.groups import Groups
from pipeline.sampling.photographs import decode
from pipeline.sampling.quotas import ALL, Quotas
from pipeline.system import cores
from pipeline.types import Pixels

COLUMNS = ["path", "sha256", "width", "height", "mean_chroma", "split", "reason"]


class Manifest:
    """A table that is written row by row: a million rows need no memory."""

    def __init__(self, path: Path):
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._writer.writeheader()
        self.rows = 0
        self.rejected: Counter[str] = Counter()
        """By kind of reason."""

    def add(self, row: dict[str, Any]) -> None:
        self._writer.writerow(row)
        self.rows += 1
        if row["reason"]:
            self.rejected[row["reason"].split(":")[0].split(" as ")[0]] += 1

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int) -> Iterator[Result]:
    """Yield the results, as soon as those before them are there; take at most `ahead` items in advance.

    Where nobody asks for further results, what has begun is finished and nothing else is begun.
    """
    waiting: deque[Future[Result]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(threads) as workers:
        try:
            while True:
                waiting.extend(workers.submit(work, item) for item in islice(remaining, ahead - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)


# Photographs that a source makes ready at once: of 100 kB each, 2 GB on disk.
_MOST_PREPARED = 20_000
# Pixels of a side that are enough to tell a gray photograph.
_CHROMA_SIDE = 64
# A file in the folder of a kind whose first line says on which terms its photographs are.
_TERMS = "TERMS.txt"


@dataclass(frozen=True)
class Examined:
    """What decoding and measuring a candidate gave."""

    candidate: Candidate
    sha256: str = ""
    width: int = 0
    height: int = 0
    mean_chroma: float = 0.0
    hashed: ImageHash | None = None
    pixels: Pixels | None = field(default=None, repr=False)
    """(size, size, 3) uint8; None where it could not be decoded."""
    reason: str = ""
    """Why it is rejected; "" where it is not."""

    def row(self, split: str, reason: str) -> dict[str, Any]:
        return {
            "path": self.candidate.name,
            "sha256": self.sha256,
            "width": self.width or "",
            "height": self.height or "",
            "mean_chroma": f"{self.mean_chroma:.3f}" if self.pixels is not None else "",
            "split": "" if reason else split,
            "reason": reason,
        }


class Examiners(Protocol):
    """Who decode and measure candidates: this process, or several that share a draw."""

    def examine(self, candidates: Iterable[Candidate]) -> Iterator[Examined]:
        """Yield the results for candidates, in their order."""

    def prepare(self, candidates: Sequence[Candidate]) -> None:
        """Make candidates ready that will be examined next, where their source asks for it."""


class Alone:
    """Examines candidates with a thread for each core.

    Those are enough: decoding, resizing and hashing leave Python's lock to the others.
    """

    def __init__(self, candidates: Candidates, sample: Sample, size: int):
        self._candidates, self._work = candidates, partial(examine, sample=sample, size=size)

    def examine(self, candidates: Iterable[Candidate]) -> Iterator[Examined]:
        return in_order(self._work, candidates, cores(), ahead=cores() * 16)

    def prepare(self, candidates: Sequence[Candidate]) -> None:
        if self._candidates.prepare:
            self._candidates.prepare(candidates)


def draw(
    candidates: Candidates, sample: Sample, size: int, seed: int, out: Path, examiners: Examiners | None = None
) -> dict[str, Any]:
    """Draw sample.train / valid / test photographs by seed; write shards and manifest.csv into `out`.

    Args:
        size: pixels of a side.
        examiners: who decode; None for this process alone.

    Returns:
        Counts: candidates, train, valid, test, and rejected by kind of reason; with sample.weights, of each kind, too.
        "enlarged" counts those that are smaller than `size`, where there are some.

    Raises:
        SourceError: there are fewer usable photographs than asked for, or too large a share is rejected; says
            how many there are.
    """
    refuse_impossible(candidates, sample)
    quotas = Quotas(sample)
    writers = {split: ShardWriter(out, split) for split in SPLITS}
    duplicates = DuplicateFinder()
    groups = Groups(sample.group, candidates)
    examiners = examiners or Alone(candidates, sample, size)
    # Before the counts are judged: after a shortage people look into the manifest for the reasons.
    bar = progress(total=sum(quotas.wanted.values()), desc="sample", unit="photo")
    enlarged = 0
    with Manifest(out / "manifest.csv") as manifest, bar:
        for examined, split in _examined(examiners, candidates, seed, groups, quotas):
            groups.bind(examined.candidate, split)
            others = any(not quotas.is_full(other) for other in SPLITS if other != split)
            reason = examined.reason or _duplicate(examined, split, duplicates, remember=others)
            manifest.add(examined.row(split, reason))
            if not reason and examined.pixels is not None:
                writers[split].add(examined.pixels)
                enlarged += min(examined.width, examined.height) < size
                quotas.add(split, quotas.kind_of(examined.candidate) or ALL)
                bar.update()
                if quotas.is_full(split):
                    writers[split].close()
    kinds = _kinds(quotas, sample)
    source = {"source": sample.dataset if sample.source == "fastai" else sample.source}
    write_json(out / "sample.json", source | ({"kinds": kinds} if kinds else {}))
    rejected = manifest.rejected
    _refuse_too_many(rejected, manifest.rows, sample, out / "manifest.csv")
    grouped = f" in {len(groups)} groups, each in one split" if len(groups) else ""
    taken = f"{len(candidates)} candidates{grouped}, {_summary(rejected)}"
    usable = f"{_label(sample)} has {quotas.drawn.total()} usable: {taken}"
    smaller = ", or for smaller groups (sample.group)" if grouped else ""
    _refuse_shortage(quotas, quotas.drawn, f"{usable}; {out / 'manifest.csv'} has each reason; ask for fewer{smaller}")
    counts = {split: quotas.total(split) for split in SPLITS}
    more: dict[str, Any] = {"kinds": kinds} if kinds else {}
    if enlarged:
        more["enlarged"] = enlarged
        tqdm.write(
            f"note: {enlarged} of {sum(counts.values())} photographs are smaller than {size} px, and were enlarged"
        )
    return {"candidates": len(candidates), **counts, "rejected": dict(rejected), **more}


def _examined(
    examiners: Examiners, candidates: Candidates, seed: int, groups: Groups, quotas: Quotas
) -> Iterator[tuple[Examined, str]]:
    """Yield candidates that were looked at, in the order of the draw, each with the split that has room for it."""
    passes, taken = _passes(candidates, seed), set[str]()
    for numbers, splits in passes:
        fits = partial(_split_for, groups=groups, quotas=quotas, splits=splits)
        pool = (one for one in groups.together(numbers) if one.name not in taken and fits(one))
        ready = _prepared(pool, examiners, quotas) if candidates.prepare else pool
        for examined in examiners.examine(ready):
            split = fits(examined.candidate)
            if split is None:  # its split was filled while it was being decoded
                continue
            if len(passes) > 1:
                taken.add(examined.candidate.name)
            yield examined, split


def _prepared(pool: Iterator[Candidate], examiners: Examiners, quotas: Quotas) -> Iterator[Candidate]:
    """Yield the candidates, of which their source has made as many ready as are still needed, and some more."""
    while chunk := list(islice(pool, min(_MOST_PREPARED, quotas.missing() * 11 // 10 + 64))):
        examiners.prepare(chunk)
        yield from chunk


def _split_for(candidate: Candidate, groups: Groups, quotas: Quotas, splits: Sequence[str]) -> str | None:
    """Return the split, of these, that takes a candidate; None where none has room for its kind."""
    kind = quotas.kind_of(candidate)
    if kind is None:
        return None
    return groups.split_for(candidate, lambda split: split in splits and quotas.has_room(split, kind))


def _kinds(quotas: Quotas, sample: Sample) -> dict[str, dict[str, Any]]:
    """Return what was drawn of each kind, with the terms that its folder states; {} without sample.weights."""
    if quotas.kinds == [ALL]:
        return {}
    root = Path(sample.path) if sample.source == "folder" else Path(sample.path).parent
    return {kind: {**counts, "terms": _terms(root / kind)} for kind, counts in quotas.counts().items()}


def _terms(folder: Path) -> str:
    """Return the first line of TERMS.txt in the folder of a kind; "not stated" where there is none."""
    try:
        lines = (folder / _TERMS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "not stated"
    return next((line.strip()[:200] for line in lines if line.strip()), "not stated")


def examine(candidate: Candidate, sample: Sample, size: int) -> Examined:
    """Decode one candidate once, crop, resize and measure it."""
    try:
        if candidate.box is None:
            image, digest, width, height = candidate.reader(candidate.file, sample.max_pixels, size)
        else:
            whole, digest, *_ = _decode_cached(candidate.file, sample.max_pixels)
            image = whole.crop(candidate.box)
            width, height = image.size
    except LimitError as rejected:
        return Examined(candidate, reason=rejected.naming("sample.max_pixels"))
    except ImageError as rejected:
        return Examined(candidate, reason=str(rejected))
    pixels = resize_to_square(image, size, sample.fit, candidate.name)
    chroma = mean_chroma(pixels)
    reason = f"hardly any color: mean chroma {chroma:.2f}" if chroma < sample.min_chroma else ""
    return Examined(candidate, digest, width, height, chroma, image_hash(image, pixels), pixels, reason)


def mean_chroma(pixels: Pixels) -> float:
    """Return the mean of sqrt(a^2 + b^2), Lab units, of (H, W, 3) uint8 sRGB; of large ones on a thumbnail."""
    image = Image.fromarray(pixels)
    if max(image.size) > _CHROMA_SIDE:
        image = image.resize((_CHROMA_SIDE, _CHROMA_SIDE), Image.Resampling.BOX)
    a, b = chromaticity(np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(255))
    return float(np.hypot(a, b).mean())


def resize_to_square(image: Image.Image, size: int, how: Fit, name: str = "") -> Pixels:
    """Resize (bicubic) a picture in RGB: (size, size, 3) uint8.

    Args:
        how: crop: the short side to `size`, then the center. random: then a place that the name decides. stretch: both
            sides to `size`.
    """
    if how == "stretch":
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
    share = 0.5 if how == "crop" else int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC, centering=(share, share)))


def _duplicate(examined: Examined, split: str, duplicates: DuplicateFinder, *, remember: bool) -> str:
    """Why a photograph that is good in itself may not go into the split.

    Args:
        remember: whether others, of another split, will still be compared with it.
    """
    name, hashed = examined.candidate.name, examined.hashed
    if hashed is None:
        return ""
    # Regions of one photograph share no pixel by construction, and patches of one sky all look alike.
    reason = duplicates.find_duplicate(name, hashed, split, near=examined.candidate.box is None)
    if not reason and remember:
        duplicates.add(name, hashed, split)
    return reason


# A bundled photograph has hundreds of regions: each process decodes it once.
_decode_cached = lru_cache(maxsize=8)(decode)


def _label(sample: Sample) -> str:
    return sample.dataset if sample.source == "fastai" else sample.path


def _passes(candidates: Candidates, seed: int) -> list[tuple[NDArray[np.int64], Sequence[str]]]:
    """Return the numbers of the candidates in the order of the draw, and the splits that they are drawn for.

    Those whose split the source decides come first. With weights there are three passes, since weights count for
    training alone: the source's own, then all others for the splits that are held out, then what is left.
    """
    rng = np.random.default_rng([seed, 0x5A])
    order = rng.permutation(len(candidates))
    decided = np.fromiter((candidate.split is not None for candidate in candidates), bool, len(candidates))
    stated, others = order[decided[order]], order[~decided[order]]
    if candidates.weights is None:
        return [(np.concatenate([stated, others]), SPLITS)]
    held = np.fromiter((candidate.split not in (None, "train") for candidate in candidates), bool, len(candidates))
    weights = np.where(held, 1.0, candidates.weights)
    return [
        (_by_weight(stated, weights, rng), SPLITS),
        (others, HELD_OUT),
        (_by_weight(others, weights, rng), SPLITS),
    ]


def _by_weight(numbers: NDArray[np.int64], weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Order by the waiting times that the weights give (Efraimidis and Spirakis 2006)."""
    waiting = rng.exponential(size=len(numbers)) / weights[numbers]
    return numbers[np.argsort(waiting, kind="stable")]


def refuse_impossible(candidates: Candidates, sample: Sample) -> None:
    """Refuse, before anything is decoded, counts that the list of candidates rules out.

    Raises:
        SourceError: there are fewer candidates than photographs asked for.
    """
    if candidates.grouped and sample.group != "none":
        raise SourceError(f"sample.group must be none, got {sample.group!r}: {sample.path} has groups of its own")
    quotas, label = Quotas(sample), _label(sample)
    own = Counter((candidate.split, quotas.kind_of(candidate)) for candidate in candidates)
    most = Counter({(split, kind): own[split, kind] + own[None, kind] for split, kind in quotas.wanted})
    _refuse_shortage(quotas, most, f"{label} has {len(candidates)}; ask for fewer")
    for kind in quotas.kinds:
        wanted, there = (
            {split: quotas.wanted[split, kind] for split in SPLITS},
            sum(own[s, kind] for s in (*SPLITS, None)),
        )
        if sum(wanted.values()) > there:
            asked, of = " + ".join(f"{wanted[split]} ({split})" for split in SPLITS), f" of {kind}" if kind else ""
            raise SourceError(f"not enough photographs{of} for {asked}: {label} has {there}; ask for fewer")


def _refuse_shortage(quotas: Quotas, have: Counter[tuple[str, str]], situation: str) -> None:
    short = quotas.shortages(have)
    if short:
        raise SourceError(f"not enough photographs for {', '.join(short)}: {situation}")


def _refuse_too_many(rejected: Counter[str], examined: int, sample: Sample, manifest: Path) -> None:
    if rejected.total() > sample.max_rejected * examined:
        raise SourceError(
            f"{rejected.total()} of {examined} photographs of {_label(sample)} were rejected ({_summary(rejected)}), "
            f"more than sample.max_rejected {sample.max_rejected:g} allows; {manifest} has each reason"
        )


def _summary(rejected: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items())) or "none rejected"
