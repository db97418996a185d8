"""What a picture file carries besides its pixels: EXIF, XMP, resolution, texts; as much of them as a format holds."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

from PIL import Image, TiffTags

from pipeline.errors import ImageError
from pipeline.media.decoding import ORIENTATION
from pipeline.media.provenance import Origin, has_regions, marked
from pipeline.media.tiff import MOST_PAGES, Page, Tags

# In a TIFF the same directory holds EXIF and the layout of its samples: only tags about the photograph are copied.
# The last six are those of Windows: its rating, and texts in UTF-16.
_TEXTS = (0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298, 0x4746,
          *range(0x9C9B, 0x9CA0))  # fmt: skip
DIRECTORIES = (0x8769, 0x8825)
XMP_TAG = 0x02BC
# Orientation, size, bits and number of samples, how they lie, and what they are: those of the file that was read. In a
# TIFF they would take the place of the copy's own.
_LAYOUT = (ORIENTATION, *range(0x00FE, 0x0104), 0x0106, 0x010A, 0x0111, *range(0x0115, 0x0118), 0x011C, 0x013D,
           *range(0x0140, 0x0146), 0x014A, 0x0152, 0x0153, 0x015B, *range(0x0200, 0x0215), 0x8773)  # fmt: skip
_RESOLUTION = (0x011A, 0x011B)
# ResolutionUnit, and two of its values.
_UNIT, _INCHES, _CENTIMETERS = 0x0128, 2, 3
# Finer than any scanner; PNG and BMP hold no more than some 100 million.
_FINEST_DPI = 1e5
# Of PNG: XMP and EXIF are taken over, and the name of a program and the dates of the file are no loss.
_OTHER_TEXTS = {
    "XML:com.adobe.xmp",
    "Raw profile type exif",
    "Software",
    "date:create",
    "date:modify",
    "date:timestamp",
}
_COLOR_SPACE, _SRGB = 0xA001, 1
_SIZE = (0xA002, 0xA003)
# Of a place in the picture as it was stored: SubjectArea and SubjectLocation.
_PLACES = (0x9214, 0xA214)
# UserComment, MakerNote, ComponentsConfiguration, FileSource, SceneType and CFAPattern are UNDEFINED (EXIF 3.0, 4.6.5).
# Pillow does not know that of these, and would write numbers, which readers do not take for a text.
_UNDEFINED = (0x9286, 0x927C, 0x9101, 0xA300, 0xA301, 0xA302)
for _tag in _UNDEFINED:
    TiffTags.TAGS_V2_GROUPS[0x8769].setdefault(_tag, TiffTags.TagInfo(_tag, f"Exif-{_tag:x}", 7, 0))
INTEROPERABILITY, _INDEX, _INDEX_SRGB = 0xA005, 1, "R98"
# IPTC's texts before XMP: a block of Photoshop's in JPEG, and a tag in TIFF.
_IIM_BLOCK, _IIM_TAG = 0x0404, 0x83BB
_IIM_HEAD = b"Photoshop 3.0\0" + b"8BIM" + _IIM_BLOCK.to_bytes(2, "big") + b"\0\0"
_MOST_IIM = 65500  # A segment of a JPEG holds 65,533 bytes, and the head is among them.


@dataclass(frozen=True)
class Carried:
    """What a file carries besides its pixels; empty where it has none."""

    exif: bytes
    xmp: bytes
    """A packet."""
    dpi: tuple[float, float] | None
    comment: bytes = b""
    """Of a JPEG."""
    iim: bytes = b""
    """IPTC's texts from before XMP, in a JPEG: records of IIM."""


def attempts(like: Carried, kind: str, origin: Origin | None) -> Iterator[tuple[Carried, list[str]]]:
    """Yield what a colored copy may carry, the most complete first, and what each attempt leaves out.

    Args:
        like: what the photograph carries.
        kind: the format of the copy, as Pillow calls it.
        origin: what has colored it.
    """
    exifs = [b""] if kind == "BMP" else list(dict.fromkeys([like.exif, b""]))
    resolutions = [None] if kind == "WEBP" else list(dict.fromkeys([like.dpi, None]))
    packets = list(_packets(like.xmp, origin))
    comment = like.comment if kind == "JPEG" else b""
    iim = like.iim if kind == "JPEG" and len(like.iim) <= _MOST_IIM and _are_whole(like.iim) else b""
    texts = ["its comment"] if like.comment and not comment else []
    texts += ["its IPTC-IIM texts"] if like.iim and not iim else []
    for dpi, exif, (xmp, left_out) in product(resolutions, exifs, packets):
        names = ["its EXIF"] if like.exif and not exif else []
        if like.dpi and dpi is None and not (kind == "WEBP" and _says_resolution(exif)):
            names += ["its resolution"]
        yield Carried(exif, xmp, dpi, comment, iim), names + left_out + texts


