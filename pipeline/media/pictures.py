"""Read picture files from anywhere: their samples in sRGB, upright, and what belongs to them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import CutOffError, ImageError
from pipeline.media import png, profiles, tiff
from pipeline.media.decoding import loaded, opened, orientation, read_bytes, require_bounds, turned
from pipeline.media.metadata import in_srgb, lost, photograph_tags, resolution, texts_of, tiff_resolution, xmp_of
from pipeline.media.provenance import without_regions
from pipeline.types import Samples

# From this orientation on, rows and columns are exchanged.
_FIRST_TURNED = 5


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
    notes: tuple[str, ...] = ()
    """What else is worth knowing of how it was read, in a sentence each."""


def read_picture(path: Path, max_pixels: int, *, damaged: bool = False) -> Picture:
    """Read and decode a picture file from anywhere: see `decode_picture`.

    Raises:
        ImageError: no picture that this project decodes; the message is the reason.
    """
    return decode_picture(read_bytes(path, max_pixels), max_pixels, damaged=damaged)


def decode_picture(content: bytes, max_pixels: int, longest: float = math.inf, *, damaged: bool = False) -> Picture:
    """Decode the bytes of a picture file.

    EXIF orientation is applied. Colors are converted to sRGB from the color space that the file states: by an ICC
    profile; in PNG also by cICP, gAMA and cHRM, in AVIF and HEIC by code points, in JPEG by EXIF's Adobe RGB. Of a
    TIFF, the largest page is read that is no smaller copy of another; of an animation, the first frame. 10 and 12 bits
    of HEIC and AVIF become 8: Pillow gives no more of them.

    Args:
        longest: how many times the short side the long one may be.
        damaged: whether to take what is there of a file that is cut off.

    Raises:
        ImageError: no picture that this project decodes; the message is the reason.
    """
    page, further = None, 0
    if content.startswith(tiff.BEGINNINGS):
        page, further = tiff.photograph(content)
        require_bounds(*page.size, max_pixels, longest)
        page.require_meaning()
        if not page.is_plain:
            return _odd_tiff(content, page, further, damaged)
    try:
        return _plain(content, max_pixels, page, further, longest, damaged)
    except ImageError:
        if not (page and damaged):
            raise
        # Of most compressions, Pillow gives nothing of a page that is cut off.
        return _odd_tiff(content, page, further, damaged)


def _plain(
    content: bytes,
    max_pixels: int,
    page: tiff.Page | None,
    further: int,
    longest: float,
    damaged: bool,
) -> Picture:
    """Decode what Pillow reads."""
    with opened(content, max_pixels, page.number[0] if page else 0, longest) as image:
        # First, because reading EXIF may decode the picture, and then its number of bits is lost.
        deep, deep_lost = _sixteen_bit_color(image, content, damaged)
        whole, missing = loaded(image, content, damaged)
        samples, alpha, unused = _samples(image, whole, deep, content)
        # What Pillow has cut has no tags, and what is cut off cannot be decoded again.
        tagged = whole if whole.format else image
        # A TIFF was turned while it was decoded, and does not say so any more.
        turn = _turn_of(page) if page else orientation(image)
        exif, unread = _exif(tagged.getexif, image.format == "TIFF", turn)
        xmp, dpi = xmp_of(tagged, content), _turned_dpi(resolution(tagged), turn)
        left_out = (*unread, *lost(tagged, content, xmp, page, further, turn > 1))
        notes = (*missing, *deep_lost, *_not_used(unused))
        kept = without_regions(xmp) if turn > 1 else xmp
        return Picture(samples, alpha, exif, dpi, str(image.format), kept, *texts_of(tagged), left_out, notes)


def _turn_of(page: tiff.Page) -> int:
    """Return how a page of a TIFF has to be turned, 1 to 8; 1 where it says nothing that can be understood."""
    found = page.tags.get(tiff.ORIENTATION, 1)
    return found if isinstance(found, int) and found in range(1, 9) else 1


def _odd_tiff(content: bytes, page: tiff.Page, further: int, damaged: bool) -> Picture:
    """Decode a page of a TIFF that Pillow does not read, or not right."""
    samples, alpha, whole = tiff.samples(content, page, damaged)
    if samples.ndim == 3 and samples.shape[2] == 4:
        samples, unused = _from_inks(samples, page.tags.get(tiff.PROFILE))
    else:
        samples, unused = profiles.to_srgb(samples, page.tags.get(tiff.PROFILE))
    turn = _turn_of(page)
    tags = Image.Exif()

    def read_tags() -> Image.Exif:
        tags.endian, tags.bigtiff = "<" if content.startswith(b"II") else ">", b"+" in content[2:4]
        tags.load_from_fp(io.BytesIO(content), page.offset)
        return tags

    exif, unread = _exif(read_tags, True, turn)
    found = page.tags.get(tiff.XMP, b"")
    xmp = found if isinstance(found, bytes) else b""
    left_out, notes = (*unread, *lost(None, content, xmp, page, further, turn > 1)), _not_used(unused)
    notes += [] if whole else ["what was missing of it is black"]
    hidden, dpi = None if alpha is None else _upright(alpha, turn), _turned_dpi(tiff_resolution(page.tags), turn)
    kept = without_regions(xmp) if turn > 1 else xmp
    return Picture(_upright(samples, turn), hidden, exif, dpi, "TIFF", kept, lost=left_out, notes=tuple(notes))


def _turned_dpi(dpi: tuple[float, float] | None, orientation: int) -> tuple[float, float] | None:
    """Return the resolution across and down of a picture that was made upright."""
    return (dpi[1], dpi[0]) if dpi and orientation >= _FIRST_TURNED else dpi


def _exif(read: Callable[[], Image.Exif], tiff: bool, orientation: int) -> tuple[bytes, list[str]]:
    """Return what of a photograph's EXIF is true of its copy; and its name, where it cannot be read."""
    try:
        exif = read()
        in_srgb(exif, orientation >= _FIRST_TURNED)
        if tiff:
            exif = photograph_tags(exif)
        return exif.tobytes() if len(exif) else b"", []
    except Exception:  # Pillow raises almost anything on tags of odd types
        return b"", ["its EXIF"]


