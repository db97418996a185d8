"""Decode picture files from anywhere, within bounds on their size and with a reason for each refusal."""

from __future__ import annotations

import io
import math
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from pipeline.errors import CutOffError, ImageError, LimitError, missing_extra
from pipeline.media import jpeg

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""What Pillow reads by itself; HEIC needs the extra `heic`."""
SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jfif",
        ".jpe",
        ".jif",
        ".png",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".heic",
        ".heif",
    },
)

# A smaller picture shows a color, but no thing that could have it.
SMALLEST_SIDE = 16
# No photograph of max_pixels needs more: 16 bits of 4 channels, uncompressed.
_BYTES_PER_PIXEL = 8
ORIENTATION = 0x0112
"""EXIF's tag."""
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
# The brands of HEIF with HEVC (ISO/IEC 23008-12, annex B), and those of HEIF with any codec. AVIF's are Pillow's work.
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"msf1"})

# LOAD_TRUNCATED_IMAGES is the whole process's.
_padding = threading.Lock()

# Pillow's own bound would raise first, without saying what to set: max_pixels is checked instead.
Image.MAX_IMAGE_PIXELS = None
# It warns of odd metadata. Here, and not around each file: filters of warnings are not for several threads.
warnings.filterwarnings("ignore", module="PIL")


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where its tags cannot be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises almost anything on tags of odd types
        return 1
    return found if found in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """Return the picture turned by its orientation; itself where nothing is to be turned: a copy of 48 megapixels is
    192 MB.

    Pillow's exif_transpose would write its EXIF anew, too, which fails on tags of odd types.
    """
    image.load()
    return turned(image, orientation(image))


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture turned by an orientation of EXIF; itself where that is upright."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def read_bytes(path: Path, max_pixels: int) -> bytes:
    """Read the bytes of a regular file that is no larger than max_pixels could need.

    Raises:
        LimitError: too large.
        ImageError: not a regular file, empty, or unreadable.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
        if status.st_size == 0:
            raise ImageError("empty file")
        if status.st_size > largest_file(max_pixels):
            raise LimitError(f"too many bytes: {status.st_size:,}, more than {{most}} need", max_pixels)
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"unreadable: {error.strerror}") from None


def largest_file(max_pixels: int) -> int:
    """Bytes that a file of so many pixels may have, its metadata included."""
    return max_pixels * _BYTES_PER_PIXEL + 2**20


@contextmanager
def opened(content: bytes, max_pixels: int, frame: int = 0, longest: float = math.inf) -> Iterator[Image.Image]:
    """Open a frame of an image file, or the main picture of HEIC; it is not decoded yet.

    An error of decoding it within becomes an ImageError.

    Args:
        longest: how many times the short side the long one may be.

    Raises:
        ImageError: not an allowed format, too many pixels, too small, too long, or damaged.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_formats(content)) as image:
            if image.format != "HEIF":
                image.seek(frame)
            require_bounds(*image.size, max_pixels, longest)
            yield image
    except ImageError:
        raise
    except Exception as error:  # a decoder raises almost anything on damaged or hostile bytes
        raise ImageError(f"unreadable: {_reason(error, content)}") from None


def loaded(image: Image.Image, content: bytes, damaged: bool) -> tuple[Image.Image, list[str]]:
    """Decode an open picture; of a file that is cut off, what is there of it.

    Args:
        content: of the file.
        damaged: whether what is there is enough.

    Returns:
        The picture, and what is missing of it or wrong.

    Raises:
        ImageError: the file is cut off, and what is there is not enough.
    """
    if image.format in ("JPEG", "MPO"):
        return jpeg.loaded(image, content, damaged)
    try:
        image.load()
        return image, []
    except OSError:
        if not content:
            raise
    if not damaged:
        error = CutOffError if _padded(content) else ImageError
        raise error("unreadable: it is cut off or damaged")
    part = _padded(content)
    if part is None:
        raise ImageError("unreadable: it is cut off or damaged, and nothing of it can be decoded")
    return part, ["what was missing of it is gray or black"]


def _padded(content: bytes) -> Image.Image | None:
    """Decode as much of a file as Pillow can; None where that is nothing."""
    with _padding:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            image = Image.open(io.BytesIO(content), formats=_formats(content))
            image.load()
            return image
        except Exception:  # a decoder raises almost anything on damaged or hostile bytes
            return None
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False


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
    if content.startswith(jpeg.BEGINNING):
        why = jpeg.not_decoded(content)
        if why:
            return f"{why}, which is not decoded; save it with 8 bits"
    if isinstance(error, UnidentifiedImageError) and content[4:8] == b"ftyp":
        return "it is damaged or cut off, or HEIF of another kind than HEIC and AVIF"
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(FORMATS)}, HEIC"
    return str(error) if type(error) is OSError else f"it is damaged or cut off ({type(error).__name__})"


def require_bounds(width: int, height: int, max_pixels: int, longest: float = math.inf) -> None:
    """Refuse a picture by its size alone.

    Raises:
        LimitError: too many pixels.
        ImageError: too small, or too long.
    """
    size = f"{width}x{height}"
    if width * height > max_pixels:
        raise LimitError(f"too many pixels: {size} is over {{most}}", max_pixels)
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(f"too small: {size}, the short side must be >= {SMALLEST_SIDE}")
    if max(width, height) > longest * min(width, height):
        raise ImageError(f"too long: {size}, one side over {longest:g} times the other")
