"""Decode a photograph for training: 8-bit sRGB."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.errors import ImageError
from pipeline.media import jpeg, profiles
from pipeline.media.decoding import opened, orientation, read_bytes, upright
from pipeline.media.pictures import decode_picture
from pipeline.media.provenance import colored_here
from pipeline.media.writing import eight_bits, over_white
from pipeline.types import Pixels

# A longer one would be resized to a smear.
LONGEST = 20.0
# Halving by the decoder is a box filter: with two pixels left for each, what it does cannot be seen after resizing.
_DRAFT_GAP = 2
# From this orientation on, rows and columns are exchanged.
_FIRST_TURNED = 5
_JPEG = b"\xff\xd8\xff"


class Decoded(NamedTuple):
    image: Image.Image
    """8-bit sRGB, mode RGB."""
    sha256: str
    """Of the file's bytes, hexadecimal."""
    width: int
    """Of the photograph, which may have been decoded smaller."""
    height: int

    @property
    def pixels(self) -> Pixels:
        """(H, W, 3) uint8 sRGB, a copy."""
        return np.asarray(self.image)


def decode(path: Path, max_pixels: int, side: int = 0) -> Decoded:
    """Read an image file as 8-bit sRGB.

    Colors, pages and frames are those of `decode_picture`. Transparency is laid over white.

    Args:
        side: how many pixels of each side will be used; 0: all. A JPEG file much larger than that is decoded at a half,
            a quarter or an eighth of its size, twice as large as needed at least, which is several times faster.
            Resized, most pixels differ by less than one of 255 levels, and few by as many as 7.

    Raises:
        LimitError: too many pixels.
        ImageError: not a regular file, not an allowed format, damaged, or colored by this program.
    """
    return decode_content(read_bytes(path, max_pixels), max_pixels, side)


def decode_content(content: bytes, max_pixels: int, side: int = 0) -> Decoded:
    """Decode an image file's bytes as `decode` does.

    Raises:
        LimitError: too many pixels.
        ImageError: not an allowed format, damaged, or colored by this program.
    """
    if colored_here(content):
        raise ImageError("colored by this program, as its XMP says: its colors are a guess, and none to learn from")
    digest = hashlib.sha256(content).hexdigest()
    decoded = _decode_jpeg(content, digest, max_pixels, side) if content.startswith(_JPEG) else None
    if decoded is not None:
        return decoded
    picture = decode_picture(content, max_pixels, LONGEST)
    samples = eight_bits(picture.pixels)
    if picture.alpha is not None:
        samples = over_white(samples, eight_bits(picture.alpha))
    image = Image.fromarray(samples).convert("RGB")
    return Decoded(image, digest, image.width, image.height)


def _decode_jpeg(content: bytes, digest: str, max_pixels: int, side: int) -> Decoded | None:
    """Decode at a part of its size, if that is enough; None for gray and inks with a color profile of their own."""
    with opened(content, max_pixels, longest=LONGEST) as image:
        if image.mode != "RGB" and image.info.get("icc_profile"):
            return None
        width, height = image.size
        # It takes as long as two decodings: at a part of the size, where there is a sign of it.
        if not side or jpeg.may_be_cut(content):
            with opened(content, max_pixels, longest=LONGEST) as whole:
                jpeg.loaded(whole, content, damaged=False)
        if side:
            image.draft(None, (_DRAFT_GAP * side, _DRAFT_GAP * side))
        turned = upright(image)
        if orientation(image) >= _FIRST_TURNED:
            width, height = height, width
        profile = image.info.get("icc_profile") or profiles.of_exif(image)
        if profile and turned.mode == "RGB":
            turned = Image.fromarray(profiles.to_srgb(np.asarray(turned), profile)[0])
        return Decoded(turned if turned.mode == "RGB" else turned.convert("RGB"), digest, width, height)
