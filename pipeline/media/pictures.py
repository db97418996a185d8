"""Read and write picture files with their EXIF, XMP, resolution, transparency and 16 bits."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from pipeline.errors import ImageError
from pipeline.files import replacing
from pipeline.media import sixteen_bits
from pipeline.media.decoding import opened, orientation, read_bytes, upright
from pipeline.media.metadata import (
    DIRECTORIES,
    XMP_TAG,
    Carried,
    attempts,
    in_srgb,
    lost,
    photograph_tags,
    resolution,
    text_segments,
    texts_of,
    xmp_of,
)
from pipeline.media.provenance import Origin
from pipeline.types import Samples

# Endings of the files that can be written, and Pillow's names of their formats.
WRITABLE = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF", "bmp": "BMP"}
# JPEG, since every program opens it: HEIC and AVIF are not exact either, and a PNG is several times as large.
FROM_PHONES = ("heic", "heif", "avif")
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
    xmp: bytes = b""
    """The packet as it is in the file, "" where there is none."""
    comment: bytes = b""
    """Of a JPEG."""
    iim: bytes = b""
    """Of a JPEG: IPTC's texts from before XMP."""
    lost: tuple[str, ...] = ()
    """What of the file is not in here, such as "2 of its 10 bits"."""


def copy_ending(suffix: str) -> str:
    """The ending of a colored copy: the photograph's own, where it can be written.

    A copy of HEIC or AVIF becomes a JPEG; one of GIF, and of a file without an ending, a PNG.

    Args:
        suffix: of the photograph, such as .jpg.
    """
    ending = suffix.lower().removeprefix(".")
    if ending in WRITABLE:
        return ending
    return "jpg" if ending in FROM_PHONES else "png"


def read_picture(path: Path, max_pixels: int) -> Picture:
    """Read and decode a picture file from anywhere: see `decode_picture`.

    Raises:
        ImageError: no picture that this project decodes; the message is the reason.
    """
    return decode_picture(read_bytes(path, max_pixels, "--max-pixels"), max_pixels)


def decode_picture(content: bytes, max_pixels: int) -> Picture:
    """Decode the bytes of a picture file.

    EXIF orientation is applied. Colors are converted to sRGB by the ICC profile, where there is one. The first frame
    of an animation is read. 10 and 12 bits of HEIC and AVIF become 8: Pillow gives no more of them.

    Raises:
        ImageError: no picture that this project decodes; the message is the reason.
    """
    with opened(content, max_pixels, "--max-pixels") as image:
        # First, because reading EXIF may decode the picture, and then its number of bits is lost.
        deep = sixteen_bits.color(image, content)
        if deep is not None:
            turn = orientation(image)
            pixels, alpha = _upright(deep[0], turn), None if deep[1] is None else _upright(deep[1], turn)
        else:
            pixels, alpha = samples_of(image)
        exif, unread = _exif(image)
        xmp, dpi = xmp_of(image, content), resolution(image)
        left_out = (*unread, *lost(image, content, xmp))
        return Picture(pixels, alpha, exif, dpi, str(image.format), xmp, *texts_of(image), left_out)


def _exif(image: Image.Image) -> tuple[bytes, list[str]]:
    """What of a photograph's EXIF is true of its copy; and its name, where it cannot be read."""
    try:
        exif = image.getexif()
        in_srgb(exif)
        if image.format == "TIFF":
            exif = photograph_tags(exif)
        return exif.tobytes() if len(exif) else b"", []
    except Exception:  # Pillow raises almost anything on tags of odd types
        return b"", ["its EXIF"]


def write_picture(path: Path, rgb: Samples, like: Picture, kind: str, origin: Origin | None = None) -> str:
    """Write what `encode_picture` makes; the file appears whole or not at all.

    Returns:
        What the file could not take over, such as "its EXIF"; "" where it has everything.

    Raises:
        OSError: it cannot be written.
        ImageError: the format does not hold it, as where a side is over 16,383 pixels in WebP.
    """
    content, left_out = encode_picture(rgb, like, kind, origin)
    with replacing(path) as hidden:
        hidden.write_bytes(content)
    return left_out


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
        rgb, alpha = _eight_bits(rgb), None if alpha is None else _eight_bits(alpha)
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


def samples_of(image: Image.Image) -> tuple[Samples, Samples | None]:
    """(H, W) or (H, W, 3) sRGB and alpha: 8-bit pictures of any mode, and 16-bit gray; upright."""
    sixteen_bits.require_scale(image)
    turned = upright(image)
    if turned.mode.startswith("I"):
        samples = np.asarray(turned).clip(0, 65535).astype(np.uint16)
        samples = 65535 - samples if sixteen_bits.zero_is_white(image) else samples
        return sixteen_bits.as_srgb(samples, image.info.get("icc_profile")), None
    alpha = None
    if turned.has_transparency_data:
        with_alpha = turned.convert("RGBA")
        alpha = np.asarray(with_alpha.getchannel("A"))
        turned = turned.convert("L" if turned.mode in ("L", "LA") else "RGB")
    return np.asarray(_as_srgb(turned)), alpha


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


def _encode(rgb: Samples, carried: Carried, kind: str) -> tuple[bytes, list[str]]:
    """The file, and what it could not take over."""
    options = dict(_OPTIONS[kind])
    if carried.dpi:
        options["dpi"] = carried.dpi
    if kind == "TIFF":
        tags = Image.Exif()
        tags.load(carried.exif)
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
    """The same for 16 bits."""
    content, kept_all = sixteen_bits.encode(rgb, carried.exif, carried.xmp, carried.dpi, kind)
    return content, [] if kept_all else ["its EXIF, but for the texts"]
