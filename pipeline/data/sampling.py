"""Choose, filter, deduplicate, split; and the manifest that records why."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from skimage.color import rgb2lab
from tqdm import tqdm

from pipeline.data.candidates import Candidate, SourceError
from pipeline.data.duplicates import Look, Seen, look
from pipeline.data.images import ImageError, Pixels, decode, fit
from pipeline.data.shards import ShardWriter
from pipeline.data.sources import SPLITS
from pipeline.params import Sample
from pipeline.publish import write_csv

COLUMNS = ["path", "sha256", "width", "height", "mean_chroma", "split", "reason"]

# Held-out splits are filled first: asking for more training photographs later leaves them as they were.
FILL_ORDER = ("test", "valid", "train")


@dataclass(frozen=True)
class Decision:
    """What became of one candidate."""

    candidate: Candidate
    sha256: str = ""
    width: int = 0
    height: int = 0
    mean_chroma: float = 0.0
    look: Look | None = None
    pixels: Pixels | None = field(default=None, repr=False)
    """(size, size, 3) uint8, absent where rejected."""
    reason: str = ""

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


def draw(found: list[Candidate], sample: Sample, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Draw sample.train / valid / test photographs by seed; write shards and manifest.csv into `out`.

    Returns:
        Counts: candidates, train, valid, test, and rejected by kind of reason.

    Raises:
        SourceError: there are fewer usable photographs than asked for, or too large a share is rejected; says
            how many there are.
    """
    wanted = {split: int(getattr(sample, split)) for split in SPLITS}
    _refuse_shortage(_listed(found), wanted, f"{_label(sample)} has {len(found)}")
    if sum(wanted.values()) > len(found):
        asked = " + ".join(f"{wanted[split]} ({split})" for split in SPLITS)
        raise SourceError(f"not enough photographs for {asked}: {_label(sample)} has {len(found)}; ask for fewer")
    writers = {split: ShardWriter(out, split) for split in SPLITS}
    kept: Counter[str] = Counter()
    seen = Seen()
    rows: list[dict[str, Any]] = []
    pool = (c for c in _shuffled(found, seed) if _place(c, kept, wanted))
    with ProcessPoolExecutor(_processes(), multiprocessing.get_context("spawn")) as workers:
        examined = partial(examine, sample=sample, size=size)
        with tqdm(total=sum(wanted.values()), desc="sample", unit="photo") as bar:
            for decision in _in_order(workers, examined, pool, ahead=_processes() * 16):
                split = _place(decision.candidate, kept, wanted)
                if split is None:  # its split was filled while it was being decoded
                    continue
                reason = decision.reason or _twin(decision, split, seen)
                rows.append(decision.row(split, reason))
                if not reason and decision.pixels is not None:
                    writers[split].add(decision.pixels)
                    kept[split] += 1
                    bar.update()
        workers.shutdown(cancel_futures=True)
    for writer in writers.values():
        writer.close()
    # Before the count is judged: a shortage sends people to look for the reasons.
    write_csv(out / "manifest.csv", rows, COLUMNS)
    rejected = Counter(row["reason"].split(":")[0].split(" as ")[0] for row in rows if row["reason"])
    _refuse_too_many(rejected, len(rows), sample, out / "manifest.csv")
    usable = f"{_label(sample)} has {kept.total()} usable: {len(found)} candidates, {_words(rejected)}"
    _refuse_shortage(kept, wanted, f"{usable}; {out / 'manifest.csv'} has each reason")
    return {"candidates": len(found), **{s: kept[s] for s in SPLITS}, "rejected": dict(rejected)}


def examine(candidate: Candidate, sample: Sample, size: int) -> Decision:
    """Decode one candidate once, crop, resize and measure it."""
    try:
        read = candidate.reader if candidate.box is None else _decode_kept
        decoded, digest = read(candidate.file, sample.max_pixels)
    except ImageError as rejected:
        return Decision(candidate, reason=str(rejected))
    if candidate.box:
        left, top, right, bottom = candidate.box
        decoded = np.ascontiguousarray(decoded[top:bottom, left:right])
    height, width = decoded.shape[:2]
    pixels = fit(decoded, size, sample.fit)
    ab = rgb2lab(pixels)[..., 1:]
    chroma = float(np.hypot(ab[..., 0], ab[..., 1]).mean())
    reason = f"hardly any color: mean chroma {chroma:.2f}" if chroma < sample.min_chroma else ""
    return Decision(candidate, digest, width, height, chroma, look(decoded), pixels, reason)


def _twin(decision: Decision, split: str, seen: Seen) -> str:
    """Why a photograph that is good in itself may not go into the split; remembers it where it may."""
    name, one = decision.candidate.name, decision.look
    if one is None:
        return ""
    # Regions of one photograph share no pixel by construction, and patches of one sky all look alike.
    reason = seen.twin(name, one, split, near=decision.candidate.box is None)
    if not reason:
        seen.add(name, one, split)
    return reason


# A bundled photograph has hundreds of regions: decode it once a process.
_decode_kept = lru_cache(maxsize=8)(decode)


def _label(sample: Sample) -> str:
    return sample.dataset if sample.source == "fastai" else sample.path


def _processes() -> int:
    return min(os.cpu_count() or 1, 8)


def _shuffled(found: list[Candidate], seed: int) -> list[Candidate]:
    """In random order; those whose split the source decides come first, the others stand in for rejected ones."""
    order = np.random.default_rng([seed, 0x5A]).permutation(len(found))
    return sorted((found[i] for i in order), key=lambda candidate: candidate.split is None)


def _place(candidate: Candidate, kept: Counter[str], wanted: dict[str, int]) -> str | None:
    """The split that takes the candidate: its own, or else the first that is not full yet."""
    for split in FILL_ORDER:
        if candidate.split in (None, split) and kept[split] < wanted[split]:
            return split
    return None


def _in_order(
    workers: ProcessPoolExecutor, look: Callable[[Candidate], Decision], pool: Iterator[Candidate], ahead: int
) -> Iterator[Decision]:
    """Decisions in the order of the pool, however many processes make them; reads `ahead` at the most."""
    waiting: deque[Future[Decision]] = deque()
    while True:
        waiting.extend(workers.submit(look, candidate) for candidate in islice(pool, ahead - len(waiting)))
        if not waiting:
            return
        try:
            yield waiting.popleft().result()
        except BrokenProcessPool:
            raise SourceError("a process that decodes photographs was killed; is there enough memory?") from None


def _listed(found: list[Candidate]) -> Counter[str]:
    """The most photographs each split could get."""
    own = Counter(candidate.split for candidate in found)
    return Counter({split: own[split] + own[None] for split in SPLITS})


def _refuse_shortage(have: Counter[str], wanted: dict[str, int], situation: str) -> None:
    short = [f"sample.{s} {wanted[s]} (there are {have[s]})" for s in SPLITS if have[s] < wanted[s]]
    if short:
        raise SourceError(f"not enough photographs for {', '.join(short)}: {situation}; ask for fewer")


def _refuse_too_many(rejected: Counter[str], looked_at: int, sample: Sample, manifest: Path) -> None:
    if rejected.total() > sample.max_rejected * looked_at:
        raise SourceError(
            f"{rejected.total()} of {looked_at} photographs of {_label(sample)} were rejected ({_words(rejected)}), "
            f"more than sample.max_rejected {sample.max_rejected:g} allows; {manifest} has each reason"
        )


def _words(rejected: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items())) or "none rejected"
