"""Decode picture files from anywhere, within bounds on their size and with a reason for each refusal."""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.errors import ImageError, missing_extra
from pipeline.media.provenance import colored_here
from pipeline.media.sixteen_bits import PLANES, in_planes, require_scale, zero_is_white
from pipeline.types import Pixels

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""What Pillow reads by itself; HEIC needs the extra `heic`."""
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"},
)

# A smaller picture shows a color, but no thing that could have it.
SMALLEST_SIDE = 16
# A longer one would be resized to a smear.
LARGEST_ASPECT = 20
# No photograph of max_pixels needs more: 16 bits of 4 channels, uncompressed.
_BYTES_PER_PIXEL = 8
# Halving by the decoder is a box filter: with two pixels left for each, what it does cannot be seen after resizing.
_DRAFT_GAP = 2
ORIENTATION = 0x0112
"""EXIF's tag; from 5 on, rows and columns are exchanged."""
_FIRST_TURNED = 5
# EXIF 2.32, 4.6.4.A: what makes a picture upright, by its orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# How a TIFF begins, in its two byte orders.
_TIFF = (b"II*\0", b"MM\0*")
# The brands of HEIF with HEVC (ISO/IEC 23008-12, annex B), and those of HEIF with any codec. AVIF's are Pillow's work.
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"msf1"})

# Pillow's own bound would raise first, without saying what to set: max_pixels is checked instead.
Image.MAX_IMAGE_PIXELS = None
# It warns of odd metadata. Here, and not around each file: filters of warnings are not for several threads.
warnings.filterwarnings("ignore", module="PIL")


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

    EXIF orientation is applied. The first frame of an animation is read. Transparency is laid over white. 16-bit
    gray keeps its high byte; 10 and 12 bits of AVIF and HEIC become 8. Palettes, CMYK and gray are converted as Pillow
    does, without their ICC profile.

    Args:
        side: how many pixels of each side will be used; 0: all. A JPEG file much larger than that is decoded at a half,
            a quarter or an eighth of its size, twice as large as needed at least, which is several times faster.
            Resized, most pixels differ by less than one of 255 levels, and few by as many as 7.

    Raises:
        ImageError: not a regular file, not an allowed format, too many pixels, damaged, or colored by this program.
    """
    content = read_bytes(path, max_pixels)
    if colored_here(content):
        raise ImageError("colored by this program, as its XMP says: its colors are a guess, and none to learn from")
    with opened(content, max_pixels) as image:
        if in_planes(image):
            raise ImageError(PLANES)
        require_scale(image)
        width, height = image.size
        if side and image.format != "HEIF":  # which would give the small picture that a camera has put beside it
            image.draft(None, (_DRAFT_GAP * side, _DRAFT_GAP * side))
        rgb = _as_rgb(upright(image), zero_is_white(image))
        if orientation(image) >= _FIRST_TURNED:
            width, height = height, width
    return Decoded(rgb, hashlib.sha256(content).hexdigest(), width, height)


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where its tags cannot be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises almost anything on tags of odd types
        return 1
    return found if found in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """The picture turned by its orientation; itself where nothing is to be turned: a copy of 48 megapixels is 192 MB.

    Pillow's exif_transpose would write its EXIF anew, too, which fails on tags of odd types.
    """
    image.load()
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def read_bytes(path: Path, max_pixels: int, limit: str = "sample.max_pixels") -> bytes:
    """The bytes of a regular file that is no larger than max_pixels could need.

    Args:
        limit: what the message calls max_pixels.

    Raises:
        ImageError: not a regular file, empty, too large, or unreadable.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
        if status.st_size == 0:
            raise ImageError("empty file")
        if status.st_size > largest_file(max_pixels):
            raise ImageError(f"too many bytes: {status.st_size:,}, more than {limit} {max_pixels} need")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"unreadable: {error.strerror}") from None


def largest_file(max_pixels: int) -> int:
    """Bytes that a file of so many pixels may have, its metadata included."""
    return max_pixels * _BYTES_PER_PIXEL + 2**20


@contextmanager
def opened(content: bytes, max_pixels: int, limit: str = "sample.max_pixels") -> Iterator[Image.Image]:
    """The first frame of an image file, and the main picture of HEIC, not yet decoded.

    An error of decoding it within becomes an ImageError.

    Raises:
        ImageError: not an allowed format, too many pixels, too small, too long, or damaged.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_formats(content)) as image:
            _require_bounds(image, max_pixels, limit)
            if image.format != "HEIF":
                image.seek(0)
            yield image
    except ImageError:
        raise
    except Exception as error:  # a decoder raises almost anything on damaged or hostile bytes
        raise ImageError(f"unreadable: {_reason(error, content)}") from None


def _formats(content: bytes) -> tuple[str, ...]:
    """Pillow's names of the formats that the file may have.

    Raises:
        ImageError: it is HEIC, and the extra is not installed.
    """
    if not _is_heic(content):
        return FORMATS
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(missing_extra("HEIC photographs need pillow-heif", "heic")) from None
    # Each time, since it only writes into Pillow's tables: several threads may decode.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return ("HEIF",)


def _is_heic(content: bytes) -> bool:
    """By the box with which the file begins: its size, "ftyp", its brand, a version, other brands."""
    if content[4:8] != b"ftyp":
        return False
    size = min(int.from_bytes(content[:4], "big"), 256)
    brand, others = content[8:12], {content[place : place + 4] for place in range(16, size, 4)}
    return brand in _HEIC_BRANDS or (brand in _HEIF_BRANDS and not others & {b"avif", b"avis"})


def _reason(error: Exception, content: bytes) -> str:
    if isinstance(error, UnidentifiedImageError) and content.startswith(_TIFF):
        return "a rare kind of TIFF, such as one of floating-point samples; save it with 8 or 16 bits in RGB or gray"
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(FORMATS)}, HEIC"
    return str(error) if type(error) is OSError else type(error).__name__


def _require_bounds(image: Image.Image, max_pixels: int, limit: str) -> None:
    size = f"{image.width}x{image.height}"
    if image.width * image.height > max_pixels:
        raise ImageError(f"too many pixels: {size} is over {limit} {max_pixels}")
    if min(image.size) < SMALLEST_SIDE:
        raise ImageError(f"too small: {size}, the short side must be >= {SMALLEST_SIDE}")
    if max(image.size) > LARGEST_ASPECT * min(image.size):
        raise ImageError(f"too long: {size}, one side over {LARGEST_ASPECT} times the other")


def _as_rgb(image: Image.Image, inverted: bool) -> Image.Image:
    """inverted: 16-bit gray whose 0 is white."""
    if image.mode.startswith("I"):
        high_byte = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(255 - high_byte if inverted else high_byte)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
