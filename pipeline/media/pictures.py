"""Read and write picture files with their EXIF, resolution, transparency and 16 bits."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from pipeline.errors import ImageError
from pipeline.files import replacing
from pipeline.media import sixteen_bits
from pipeline.media.decoding import ORIENTATION, opened, read_bytes
from pipeline.types import Samples

# Endings of the files that can be written, and Pillow's names of their formats.
WRITABLE = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF", "bmp": "BMP"}
_SIXTEEN_BITS = ("PNG", "TIFF")
_TRANSPARENT = ("PNG", "WEBP", "TIFF")
# In a TIFF the same directory holds EXIF and the layout of its samples: only tags about the photograph are copied.
_TEXTS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
_DIRECTORIES = (0x8769, 0x8825)
# Finer than any scanner; PNG and BMP hold no more than some 100 million.
_FINEST_DPI = 1e5
# JPEG as 4:4:4: its usual subsampling would halve the resolution of the color.
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "method": 2},
    "PNG": {"compress_level": 3},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "BMP": {},
}


@dataclass(frozen=True)
class Picture:
    """A decoded photograph, upright, in sRGB."""

    pixels: Samples
    """(H, W, 3) or, where the file is gray, (H, W); uint8, or uint16 where the file has 16 bits."""
    alpha: Samples | None
    """(H, W), of the same type."""
    exif: bytes
    """Without the orientation, which has been applied."""
    dpi: tuple[float, float] | None
    format: str
    """As Pillow calls it."""


def read_picture(path: Path, max_pixels: int) -> Picture:
    """Decode a picture file from anywhere.

    EXIF orientation is applied. Colors are converted to sRGB by the ICC profile, where there is one. The first frame
    of an animation is read.

    Raises:
        ImageError: no picture that this project decodes; the message is the reason.
    """
    content = read_bytes(path, max_pixels, "--max-pixels")
    with opened(content, max_pixels, "--max-pixels") as image:
        # First, because reading EXIF may decode the picture, and then its number of bits is lost.
        deep = sixteen_bits.color(image, content)
        exif = image.getexif()
        orientation = exif.get(ORIENTATION, 1)
        if deep is not None:
            pixels, alpha = deep
            pixels = _upright(pixels, orientation)
            alpha = None if alpha is None else _upright(alpha, orientation)
        else:
            pixels, alpha = samples_of(image)
        exif.pop(ORIENTATION, None)
        if image.format == "TIFF":
            exif = _photograph_tags(exif)
        dpi = image.info.get("dpi")
        dpi = (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 and max(dpi) < _FINEST_DPI else None
        return Picture(pixels, alpha, exif.tobytes() if len(exif) else b"", dpi, str(image.format))


def write_picture(path: Path, rgb: Samples, like: Picture, kind: str) -> str:
    """Write (H, W, 3) sRGB with the EXIF, resolution and transparency of `like`; the file appears whole or not at all.

    16 bits are kept in PNG and TIFF, transparency in PNG, WebP and TIFF; elsewhere it is laid over white.

    Returns:
        What the file could not take over, such as "its EXIF"; "" where it has everything.

    Raises:
        OSError: it cannot be written.
        ImageError: the format does not hold it, as where a side is over 16,383 pixels in WebP.
    """
    alpha = like.alpha
    if kind not in _SIXTEEN_BITS:
        rgb, alpha = _eight_bits(rgb), None if alpha is None else _eight_bits(alpha)
    if alpha is not None and kind in _TRANSPARENT:
        rgb = np.dstack([rgb, alpha])
    elif alpha is not None:
        rgb = _over_white(rgb, alpha)
    content, left_out = _encode_deep(rgb, like, kind) if rgb.dtype == np.uint16 else _encode(rgb, like, kind)
    with replacing(path) as hidden:
        hidden.write_bytes(content)
    return left_out


def samples_of(image: Image.Image) -> tuple[Samples, Samples | None]:
    """(H, W) or (H, W, 3) sRGB and alpha: 8-bit pictures of any mode, and 16-bit gray; upright."""
    # Pillow copies even where nothing is to be turned or converted: 192 MB for 48 megapixels.
    upright = image if image.getexif().get(ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise ImageError("its samples are floating-point numbers, whose scale is not known; save it with 16 or 8 bits")
    if upright.mode.startswith("I"):
        samples = np.asarray(upright).clip(0, 65535).astype(np.uint16)
        return sixteen_bits.as_srgb(samples, image.info.get("icc_profile")), None
    alpha = None
    if upright.has_transparency_data:
        with_alpha = upright.convert("RGBA")
        alpha = np.asarray(with_alpha.getchannel("A"))
        upright = upright.convert("L" if upright.mode in ("L", "LA") else "RGB")
    return np.asarray(_as_srgb(upright)), alpha


def _photograph_tags(exif: Image.Exif) -> Image.Exif:
    copied = Image.Exif()
    for tag in _TEXTS:
        if tag in exif:
            copied[tag] = exif[tag]
    for directory in _DIRECTORIES:
        tags = exif.get_ifd(directory)
        if tags:
            copied.get_ifd(directory).update(tags)
    return copied


def _as_srgb(image: Image.Image) -> Image.Image:
    """L stays L unless a profile says that its values are not sRGB's."""
    profile = image.info.get("icc_profile")
    if profile and image.mode == "P":
        image = image.convert("RGB")
    if profile and image.mode in ("L", "RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None  # a damaged profile, or one of another kind of picture: as if there were none
        if converted is not None:
            return converted
    mode = "L" if image.mode in ("L", "1") else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _upright(samples: Samples, orientation: int) -> Samples:
    turned = {
        2: lambda s: s[:, ::-1],
        3: lambda s: s[::-1, ::-1],
        4: lambda s: s[::-1],
        5: lambda s: s.swapaxes(0, 1),
        6: lambda s: np.rot90(s, -1),
        7: lambda s: s[::-1, ::-1].swapaxes(0, 1),
        8: lambda s: np.rot90(s, 1),
    }.get(orientation, lambda s: s)(samples)
    return np.ascontiguousarray(turned)


def _eight_bits(samples: Samples) -> Samples:
    """Rounded: 65,535 is 257 times 255."""
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _over_white(rgb: Samples, alpha: Samples) -> Samples:
    layer = Image.fromarray(np.dstack([rgb, alpha]))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))


