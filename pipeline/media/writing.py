"""Write colored pictures with the EXIF, XMP, resolution, transparency and 16 bits of the photographs they are of."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.errors import ImageError
from pipeline.media.metadata import DIRECTORIES, INTEROPERABILITY, XMP_TAG, Carried, attempts, keep_texts, text_segments
from pipeline.media.pictures import Picture
from pipeline.media.provenance import Origin
from pipeline.media.tiff import XMP, codecs
from pipeline.types import Samples

# A PNG's signature and its header's chunk.
_PNG_HEAD = 33
_METERS_IN_AN_INCH = 0.0254
_OF_WINDOWS = 0x9C9B


def _encode_sixteen_bits(
    rgb: Samples, exif: bytes, xmp: bytes, dpi: tuple[float, float] | None, kind: str
) -> tuple[bytes, bool]:
    """(H, W, 3 or 4) uint16 as PNG or TIFF, with EXIF, XMP and resolution; and whether it holds the whole EXIF.

    A TIFF gets only the texts among its EXIF.
    """
    imagecodecs, tifffile = codecs()
    if kind == "PNG":
        chunks = _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) if exif else b""
        if xmp:
            # Not compressed, and without a language: XMP specification, part 3, 1.1.5.
            chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp" + b"\0" * 5 + xmp)
        if dpi:
            chunks += _chunk(b"pHYs", struct.pack(">IIB", *(round(n / _METERS_IN_AN_INCH) for n in dpi), 1))
        png = bytes(imagecodecs.png_encode(rgb, level=3))
        return png[:_PNG_HEAD] + chunks + png[_PNG_HEAD:], True
    buffer = io.BytesIO()
    tags = Image.Exif()
    tags.load(exif)
    keep_texts(tags)
    # Texts that are not in ASCII are bytes by now, and so are those of Windows, which are no texts to TIFF.
    texts = [
        (tag, "B" if tag >= _OF_WINDOWS else "s", 0 if isinstance(text, str) else len(text), text, True)
        for tag, text in sorted(tags.items())
        if isinstance(text, str | bytes)
    ]
    packet = [(XMP, "B", len(xmp), xmp, True)] if xmp else []
    options: dict[str, Any] = {"resolution": dpi, "resolutionunit": "INCH"} if dpi else {}
    if rgb.shape[2] == 4:
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(buffer, rgb, photometric="rgb", compression="adobe_deflate", metadata=None, software=False,
                     extratags=[*texts, *packet], **options)  # fmt: skip
    return buffer.getvalue(), len(texts) == len(tags)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


# Endings of the files that can be written, and Pillow's names of their formats.
WRITABLE = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF", "bmp": "BMP"}
# JPEG, since every program opens it: HEIC and AVIF are not exact either, and a PNG is several times as large.
FROM_PHONES = ("heic", "heif", "avif")
# Rarer endings of JPEG, which some programs do not know.
RARE_JPEGS = ("jfif", "jpe", "jif")
_SIXTEEN_BITS = ("PNG", "TIFF")
_TRANSPARENT = ("PNG", "WEBP", "TIFF")
# JPEG as 4:4:4: its usual subsampling would halve the resolution of the color.
JPEG_QUALITY = 95
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"subsampling": 0},
    "WEBP": {"lossless": True, "method": 2, "exact": True},  # exact also where nothing is seen of it
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


def encode_picture(
    rgb: Samples, like: Picture, kind: str, origin: Origin | None = None, jpeg_quality: int = JPEG_QUALITY
) -> tuple[bytes, str]:
    """(H, W, 3) sRGB as a file with the EXIF, XMP, resolution, texts and transparency of `like`.

    16 bits are kept in PNG and TIFF, transparency in PNG, WebP and TIFF; elsewhere it is laid over white.

    Args:
        kind: the format, as Pillow calls it.
        origin: what has colored it, to be said in the XMP; without it no XMP is written.
        jpeg_quality: of JPEG, 1 to 100.

    Returns:
        The file; and what it could not take over, such as "its EXIF", or "" where it has everything.

    Raises:
        ImageError: the format does not hold it, as where a side is over 16,383 pixels in WebP.
    """
    alpha, hidden = like.alpha, list[str]()
    if kind not in _SIXTEEN_BITS:
        hidden += ["8 of its 16 bits"] if rgb.dtype == np.uint16 else []
        rgb, alpha = eight_bits(rgb), None if alpha is None else eight_bits(alpha)
    if alpha is not None and kind in _TRANSPARENT:
        rgb = np.dstack([rgb, alpha])
    elif alpha is not None:
        hidden += ["its transparency"] if alpha.min() < np.iinfo(alpha.dtype).max else []
        rgb = over_white(rgb, alpha)
    problem = ""
    encode: Callable[[Samples, Carried, str], tuple[bytes, list[str]]] = partial(_encode, jpeg_quality=jpeg_quality)
    if rgb.dtype == np.uint16:
        codecs()  # whose absence is no fault of the picture
        encode = _encode_deep
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


def over_white(rgb: Samples, alpha: Samples) -> Samples:
    """Lay a picture with transparency over white: (H, W, 3) or (H, W) uint8 and (H, W) -> (H, W, 3)."""
    layer = Image.fromarray(rgb).convert("RGB")
    layer.putalpha(Image.fromarray(alpha))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))


def _encode(rgb: Samples, carried: Carried, kind: str, jpeg_quality: int) -> tuple[bytes, list[str]]:
    """Encode the file; return it, and what it could not take over."""
    options = dict(_OPTIONS[kind])
    if carried.dpi:
        options["dpi"] = carried.dpi
    if kind == "TIFF":
        tags = Image.Exif()
        tags.load(carried.exif)
        keep_texts(tags)
        # Pillow writes the place of a directory that it does not write.
        if DIRECTORIES[0] in tags:
            tags.get_ifd(DIRECTORIES[0]).pop(INTEROPERABILITY, None)
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
    elif carried.xmp and kind not in ("TIFF", "BMP"):
        options["xmp"] = carried.xmp
    if kind == "JPEG":
        options["quality"] = jpeg_quality
        # Not as Pillow's `comment`, for which it keeps no room beside a long EXIF.
        options["extra"] = text_segments(carried)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind, **options)
    # A BMP has no place for it: behind the pixels no program looks, and this one finds it.
    return buffer.getvalue() + (carried.xmp if kind == "BMP" else b""), []


def _encode_deep(rgb: Samples, carried: Carried, kind: str) -> tuple[bytes, list[str]]:
    """Encode 16 bits likewise."""
    content, kept_all = _encode_sixteen_bits(rgb, carried.exif, carried.xmp, carried.dpi, kind)
    return content, [] if kept_all else ["its EXIF, but for the texts"]
