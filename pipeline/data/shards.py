"""The sample on disk: uint8 arrays in shards of bounded size, memory-mapped; the names in its manifest."""

from __future__ import annotations

import bisect
import csv
import hashlib
import json
from contextlib import suppress
from errno import EMFILE
from pathlib import Path

import numpy as np

from pipeline.errors import SampleError
from pipeline.types import Pixels

SHARD_BYTES = 64 * 2**20


class ShardWriter:
    """Writes photographs of one split, in order, as <split>-00000.npy, ..."""

    def __init__(self, folder: Path, split: str):
        self._folder, self._split = folder, split
        self._waiting: list[Pixels] = []
        self._bytes = self._shards = 0

    def add(self, pixels: Pixels) -> None:
        """pixels: (S, S, 3) uint8; the same S for all."""
        self._waiting.append(pixels)
        self._bytes += pixels.nbytes
        if self._bytes >= SHARD_BYTES:
            self.close()

    def close(self) -> None:
        if self._waiting:
            path = self._folder / f"{self._split}-{self._shards:05d}.npy"
            np.save(path, np.stack(self._waiting), allow_pickle=False)
            self._shards += 1
            self._waiting, self._bytes = [], 0


class Photographs:
    """The photographs of one split as a sequence: each is (S, S, 3) uint8 sRGB.

    Raises:
        SampleError: no shards, or one that is not what the sample stage writes.
    """

    def __init__(self, folder: Path, split: str, size: int):
        self._origin = (folder, split, size)
        paths = sorted(folder.glob(f"{split}-*.npy"))
        if not paths:
            raise SampleError(f"{folder}: no shards {split}-*.npy; run the sample stage (dvc repro)")
        _allow_more_open_files(len(paths))
        self._shards = [_open(path, size) for path in paths]
        self._ends = np.cumsum([len(shard) for shard in self._shards]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Pixels:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect.bisect_right(self._ends, index)
        shard = self._shards[number]
        return np.array(shard[index - (self._ends[number] - len(shard))])

    def gather(self, indices: list[int]) -> Pixels:
        """Several at once: (N, S, S, 3) uint8."""
        return np.stack([self[index] for index in indices])

    def sha256(self) -> str:
        """Of all pixels, in their order: two splits of the same photographs have the same."""
        total = hashlib.sha256()
        for shard in self._shards:
            total.update(np.ascontiguousarray(shard).data)
        return total.hexdigest()

    def __reduce__(self) -> tuple[type[Photographs], tuple[Path, str, int]]:
        """Another process maps the files again; it would otherwise be sent all pixels."""
        return Photographs, self._origin


def _open(path: Path, size: int) -> Pixels:
    try:
        shard: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno == EMFILE:
            raise SampleError(f"{path}: this system lets too few files be open at once; see `ulimit -n`") from None
        raise SampleError(f"{path}: damaged ({error}); run dvc repro --force sample") from None
    if shard.dtype != np.uint8 or shard.ndim != 4 or shard.shape[1:] != (size, size, 3):
        raise SampleError(
            f"{path}: expected (N, {size}, {size}, 3) uint8, found {shard.shape} {shard.dtype}; "
            "run dvc repro so that the sample follows base.image_size"
        )
    return shard


def _allow_more_open_files(count: int) -> None:
    """Raise the usual limit of 1,024: a mapped shard stays open, and a million photographs have thousands."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        most = soft + count if hard == resource.RLIM_INFINITY else min(soft + count, hard)
        with suppress(OSError, ValueError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def held_out(folder: Path) -> str:
    """Return the split that results are measured on: test, or valid where the sample has no test photographs."""
    return "test" if any(folder.glob("test-*.npy")) else "valid"


def sample_source(folder: Path) -> str:
    """Return the source of the sample's photographs, from sample.json.

    Raises:
        SampleError: no sample.json, or one that the sample stage did not write.
    """
    path = folder / "sample.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SampleError(f"{path}: cannot be read ({error!r}); run dvc repro --force sample") from None


def split_names(folder: Path, split: str) -> list[str]:
    """Paths of a split's photographs, in the order of its shards, from manifest.csv.

    Raises:
        SampleError: no manifest, or one the sample stage did not write.
    """
    path = folder / "manifest.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row["path"] for row in csv.DictReader(file, strict=True) if row["split"] == split]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise SampleError(f"{path}: cannot be read ({error!r}); run dvc repro --force sample") from None
