"""Write colored pictures with the EXIF, XMP, resolution, transparency and 16 bits of the photographs they are of."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.errors import ImageError
from pipeline.media import sixteen_bits
from pipeline.media.metadata import DIRECTORIES, XMP_TAG, Carried, attempts, keep_texts, text_segments
from pipeline.media.pictures import Picture
from pipeline.media.provenance import Origin
from pipeline.types import Samples

# Endings of the files that can be written, and Pillow's names of their formats.
WRITABLE = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF", "bmp": "BMP"}
# JPEG, since every program opens it: HEIC and AVIF are not exact either, and a PNG is several times as large.
FROM_PHONES = ("heic", "heif", "avif")
# Rarer endings of JPEG, which some programs do not know.
RARE_JPEGS = ("jfif", "jpe", "jif")
_SIXTEEN_BITS = ("PNG", "TIFF")
_TRANSPARENT = ("PNG", "WEBP", "TIFF")
# JPEG as 4:4:4: its usual subsampling would halve the resolution of the color.
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "method": 2},
    "PNG": {"compress_level": 3},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "BMP": {},
}


def copy_ending(suffix: str) -> str:
    """Return the ending of a colored copy: the photograph's own, where it can be written.

    A copy of HEIC or AVIF becomes a JPEG, as does one of .jfif; one of GIF, and of a file without an ending, a PNG.

    Args:
        suffix: of the photograph, such as .jpg.
    """
    ending = suffix.lower().removeprefix(".")
    if ending in WRITABLE:
        return ending
    return "jpg" if ending in (*FROM_PHONES, *RARE_JPEGS) else "png"


def encode_picture(rgb: Samples, like: Picture, kind: str, origin: Origin | None = None) -> tuple[bytes, str]:
    """(H, W, 3) sRGB as a file with the EXIF, XMP, resolution, texts and transparency of `like`.

    16 bits are kept in PNG and TIFF, transparency in PNG, WebP and TIFF; elsewhere it is laid over white.

    Args:
        kind: the format, as Pillow calls it.
        origin: what has colored it, to be said in the XMP; without it no XMP is written.

    Returns:
        The file; and what it could not take over, such as "its EXIF", or "" where it has everything.

    Raises:
        ImageError: the format does not hold it, as where a side is over 16,383 pixels in WebP.
    """
    alpha, hidden = like.alpha, []
    if kind not in _SIXTEEN_BITS:
        rgb, alpha = eight_bits(rgb), None if alpha is None else eight_bits(alpha)
    if alpha is not None and kind in _TRANSPARENT:
        rgb = np.dstack([rgb, alpha])
    elif alpha is not None:
        hidden = ["its transparency"] if alpha.min() < np.iinfo(alpha.dtype).max else []
        rgb = _over_white(rgb, alpha)
    encode, problem = _encode_deep if rgb.dtype == np.uint16 else _encode, ""
    own = Carried(like.exif, like.xmp, like.dpi, like.comment, like.iim)
    for carried, left_out in attempts(own, kind, origin):
        try:
            content, more = encode(rgb, carried, kind)
            return content, " and ".join([*hidden, *left_out, *more])
        except Exception as error:  # an encoder raises almost anything on odd tags
            problem = problem or f"{type(error).__name__}: {error}"
    raise ImageError(f"cannot be written as {kind}: {problem}")


def eight_bits(samples: Samples) -> Samples:
    """Round to 8 bits: 65,535 is 257 times 255."""
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _over_white(rgb: Samples, alpha: Samples) -> Samples:
    layer = Image.fromarray(np.dstack([rgb, alpha]))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))


def _encode(rgb: Samples, carried: Carried, kind: str) -> tuple[bytes, list[str]]:
    """Encode the file; return it, and what it could not take over."""
    options = dict(_OPTIONS[kind])
    if carried.dpi:
        options["dpi"] = carried.dpi
    if kind == "TIFF":
        tags = Image.Exif()
        tags.load(carried.exif)
        keep_texts(tags)
        if any(directory in tags for directory in DIRECTORIES):
            # Only Pillow's own writer holds EXIF's directories, and it does not compress.
            options["compression"] = "raw"
        if carried.xmp:
            tags[XMP_TAG] = carried.xmp
        options["exif"] = tags
    elif carried.exif:
        options["exif"] = carried.exif
    if carried.xmp and kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", carried.xmp.decode())
    elif carried.xmp and kind != "TIFF":
        options["xmp"] = carried.xmp
    if kind == "JPEG":
        # Not as Pillow's `comment`, for which it keeps no room beside a long EXIF.
        options["extra"] = text_segments(carried)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind, **options)
    return buffer.getvalue(), []


def _encode_deep(rgb: Samples, carried: Carried, kind: str) -> tuple[bytes, list[str]]:
    """Encode 16 bits likewise."""
    content, kept_all = sixteen_bits.encode(rgb, carried.exif, carried.xmp, carried.dpi, kind)
    return content, [] if kept_all else ["its EXIF, but for the texts"]
