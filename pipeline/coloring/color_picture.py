"""Color one photograph and encode it, with what is to be said of it: for the command line, a pipe and the page."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import CutOffError, LimitError, TwotoneError
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.media.pictures import Picture
from pipeline.media.provenance import Origin
from pipeline.media.writing import JPEG_QUALITY, encode_picture
from pipeline.types import Samples


@dataclass(frozen=True)
class ColoredPicture:
    """A colored photograph."""

    rgb: Samples
    """(H, W, 3) sRGB, uint8 or uint16 as the photograph."""
    content: bytes
    """Of its file."""
    notes: tuple[str, ...]
    """How the photograph was read, and what the copy has not of it, in a sentence each."""


def color_picture(
    picture: Picture,
    colorizer: Colorizer,
    coloring: ColoringOptions,
    kind: str,
    origin: Origin | None,
    jpeg_quality: int = JPEG_QUALITY,
) -> ColoredPicture:
    """Color a photograph and encode it with all that belongs to it.

    Args:
        kind: the format of the copy, as Pillow calls it.
        origin: what colors it, to be said in the copy's XMP.

    Raises:
        ImageError: the format does not hold it.
        ValueError: the photograph is too long for the network, or an option is out of its range.
    """
    rgb = colorizer.color(picture.pixels, coloring)
    content, left_out = encode_picture(rgb, picture, kind, origin, jpeg_quality)
    gone = [f"{what} could not be taken over" for what in [*picture.lost, left_out] if what]
    return ColoredPicture(rgb, content, tuple(dict.fromkeys([*picture.notes, *gone])))


def advised(error: TwotoneError) -> str:
    """Return the sentence of an error, with the options that help against it."""
    if isinstance(error, LimitError):
        return error.naming("--max-pixels")
    return f"{error}; --damaged colors what is there" if isinstance(error, CutOffError) else str(error)


def side_by_side(
    picture: Picture, rgb: Samples, kind: str, origin: Origin | None, jpeg_quality: int = JPEG_QUALITY
) -> bytes:
    """Encode the photograph and its colored copy beside each other."""
    before = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[..., None], 3, 2)
    content, _ = encode_picture(
        np.concatenate([before, rgb], 1), replace(picture, alpha=None), kind, origin, jpeg_quality
    )
    return content