def samples_of(image: Image.Image) -> tuple[Samples, Samples | None]:
    """Return the samples of a picture that Pillow has opened: (H, W) or (H, W, 3) sRGB, and alpha; upright.

    Raises:
        ImageError: its samples have no known scale, or Pillow does not read its kind right.
    """
    if image.mode == "I" and not image.format:
        raise ImageError('its samples are integers of 32 bits, whose scale is not known; convert it to "I;16" or "L"')
    if image.format == "TIFF" and hasattr(image, "tag_v2"):
        page = tiff.Page((0,), 0, dict(image.tag_v2))
        page.require_meaning()
        if not page.is_plain:
            raise ImageError("a kind of TIFF that Pillow does not read right; `twotone colorize` does")
    image.load()
    samples, alpha, _ = _samples(image, image, None, b"")
    return samples, alpha


def _samples(
    image: Image.Image, whole: Image.Image, deep: Samples | None, content: bytes
) -> tuple[Samples, Samples | None, str]:
    """Return the samples in sRGB and their transparency, upright; and which statement about color was not used.

    Args:
        image: as it was opened.
        whole: the same, decoded; or what there is of it.
        deep: (H, W, 2 to 4) uint16, where Pillow gives 8 of 16 bits.
        content: of the file; b"" where only Pillow knows it.
    """
    # A TIFF was turned while it was decoded, also where its end is missing.
    chunks, turn = png.chunks(content), orientation(whole if image.format == "TIFF" else image)
    profile = _stated(image, content, chunks.get(b"cICP", b""))
    if deep is not None:
        colors, hidden = (deep, None) if deep.shape[2] == 3 else (deep[..., :-1].squeeze(), deep[..., -1])
        samples, unused = profiles.to_srgb(np.ascontiguousarray(colors), profile)
        return _upright(samples, turn), None if hidden is None else _upright(hidden, turn), unused
    samples, alpha = _of_pillow(turned(whole, turn))
    if samples.ndim == 2:
        hidden = png.transparent_gray(chunks, samples)
        alpha = alpha if hidden is None else hidden
    if samples.ndim == 3 and samples.shape[2] == 4:
        samples, unused = _from_inks(samples, profile)
    else:
        samples, unused = profiles.to_srgb(samples, profile)
    return samples, alpha, unused


