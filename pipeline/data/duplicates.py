"""The same photograph in two files: equal pixels, or nearly so after it was saved smaller or worse."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from pipeline.data.images import Pixels

_SIDE, _FREQUENCIES = 32, 8
# Of 64 bits: saving a photograph again, at half the size or quality 20, changes fewer; others differ by some 30.
_BITS = 8
# Mean absolute difference of the thumbnails, gray levels: hashes of flat pictures say little, so these must agree.
_LEVELS = 8.0


@dataclass(frozen=True)
class Look:
    """What is remembered of a photograph to know it again."""

    exact: str
    """SHA-256 of its decoded pixels and their shape: saved twice losslessly it is one photograph."""
    perceptual: int
    """64 bits: the signs of its lowest frequencies against their median, as in pHash (Zauner 2010)."""
    thumbnail: NDArray[np.uint8]
    """(32, 32) gray."""


def look(pixels: Pixels) -> Look:
    """pixels: (H, W, 3) uint8."""
    exact = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    gray = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    thumbnail = np.asarray(gray)
    low = dctn(thumbnail.astype(np.float64), norm="ortho")[:_FREQUENCIES, :_FREQUENCIES].ravel()
    bits = low > np.median(low[1:])
    return Look(exact, int(np.packbits(bits).view(">u8")[0]), thumbnail)


@dataclass
class Seen:
    """The photographs of the splits so far."""

    _exact: dict[str, str] = field(default_factory=dict)
    _looks: dict[str, list[tuple[int, NDArray[np.uint8], str]]] = field(default_factory=dict)

    def twin(self, name: str, one: Look, split: str, *, near: bool) -> str:
        """Why the photograph may not go into the split: "" where it may.

        Equal pixels are refused everywhere, near-equal ones in another split than the first's: bursts are good
        training photographs, as long as none of them is in the test. `near` is whether to look for those.
        """
        first = self._exact.setdefault(one.exact, name)
        if first != name:
            return f"same pixels as {first}"
        for other, looks in self._looks.items():
            if near and other != split and (nearest := _nearest(one, looks)):
                return f"nearly the same as {nearest} in {other}"
        return ""

    def add(self, name: str, one: Look, split: str) -> None:
        self._looks.setdefault(split, []).append((one.perceptual, one.thumbnail, name))


def _nearest(one: Look, looks: list[tuple[int, NDArray[np.uint8], str]]) -> str:
    hashes = np.array([bits for bits, _, _ in looks], np.uint64)
    close = np.flatnonzero(np.bitwise_count(hashes ^ np.uint64(one.perceptual)) <= _BITS)
    for index in close:
        _, thumbnail, name = looks[index]
        if np.abs(thumbnail.astype(int) - one.thumbnail).mean() <= _LEVELS:
            return name
    return ""
