"""Write 16-bit color, which Pillow cuts to 8 bits."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

from pipeline.media.metadata import keep_texts
from pipeline.media.tiff import XMP, codecs
from pipeline.types import Samples

# A PNG's signature and its header's chunk.
_PNG_HEAD = 33
_METERS_IN_AN_INCH = 0.0254
_OF_WINDOWS = 0x9C9B


def encode(rgb: Samples, exif: bytes, xmp: bytes, dpi: tuple[float, float] | None, kind: str) -> tuple[bytes, bool]:
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
