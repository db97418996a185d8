"""Whether a JPEG is whole, and what is there of one that is not."""

from __future__ import annotations

import io
import random
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from pipeline.errors import CutOffError, ImageError

BEGINNING = b"\xff\xd8\xff"
_END = b"\xff\xd9"
# ITU-T T.81, table B.1: start of frame by method, start of scan, and markers without a length.
_BASELINE, _EXTENDED = 0xC0, 0xC1
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
# In coded data: a byte FF is followed by 00; restart markers are part of the data.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# Bytes that decode to something, whatever comes before; none of them begins a marker.
_NOISE = random.Random(0).randbytes(2**16).replace(b"\xff", b"")
# Bytes at the end of the data without which no picture is the same; and how many others are tried in their place.
_TAIL, _TRIES = 4, 3
# Zeros or FF that programs fill lost sectors with.
_FILL = 64
_SMALLEST_SIDE = 16
_IN_PART = "what was missing of it is gray or black"


@dataclass(frozen=True)
class Coded:
    """The coded data of the first scan."""

    bits: int
    """Of a sample."""
    alone: bool
    """Whether it is all of the picture: one scan of a picture that is coded from its top to its bottom."""
    begin: int
    end: int
    """Where the next marker stands, or the file ends."""


def coded(content: bytes) -> Coded | None:
    """Find the coded data of a JPEG; None where its headers cannot be followed."""
    place, frame = 2, (0, 8, 0)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        body = content[place + 4 : place + 2 + length]
        if marker in _FRAMES and len(body) >= 6:
            frame = (marker, body[0], body[5])
        if marker == _SCAN and body:
            begin = place + 2 + length
            following = _NEXT_MARKER.search(content, begin)
            alone = frame[0] in (_BASELINE, _EXTENDED) and body[0] == frame[2]
            # Half a marker at the end of the file belongs to no data.
            end = following.start() if following else len(content) - content.endswith(b"\xff")
            return Coded(frame[1], alone, begin, end)
        place += 2 + length
    return None


def not_decoded(content: bytes) -> str:
    """Return why a file that begins as a JPEG is not decoded; "" where there is no reason in its headers."""
    found = coded(content)
    return f"a JPEG with {found.bits} bits a sample" if found and found.bits != 8 else ""


def loaded(image: Image.Image, content: bytes, damaged: bool) -> tuple[Image.Image, list[str]]:
    """Decode an open JPEG; of one that is cut off, the rows that are there.

    libjpeg makes up what is missing without a word. So the data is continued with noise, which changes a picture that
    lacks some; and its end replaced by noise, which leaves a picture as it is whose data was shifted by a wrong bit.
    Of pictures with wrong bytes, that finds most at high quality, and a fifth at quality 75, whose codes soon fall into
    step again. Neither is tried where several scans make the picture, as in progressive JPEG.

    Args:
        damaged: whether the rows that are there are enough.

    Returns:
        The picture, and what is wrong with it.

    Raises:
        ImageError: it is cut off, and what is there is not enough.
    """
    found = coded(content)
    try:
        image.load()
    except OSError:
        return _cut(content, found, damaged)
    if not content or found is None or not found.alone:
        return image, []
    data = _without_fill(content, found)
    if not _shows(image, data + _NOISE + _END, or_else=True):
        return _cut(content, found, damaged)
    if _is_shifted(image, data, found.begin):
        if data.endswith(b"\0" * _FILL):  # more zeros than the picture has room for
            return _cut(content, found, damaged)
        return image, ["it is damaged: parts of it may be wrong from some row on"]
    return image, []


def may_be_cut(content: bytes) -> bool:
    """Whether the data ends in zeros, with which programs fill what they could not read; a flat area may, too."""
    found = coded(content)
    return found is not None and content[found.begin : found.end].rstrip(b"\xff").endswith(b"\0" * _FILL)


def _without_fill(content: bytes, found: Coded | None, *, is_cut: bool = False) -> bytes:
    """Return the headers and the data; without the zeros that some file of its length ends with.

    Args:
        is_cut: whether data is known to be missing; else zeros before a marker are data, as of a flat area.
    """
    data = content[: found.end] if found and found.alone else content
    if found and found.alone and found.end + len(_END) <= len(content) and not is_cut:
        # Before a marker, 0xFF is fill and nothing else (T.81, B.1.1.2).
        return data.rstrip(b"\xff")
    if data.endswith(_END):
        return data
    # A marker of which half is there would make one of what follows.
    filled = data.rstrip(b"\0\xff")
    return filled if len(data) - len(filled) >= _FILL else data.removesuffix(b"\xff")


def _is_shifted(image: Image.Image, data: bytes, begin: int) -> bool:
    """Whether its last bytes belong to nothing, as where a wrong bit made what follows shorter."""
    kept = data[:-_TAIL].removesuffix(b"\xff")
    if len(kept) < begin or _RESTART.search(data, len(kept) - 1):
        return False
    size = len(data) - len(kept)
    others = (kept + _NOISE[size * number : size * (number + 1)] + _END for number in range(_TRIES))
    if not all(_shows(image, other, or_else=False) for other in others):
        return False
    # Of a picture of one color with a table of its own, no data changes anything.
    return not _shows(image, data[:begin] + _NOISE + _END, or_else=True)


def _shows(image: Image.Image, content: bytes, *, or_else: bool) -> bool:
    """Whether a file shows this picture.

    Args:
        or_else: what is taken for true where it cannot be decoded.
    """
    try:
        return ImageChops.difference(image, _decoded(content)).getbbox(alpha_only=False) is None
    except OSError:
        return or_else


def _cut(content: bytes, found: Coded | None, damaged: bool) -> tuple[Image.Image, list[str]]:
    """Decode a JPEG whose data ends early: whole where only its end marker is missing, else the rows that are there.

    Whether data is missing, two different continuations show: rows that they change are not in the file.
    """
    data = _without_fill(content, found, is_cut=True)
    whole, other = (_decoded(data + more + _END) for more in (b"", _NOISE))
    differ = np.flatnonzero((np.asarray(whole) != np.asarray(other)).reshape(whole.height, -1).any(1))
    if not differ.size:
        return whole, ["its end marker was missing"]
    if whole.info.get("progressive"):
        # All rows are there, if only coarsely.
        if not damaged:
            raise CutOffError("cut off")
        return whole, [_IN_PART]
    rows = int(differ[0])
    share = f"{rows / whole.height:.0%}"
    if rows < _SMALLEST_SIDE:
        raise ImageError(f"cut off after {rows} rows, and the short side must be >= {_SMALLEST_SIDE}")
    if not damaged:
        raise CutOffError(f"cut off after {share} of its rows")
    return whole.crop((0, 0, whole.width, rows)), [f"it is cut off: only the first {share} of its rows are there"]


def _decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=("JPEG",))
    image.load()
    return image