def _encode(rgb: Samples, like: Picture, kind: str) -> tuple[bytes, str]:
    """The file, and what it could not take over."""
    image, problem = Image.fromarray(rgb), ""
    for options, left_out in _attempts(like, kind):
        buffer = io.BytesIO()
        try:
            image.save(buffer, kind, **{**_OPTIONS[kind], **options})
            return buffer.getvalue(), left_out
        except Exception as error:  # an encoder raises almost anything on odd tags
            problem = problem or f"{type(error).__name__}: {error}"
    raise ImageError(f"cannot be written as {kind}: {problem}")


def _attempts(like: Picture, kind: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Options of Pillow's encoder, the most complete ones first, and what each leaves out."""
    dpi = {"dpi": like.dpi} if like.dpi and kind != "WEBP" else {}
    if kind == "TIFF" and _has_directories(like.exif):
        # Only Pillow's own writer holds EXIF's directories, and it does not compress.
        yield {**dpi, "exif": like.exif, "compression": "raw"}, ""
    elif like.exif and kind != "BMP":
        yield {**dpi, "exif": like.exif}, ""
    exif = "its EXIF" if like.exif else ""
    yield dpi, exif
    if dpi:
        yield {}, f"{exif} and its resolution" if exif else "its resolution"


def _has_directories(exif: bytes) -> bool:
    tags = Image.Exif()
    try:
        tags.load(exif)
    except Exception:  # Pillow raises many kinds on damaged EXIF
        return False
    return any(directory in tags for directory in _DIRECTORIES)


def _encode_deep(rgb: Samples, like: Picture, kind: str) -> tuple[bytes, str]:
    """The same for 16 bits."""
    attempts = [(like.exif, like.dpi, ""), (b"", like.dpi, "its EXIF"), (b"", None, "its EXIF and its resolution")]
    problem = ""
    for exif, dpi, left_out in attempts:
        try:
            content, kept_all = sixteen_bits.encode(rgb, exif, dpi, kind)
            return content, left_out or ("" if kept_all else "its EXIF, but for the texts")
        except Exception as error:  # as above
            problem = problem or f"{type(error).__name__}: {error}"
    raise ImageError(f"cannot be written as {kind}: {problem}")
