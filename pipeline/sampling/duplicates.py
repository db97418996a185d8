"""Find the same photograph in two files: equal pixels, or nearly equal ones after it was saved smaller or worse."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from pipeline.sampling.candidates import TemporaryTables
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
    mirrored: int
    """The same of its mirror image."""
    thumbnail: NDArray[np.uint8]
    """(32, 32) gray."""


def image_hash(image: Image.Image, pixels: Pixels) -> ImageHash:
    """Of a picture, and of the (S, S, 3) uint8 that it was resized to, which are many fewer to hash."""
    exact = hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
    gray = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    thumbnail = np.asarray(gray)
    low = dctn(thumbnail.astype(np.float64), norm="ortho")[:_FREQUENCIES, :_FREQUENCIES]
    # Mirroring from left to right turns the sign of each odd frequency along the rows.
    return ImageHash(exact, _signs(low), _signs(low * (-1.0) ** np.arange(_FREQUENCIES)), thumbnail)


def _signs(low: NDArray[np.float64]) -> int:
    bits = low.ravel() > np.median(low.ravel()[1:])
    return int(np.packbits(bits).view(">u8")[0])


class DuplicateFinder:
    """Remembers the photographs of all splits: 8 bytes of each in memory, the rest on disk."""

    def __init__(self) -> None:
        self._tables = TemporaryTables(
            "CREATE TABLE seen (exact BLOB PRIMARY KEY, name TEXT) WITHOUT ROWID;"
            "CREATE TABLE kept (split TEXT, number INTEGER, name TEXT, thumbnail BLOB, PRIMARY KEY (split, number))"
        )
        self._perceptual: dict[str, array[int]] = {}
        """By split, in the order of their numbers."""

    def find_duplicate(self, name: str, hashed: ImageHash, split: str, *, near: bool) -> str:
        """Why the photograph may not go into the split: "" where it may.

        A mirror image counts as the photograph itself, since training mirrors (flip). Equal pixels are refused
        everywhere, nearly equal ones only in another split than the first's: bursts are good training photographs, as
        long as none of them is in the test.

        Args:
            near: whether to look for nearly equal ones.
        """
        if not self._tables.run("INSERT OR IGNORE INTO seen VALUES (?, ?)", hashed.exact, name).rowcount:
            (first,) = self._tables.run("SELECT name FROM seen WHERE exact = ?", hashed.exact).fetchone()
            return f"same pixels as {first}"
        for other in self._perceptual if near else ():
            if other != split and (nearest := self._nearest(hashed, other)):
                return f"nearly the same as {nearest} in {other}"
        return ""

    def add(self, name: str, hashed: ImageHash, split: str) -> None:
        kept = self._perceptual.setdefault(split, array("Q"))
        thumbnail = hashed.thumbnail.tobytes()
        self._tables.run("INSERT INTO kept VALUES (?, ?, ?, ?)", split, len(kept), name, thumbnail)
        kept.append(hashed.perceptual)

    def _nearest(self, hashed: ImageHash, split: str) -> str:
        """Return the name of the first photograph of a split that is nearly equal, or ""."""
        bits = np.frombuffer(self._perceptual[split], np.uint64)
        query = "SELECT name, thumbnail FROM kept WHERE split = ? AND number = ?"
        sides = ((hashed.perceptual, hashed.thumbnail), (hashed.mirrored, hashed.thumbnail[:, ::-1]))
        for perceptual, seen in sides:
            for number in np.flatnonzero(np.bitwise_count(bits ^ np.uint64(perceptual)) <= _MOST_BITS):
                name, stored = self._tables.run(query, split, int(number)).fetchone()
                thumbnail = np.frombuffer(stored, np.uint8).reshape(_SIDE, _SIDE)
                if np.abs(thumbnail.astype(int) - seen).mean() <= _MOST_LEVELS:
                    return str(name)
        return ""