def _stated(image: Image.Image, content: bytes, code_points: bytes) -> bytes | None:
    """Return the ICC profile of the color space that a file states; None for sRGB, and where it states none."""
    gray = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
    if image.format == "PNG":
        return profiles.of_png(image.info, code_points, gray)
    found: bytes | None = image.info.get("icc_profile")
    if image.format in ("BMP", "DIB"):
        return profiles.of_bmp(content)
    if not found and image.format in ("AVIF", "HEIF"):
        return profiles.of_boxes(content, gray)
    if not found and image.format in ("JPEG", "MPO") and image.mode == "RGB":
        return profiles.of_exif(image)
    return found


def _sixteen_bit_color(image: Image.Image, content: bytes, damaged: bool) -> tuple[Samples | None, list[str]]:
    """Return the samples of a PNG of 16 bits in color or with transparency, (H, W, 2 to 4) uint16; None of all else.

    And what is lost of one that is cut off, of which Pillow reads what is there.
    """
    if image.format != "PNG" or not content or ";16" not in str(getattr(image, "tile", "")) or image.mode[0] == "I":
        return None, []
    imagecodecs, _ = tiff.codecs()
    try:
        samples: Samples = imagecodecs.png_decode(content)
    except Exception:  # a decoder raises almost anything on damaged or hostile bytes
        if damaged:
            return None, ["8 of its 16 bits were lost"]
        raise CutOffError("unreadable: it is cut off or damaged") from None
    if samples.dtype != np.uint16 or samples.shape[:2] != image.size[::-1] or samples.ndim != 3:
        raise ImageError(f"unreadable: 16-bit PNG of shape {samples.shape}")
    return samples, []


def _of_pillow(image: Image.Image) -> tuple[Samples, Samples | None]:
    """Return the samples of an upright picture, (H, W), (H, W, 3), or (H, W, 4) of inks; and its transparency."""
    if image.mode == "F":
        raise ImageError("its samples are floating-point numbers, whose scale is not known; save it with 16 or 8 bits")
    if image.mode.startswith("I"):
        samples = np.asarray(image).clip(0, 65535).astype(np.uint16)
        key = image.info.get("transparency")
        hidden = np.where(samples == key, 0, 65535).astype(np.uint16) if isinstance(key, int) else None
        return samples, hidden
    alpha = None
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        alpha = np.asarray(with_alpha.getchannel("A"))
        image = with_alpha.convert("L" if image.mode in ("L", "LA") else "RGB")
    mode = {"1": "L", "L": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    return np.asarray(image if image.mode == mode else image.convert(mode)), alpha


def _from_inks(samples: Samples, profile: bytes | None) -> tuple[Samples, str]:
    """Convert (H, W, 4) cyan, magenta, yellow and black to (H, W, 3) uint8 sRGB; 16 bits become 8."""
    eight = samples if samples.dtype == np.uint8 else np.asarray((samples.astype(np.uint32) + 128) // 257, np.uint8)
    image = Image.fromarray(eight, "CMYK")
    return profiles.of_inks(image, profile) if profile else (np.asarray(image.convert("RGB")), "")


def _not_used(what: str) -> list[str]:
    return [f"{what} was not used"] if what else []


def _upright(samples: Samples, orientation: int) -> Samples:
    """Return samples turned and mirrored as EXIF's orientation asks, 1 to 8."""
    made = {
        2: lambda s: s[:, ::-1],
        3: lambda s: s[::-1, ::-1],
        4: lambda s: s[::-1],
        5: lambda s: s.swapaxes(0, 1),
        6: lambda s: np.rot90(s, -1),
        7: lambda s: s[::-1, ::-1].swapaxes(0, 1),
        8: lambda s: np.rot90(s, 1),
    }.get(orientation, lambda s: s)(samples)
    return np.ascontiguousarray(made)
