"""Read and write 16-bit color, which Pillow cuts to 8 bits."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from pipeline.errors import ImageError, missing_extra
from pipeline.types import Samples

# The bytes of an ICC profile's header that name the color space of its pictures.
_COLOR_SPACE = slice(16, 20)
# A PNG's signature and its header's chunk.
_PNG_HEAD = 33
_METERS_IN_AN_INCH = 0.0254
# TIFF's tags (TIFF 6.0, section 8), and PlanarConfiguration's value for planes.
_XMP, _BITS, _INTERPRETATION, _PLANAR, _EXTRA = 0x02BC, 0x0102, 0x0106, 0x011C, 0x0152
_SEPARATE = 2
# Of ExtraSamples: the colors have been multiplied by the transparency.
_PREMULTIPLIED = 1
PLANES = "a 16-bit TIFF of PlanarConfiguration 2 (a plane for each channel); save it with 1 (interleaved)"


def color(image: Image.Image, content: bytes) -> tuple[Samples, Samples | None] | None:
    """Samples and alpha of 16-bit color; None where the file is something else.

    Raises:
        ImageError: it is of a kind that is read nowhere.
    """
    if image.mode.startswith("I") and in_planes(image):
        raise ImageError(PLANES)
    if image.mode not in ("RGB", "RGBA", "LA") or not (in_planes(image) or ";16" in str(getattr(image, "tile", ""))):
        return None
    imagecodecs, tifffile = _codecs()
    if image.format == "PNG":
        samples = imagecodecs.png_decode(content)
    elif image.format == "TIFF":
        samples = tifffile.imread(io.BytesIO(content), key=0)
        if in_planes(image):
            samples = np.moveaxis(samples, 0, -1)
    else:
        return None
    # Pillow gives the upright size of a turned TIFF.
    if samples.dtype != np.uint16 or sorted(samples.shape[:2]) != sorted(image.size) or samples.ndim != 3:
        raise ImageError(f"unreadable: 16-bit {image.format} of shape {samples.shape}")
    profile = image.info.get("icc_profile")
    if samples.shape[2] in (2, 4):
        colors, alpha = samples[..., :-1].squeeze(), samples[..., -1]
        if image.format == "TIFF" and image.tag_v2.get(_EXTRA, (0,))[0] == _PREMULTIPLIED:  # type: ignore[attr-defined]
            colors = _divided(colors, alpha)
        return as_srgb(np.ascontiguousarray(colors), profile), alpha
    return as_srgb(np.ascontiguousarray(samples[..., :3]), profile), None


def require_scale(image: Image.Image) -> None:
    """Raises:
    ImageError: its samples are numbers of which nobody says what white is.
    """
    integers = image.format == "TIFF" and max(image.tag_v2.get(_BITS, (8,))) > 16  # type: ignore[attr-defined]
    if image.mode == "F" or integers:
        kind = "floating-point numbers" if image.mode == "F" else "integers of 32 bits"
        raise ImageError(f"its samples are {kind}, whose scale is not known; save it with 16 or 8 bits")


def in_planes(image: Image.Image) -> bool:
    """Whether it is a 16-bit TIFF with a plane for each channel: Pillow reads one byte a sample, and no gray."""
    if image.format != "TIFF":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    return bool(tags.get(_PLANAR) == _SEPARATE and max(tags.get(_BITS, (8,))) == 16)


def zero_is_white(image: Image.Image) -> bool:
    """Whether it is a 16-bit gray TIFF of that kind (TIFF 6.0, section 3): Pillow inverts those of 8 bits alone."""
    return image.format == "TIFF" and image.mode.startswith("I") and image.tag_v2.get(_INTERPRETATION) == 0  # type: ignore[attr-defined]


def as_srgb(samples: Samples, profile: bytes | None) -> Samples:
    """(H, W) or (H, W, 3) uint16 converted to sRGB by the ICC profile; unchanged where there is none that fits."""
    space = {2: b"GRAY", 3: b"RGB "}[samples.ndim]
    if not profile or profile[_COLOR_SPACE] != space:
        return samples
    imagecodecs, _ = _codecs()
    name = space.decode().strip().lower()
    try:
        converted: Samples = imagecodecs.cms_transform(
            samples, profile, imagecodecs.cms_profile("srgb"), colorspace=name, outcolorspace="rgb"
        )
    except (imagecodecs.CmsError, ValueError):  # a damaged profile: as if there were none
        return samples
    return converted


def encode(rgb: Samples, exif: bytes, xmp: bytes, dpi: tuple[float, float] | None, kind: str) -> tuple[bytes, bool]:
    """(H, W, 3 or 4) uint16 as PNG or TIFF, with EXIF, XMP and resolution; and whether it holds the whole EXIF.

    A TIFF gets only the texts among its EXIF.
    """
    imagecodecs, tifffile = _codecs()
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
    texts = [(tag, "s", 0, text, True) for tag, text in sorted(tags.items()) if isinstance(text, str)]
    packet = [(_XMP, "B", len(xmp), xmp, True)] if xmp else []
    options: dict[str, Any] = {"resolution": dpi, "resolutionunit": "INCH"} if dpi else {}
    if rgb.shape[2] == 4:
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(buffer, rgb, photometric="rgb", compression="adobe_deflate", metadata=None, software=False,
                     extratags=[*texts, *packet], **options)  # fmt: skip
    return buffer.getvalue(), len(texts) == len(tags)


def _divided(colors: Samples, alpha: Samples) -> Samples:
    """(H, W, 3) uint16 as they were before they were multiplied by the (H, W) transparency."""
    shares = np.maximum(alpha, 1)[..., None].astype(np.float32) / 65535
    return (colors / shares + 0.5).clip(0, 65535).astype(np.uint16)


def _codecs() -> tuple[Any, Any]:
    """The modules imagecodecs and tifffile, which coloring pictures of 8 bits does not need.

    Raises:
        ImageError: they are not installed.
    """
    try:
        import imagecodecs
        import tifffile
    except ImportError as error:
        raise ImageError(missing_extra(f"16-bit pictures need {error.name}", "sixteen-bit")) from None
    return imagecodecs, tifffile


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