def _says_resolution(exif: bytes) -> bool:
    tags = Image.Exif()
    tags.load(exif)
    return all(tag in tags for tag in _RESOLUTION)


def _packets(xmp: bytes, origin: Origin | None) -> Iterator[tuple[bytes, list[str]]]:
    """XMP packets to try, and what each leaves out."""
    lost = ["its XMP"] if xmp else []
    if origin is None:
        yield b"", lost
        return
    with suppress(ImageError):
        yield marked(xmp, origin), []
    if xmp:
        yield marked(b"", origin), lost


def text_segments(carried: Carried) -> bytes:
    """Return the segments of a JPEG that hold its comment and, as Photoshop writes them, its records of IIM."""
    records = carried.iim
    block = _IIM_HEAD + len(records).to_bytes(4, "big") + records + b"\0" * (len(records) % 2)
    found = ((b"\xff\xfe", carried.comment), (b"\xff\xed", block if records else b""))
    return b"".join(marker + (2 + len(held)).to_bytes(2, "big") + held for marker, held in found if held)


def _are_whole(records: bytes) -> bool:
    """Whether they end where the last of them says: those that went on in another segment are cut off.

    A record is 0x1C, two bytes that say what it is, two with its length, and its text (IIM 4.2, 1.5).
    """
    place = 0
    while records[place : place + 1] == b"\x1c":
        place += 5 + int.from_bytes(records[place + 3 : place + 5], "big")
    return place <= len(records) and not records[place:].strip(b"\0")


def texts_of(image: Image.Image) -> tuple[bytes, bytes]:
    """Return the comment and the records of IIM of an open JPEG; empty where it has none, or is of another format."""
    if image.format not in ("JPEG", "MPO"):
        return b"", b""
    return image.info.get("comment", b""), image.info.get("photoshop", {}).get(_IIM_BLOCK, b"")


def in_srgb(exif: Image.Exif, turned: bool) -> None:
    """Take out of a photograph's tags what is not true of a copy that is upright, in color and in sRGB.

    Args:
        turned: whether width and height were exchanged to make it upright.
    """
    for tag in _LAYOUT:
        exif.pop(tag, None)
    photograph = exif.get_ifd(DIRECTORIES[0])
    if _COLOR_SPACE in photograph:
        photograph[_COLOR_SPACE] = _SRGB
    for tag in _UNDEFINED:
        _make_bytes(photograph, tag)
    if turned:
        _exchange(photograph, _SIZE)
        _exchange(exif, _RESOLUTION)
        for tag in _PLACES:
            photograph.pop(tag, None)
    interoperability = _directory(exif, INTEROPERABILITY)
    if _INDEX in interoperability:
        interoperability[_INDEX] = _INDEX_SRGB
    keep_texts(exif)


def _make_bytes(tags: MutableMapping[int, Any], tag: int) -> None:
    """Turn small numbers into the bytes that they should be; leave out what cannot be."""
    value = tags.get(tag)
    if value is None or isinstance(value, bytes):
        return
    numbers = value if isinstance(value, tuple) else (value,)
    if all(isinstance(number, int) and 0 <= number < 256 for number in numbers):
        tags[tag] = bytes(numbers)
    else:
        del tags[tag]


def _exchange(tags: MutableMapping[int, Any], pair: tuple[int, int]) -> None:
    """Exchange what a directory says of across and down."""
    one, other = pair
    if one in tags and other in tags:
        tags[one], tags[other] = tags[other], tags[one]


def keep_texts(exif: Image.Exif) -> None:
    """Make bytes of texts that are not ASCII: Pillow reads them as Latin-1, and would write question marks."""
    for tags in (exif, *(_directory(exif, number) for number in (*DIRECTORIES, INTEROPERABILITY))):
        for tag, value in list(tags.items()):
            if isinstance(value, str) and not value.isascii():
                tags[tag] = value.encode("latin-1", "replace")


def _directory(exif: Image.Exif, number: int) -> dict[int, Any]:
    """Return a directory of EXIF; an empty one where it has none."""
    if number == INTEROPERABILITY and number not in exif.get_ifd(DIRECTORIES[0]):
        return {}
    found: dict[int, Any] = exif.get_ifd(number)
    return found


