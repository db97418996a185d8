"""Find the same photograph in two files: equal pixels, or nearly equal ones after it was saved smaller or worse."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from pipeline.types import Pixels

_SIDE, _FREQUENCIES = 32, 8
# Bits of 64 that may differ. A photograph saved at half the size or quality 20 changes fewer; others differ by 30.
_MOST_BITS = 8
# Mean absolute difference of the thumbnails, gray levels: hashes of flat pictures say little, so these must agree too.
_MOST_LEVELS = 8.0


@dataclass(frozen=True)
class ImageHash:
    """What is kept of a photograph to find its duplicates."""

    exact: bytes
    """SHA-256 of the pixels that training would see."""
    perceptual: int
    """64 bits: the signs of its lowest frequencies against their median, as in pHash (Zauner 2010)."""
    thumbnail: NDArray[np.uint8]
    """(32, 32) gray."""


def image_hash(image: Image.Image, pixels: Pixels) -> ImageHash:
    """Of a picture, and of the (S, S, 3) uint8 that it was resized to, which are many fewer to hash."""
    exact = hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
    gray = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    thumbnail = np.asarray(gray)
    low = dctn(thumbnail.astype(np.float64), norm="ortho")[:_FREQUENCIES, :_FREQUENCIES].ravel()
    bits = low > np.median(low[1:])
    return ImageHash(exact, int(np.packbits(bits).view(">u8")[0]), thumbnail)


@dataclass
class _Photographs:
    """Those of one split."""

    _kept: list[tuple[ImageHash, str]] = field(default_factory=list)
    _bits: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    def add(self, hashed: ImageHash, name: str) -> None:
        self._kept.append((hashed, name))

    def nearest(self, hashed: ImageHash) -> str:
        """The name of the first that is nearly equal, or ""."""
        if len(self._bits) < len(self._kept):
            self._bits = np.array([other.perceptual for other, _ in self._kept], np.uint64)
        for index in np.flatnonzero(np.bitwise_count(self._bits ^ np.uint64(hashed.perceptual)) <= _MOST_BITS):
            other, name = self._kept[index]
            if np.abs(other.thumbnail.astype(int) - hashed.thumbnail).mean() <= _MOST_LEVELS:
                return name
        return ""


@dataclass
class DuplicateFinder:
    """Remembers the photographs of all splits."""

    _names: dict[bytes, str] = field(default_factory=dict)
    """Name by exact hash."""
    _splits: dict[str, _Photographs] = field(default_factory=dict)

    def find_duplicate(self, name: str, hashed: ImageHash, split: str, *, near: bool) -> str:
        """Why the photograph may not go into the split: "" where it may.

        Equal pixels are refused everywhere, nearly equal ones only in another split than the first's: bursts are good
        training photographs, as long as none of them is in the test.

        Args:
            near: whether to look for nearly equal ones.
        """
        first = self._names.setdefault(hashed.exact, name)
        if first != name:
            return f"same pixels as {first}"
        for other, photographs in self._splits.items():
            if near and other != split and (nearest := photographs.nearest(hashed)):
                return f"nearly the same as {nearest} in {other}"
        return ""

    def add(self, name: str, hashed: ImageHash, split: str) -> None:
        self._splits.setdefault(split, _Photographs()).add(hashed, name)