def photograph_tags(exif: Image.Exif) -> Image.Exif:
    """Those tags of a TIFF that tell of the photograph."""
    copied = Image.Exif()
    for tag in _TEXTS:
        if tag in exif:
            copied[tag] = exif[tag]
    for directory in (*DIRECTORIES, INTEROPERABILITY):
        tags = _directory(exif, directory)
        if tags:
            copied.get_ifd(directory).update(tags)
    return copied


def resolution(image: Image.Image) -> tuple[float, float] | None:
    """Dots per inch of an open file; None where it says nothing, or nothing that could be."""
    dpi = image.info.get("dpi")
    # Pillow gives a TIFF without the tags a resolution of its own.
    said = image.format != "TIFF" or all(tag in image.tag_v2 for tag in _RESOLUTION)  # type: ignore[attr-defined]
    if image.format in ("JPEG", "MPO"):  # of which it invents 72
        said = image.info.get("jfif_unit") in (1, 2) or all(tag in image.getexif() for tag in _RESOLUTION)
    if not said or not dpi or not (min(dpi) > 0 and max(dpi) < _FINEST_DPI):
        return None
    return float(dpi[0]), float(dpi[1])


def tiff_resolution(tags: Tags) -> tuple[float, float] | None:
    """Return the dots per inch that the tags of a TIFF state, as `resolution` does."""
    try:
        per_unit = [float(tags[tag]) for tag in _RESOLUTION]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    unit = tags.get(_UNIT, _INCHES)
    factor = {_INCHES: 1.0, _CENTIMETERS: 2.54}.get(unit, 0.0)
    across, down = (number * factor for number in per_unit)
    return (across, down) if min(across, down) > 0 and max(across, down) < _FINEST_DPI else None


def xmp_of(image: Image.Image, content: bytes) -> bytes:
    """Return the XMP packet of an open file; empty where there is none."""
    if image.format == "PNG" and "xmp" not in image.info and b"XML:com.adobe.xmp" in content:
        image.load()  # it may stand after the pixels
    found = image.info.get("xmp", b"")
    return found if isinstance(found, bytes) else b""


def lost(
    image: Image.Image | None, content: bytes, xmp: bytes, page: Page | None, further: int, turned: bool
) -> Iterator[str]:
    """Yield what of a file is not read, such as "2 of its 10 bits".

    Args:
        turned: whether it was turned or mirrored to be upright.
        image: open; None where Pillow cannot open it.
        page: of a TIFF.
        further: photographs in a TIFF besides that page.
    """
    bits = _bits(image, content) if image else 8
    if bits > 8:
        yield f"{bits - 8} of its {bits} bits"
    if b"HasExtendedXMP" in xmp:
        yield "the long part of its XMP"
    if turned and has_regions(xmp):
        yield "the regions in its XMP, since it was turned,"
    if image and image.format == "GIF" and image.info.get("comment"):
        yield "its comment"
    if page:
        yield from page.lost
        if _IIM_TAG in page.tags:
            yield "its IPTC-IIM texts"
    if image and image.format == "PNG" and getattr(image, "text", {}).keys() - _OTHER_TEXTS:
        yield "its texts"
    pictures = further if page else _further_frames(image)
    if pictures:
        more = " or more" if page and pictures >= MOST_PAGES else ""
        kind = "page" if page else "frame"
        yield f"{pictures}{more} further {kind}{'s' if pictures > 1 else ''}"


def _further_frames(image: Image.Image | None) -> int:
    """Return the frames of an animation without the first. What a camera puts beside a photograph is none."""
    if image is None or image.format in ("MPO", "HEIF"):
        return 0
    try:
        return int(getattr(image, "n_frames", 1)) - 1
    except Exception:  # a decoder raises almost anything on damaged bytes
        return 0


def _bits(image: Image.Image, content: bytes) -> int:
    """Bits of each sample in HEIC and AVIF; 8 for other formats, which are read with all they have."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    if image.format == "AVIF":
        # AV1 in ISOBMFF, 2.3.3: the third byte of the configuration has the flags high_bitdepth and twelve_bit.
        place = content.find(b"av1C")
        flags = content[place + 6 : place + 7] if place >= 0 else b""
        return {0x40: 10, 0x60: 12}.get(flags[0] & 0x60, 8) if flags else 8
    return 8
