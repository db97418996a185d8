"""Which page of a TIFF is the photograph, and its samples where Pillow does not read them right."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from pipeline.errors import CutOffError, ImageError, missing_extra
from pipeline.types import Samples

# How a file begins, in its two byte orders; BigTIFF is the second pair.
BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Tags (TIFF 6.0, section 8; TIFF/EP for CFA).
_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _MEANING = 254, 255, 256, 257, 258, 262
_SAMPLES, _PLANAR, _SUB_DIRECTORIES, _INK_SET, _EXTRA, _FORMAT = 277, 284, 330, 332, 338, 339
_COMPRESSION, _COLOR_MAP, _SUBSAMPLING = 259, 320, 530
PROFILE, ORIENTATION, XMP = 34675, 274, 700
# Of NewSubfileType: a smaller copy of another page, a mask. Of the older SubfileType: a smaller copy.
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_WHITE_ZERO, _BLACK_ZERO, _RGB, _PALETTE, _INKS, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
# Of Compression: JPEG, whose decoder gives RGB; and those that Pillow's libtiff has.
_JPEG = (6, 7)
_OF_PILLOW = {1, 2, 3, 4, 5, *_JPEG, 8, 32773, 32946, 34925, 50000}
# How many channels the colors are.
_CHANNELS = {_WHITE_ZERO: 1, _BLACK_ZERO: 1, _RGB: 3, _PALETTE: 1, _INKS: 4, _YCBCR: 3, _LAB: 3}
_OTHERS = {
    4: "a mask",
    9: "colors in L*a*b*",
    10: "colors in L*a*b*",
    32803: "raw data of a camera",
    34892: "raw data of a camera",
    32844: "light without a white",
    32845: "light without a white",
}
# Colors of a palette that are all below this have 8 bits.
_SHORT = 256
_ADVICE = "save it with 8 or 16 bits in RGB or gray"
_UNSIGNED, _UNDEFINED = 1, 4
_NUMBERS = {2: "signed integers", 3: "floating-point numbers", 5: "complex numbers", 6: "complex numbers"}
_MOST_BITS = 16
# Of ExtraSamples: colors were multiplied by it, or not; all else is no transparency.
_MULTIPLIED, _TRANSPARENCY = 1, 2
_SEPARATE = 2
# Pillow takes a second for 4,000, and ever longer.
MOST_PAGES = 100

Tags = Mapping[int, Any]


@dataclass(frozen=True)
class Page:
    """A page, or a picture below one (SubIFD)."""

    number: tuple[int, ...]
    """Its place among the pages; and, below one, among those below it."""
    offset: int
    """Of its directory, bytes from the beginning of the file."""
    tags: Tags

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return int(self.tags.get(_WIDTH, 0)), int(self.tags.get(_HEIGHT, 0))

    @property
    def is_photograph(self) -> bool:
        """Whether its type says so, or nothing: no smaller copy, no mask."""
        reduced = self.tags.get(_SUBFILE, 0) & (_REDUCED | _MASK) or self.tags.get(_OLD_SUBFILE, 0) == _OLD_REDUCED
        return not reduced and self.tags.get(_MEANING) != _MASK

    @property
    def bits(self) -> int:
        """Of each sample."""
        return int(max(self._several(_BITS, 1)))

    @property
    def extra(self) -> tuple[int, ...]:
        """What each channel beyond the colors is, by ExtraSamples; 0, nothing that is said."""
        count = int(self.tags.get(_SAMPLES, 1)) - _CHANNELS.get(self.tags.get(_MEANING, _BLACK_ZERO), 1)
        stated = self._several(_EXTRA, 0)[: max(count, 0)]
        return (*stated, *[0] * (count - len(stated))) if count > 0 else ()

    @property
    def lost(self) -> Iterator[str]:
        """What no copy takes over: channels that are neither color nor transparency, such as infrared."""
        first = _CHANNELS.get(self.tags.get(_MEANING, _BLACK_ZERO), 1) + 1
        for number, kind in enumerate(self.extra):
            if number or kind not in (_MULTIPLIED, _TRANSPARENCY):
                yield f"its channel {first + number}, which is neither color nor transparency (infrared, perhaps),"
        if self.tags.get(_MEANING) == _INKS and self.bits > 8:
            yield f"{self.bits - 8} of its {self.bits} bits"

    def require_meaning(self) -> None:
        """Refuse samples whose meaning is not known.

        Raises:
            ImageError: nobody can say what white is, or what its samples are.
        """
        meaning, kinds = self.tags.get(_MEANING), set(self._several(_FORMAT, _UNSIGNED))
        for kind in kinds - {_UNSIGNED, _UNDEFINED}:
            name = _NUMBERS.get(kind, "numbers of an unknown kind")
            raise ImageError(f"its samples are {name}, whose scale is not known; {_ADVICE}")
        if self.bits > _MOST_BITS:
            raise ImageError(f"its samples are integers of {self.bits} bits, whose scale is not known; {_ADVICE}")
        if meaning not in _CHANNELS:
            raise ImageError(f"a TIFF of {_OTHERS.get(meaning or -1, 'an unknown kind')}; {_ADVICE}")
        if len(set(self._several(_BITS, 1))) > 1:
            raise ImageError(f"a TIFF whose channels have different numbers of bits; {_ADVICE}")
        if meaning == _INKS and (self.tags.get(_INK_SET, 1) != 1 or self.tags.get(_SAMPLES, 1) < _CHANNELS[_INKS]):
            raise ImageError(f"a TIFF of other inks than cyan, magenta, yellow and black; {_ADVICE}")

    @property
    def is_plain(self) -> bool:
        """Whether Pillow reads it right, which was tried for each of these kinds."""
        meaning, bits, extra = self.tags.get(_MEANING), self.bits, self.extra
        compression = self.tags.get(_COMPRESSION, 1)
        if len(self.number) > 1 or compression not in _OF_PILLOW:
            return False
        if meaning in (_WHITE_ZERO, _BLACK_ZERO):
            deep = bits == 16 and meaning == _BLACK_ZERO and not self._in_planes
            alone = not extra and (bits in (1, 2, 4, 8) or deep)
            return alone or (extra == (_TRANSPARENCY,) and bits == 8 and meaning == _BLACK_ZERO and not self._in_planes)
        if meaning == _PALETTE:
            return not extra and bits in (1, 2, 4, 8) and not self._has_short_map
        if bits != 8 or (meaning == _YCBCR and compression not in _JPEG):
            return False
        return not extra or (meaning == _RGB and len(extra) == 1 and not self._in_planes)

    @property
    def _has_short_map(self) -> bool:
        """Whether the colors of its palette have 8 bits, which some programs write where 16 are asked for."""
        return max(self._several(_COLOR_MAP, 0)) < _SHORT

    def palette(self) -> Samples:
        """Return the colors of its palette, (2^bits, 3) uint8."""
        colors = np.array(self._several(_COLOR_MAP, 0), np.uint32)
        if colors.size != 3 * 2**self.bits:
            raise ImageError(f"unreadable: a palette of {colors.size} numbers for {self.bits} bits")
        eight = colors if self._has_short_map else (colors + 128) // 257
        return eight.reshape(3, -1).T.astype(np.uint8)

    @property
    def has_halved_colors(self) -> bool:
        """Whether Cb and Cr have fewer samples than Y."""
        return self.tags.get(_MEANING) == _YCBCR and self._several(_SUBSAMPLING, 2) != (1, 1)

    @property
    def _in_planes(self) -> bool:
        return bool(self.tags.get(_PLANAR, 1) == _SEPARATE)

    def _several(self, tag: int, default: int) -> tuple[int, ...]:
        found = self.tags.get(tag, default)
        return tuple(found) if isinstance(found, tuple | list) else (found,)


def photograph(content: bytes) -> tuple[Page, int]:
    """Find the photograph among the pages: the largest that is no smaller copy, the first of equals.

    Returns:
        The page, and how many further photographs there are, 100 at most.

    Raises:
        ImageError: the file holds no page that can be read.
    """
    try:
        found = list(_pages(content))
    except Exception as error:  # Pillow raises almost anything on damaged bytes
        raise ImageError(f"unreadable: {type(error).__name__} among the tags of the TIFF") from None
    shown = [page for page in found if page.is_photograph and len(page.number) == 1]
    # Only where no page is one: cameras keep the photograph below a page that is its small copy.
    candidates = shown or [page for page in found if page.is_photograph] or found
    if not candidates:
        raise ImageError("unreadable: a TIFF without a page")
    chosen = max(candidates, key=lambda page: page.size[0] * page.size[1])
    return chosen, len(shown) - 1 if chosen in shown else 0


def _pages(content: bytes) -> Iterator[Page]:
    """Yield the pages, and after each the pictures below it."""
    header = content[:16] if content[2:3] == b"+" or content[3:4] == b"+" else content[:8]
    offset, seen, number = _directory(content, header, None).next, set[int](), 0
    while offset and offset not in seen and number <= MOST_PAGES:
        seen.add(offset)
        directory = _directory(content, header, offset)
        tags = dict(directory)
        yield Page((number,), offset, tags)
        below = tags.get(_SUB_DIRECTORIES, ())
        for place, under in enumerate(below[:MOST_PAGES] if isinstance(below, tuple) else (below,)):
            yield Page((number, place), under, dict(_directory(content, header, under)))
        offset, number = directory.next, number + 1


def _directory(content: bytes, header: bytes, offset: int | None) -> Any:
    found = TiffImagePlugin.ImageFileDirectory_v2(header)
    if offset is not None:
        file = io.BytesIO(content)
        file.seek(offset)
        found.load(file)
    return found


def samples(content: bytes, page: Page, damaged: bool) -> tuple[Samples, Samples | None, bool]:
    """Return the colors and the transparency of a page that Pillow does not read right.

    Args:
        damaged: whether what is there of a page that is cut off is enough.

    Returns:
        (H, W) gray, (H, W, 3) RGB or (H, W, 4) inks, uint8 up to 8 bits and uint16 above, scaled to the whole range;
        (H, W) transparency; and whether all of it was there.

    Raises:
        ImageError: packages are missing, or it cannot be decoded.
    """
    if page.has_halved_colors and page.tags.get(_COMPRESSION, 1) not in _JPEG:
        raise ImageError(f"a TIFF in YCbCr with fewer samples of color than of light, and not as JPEG; {_ADVICE}")
    stored, axes, whole = _stored(content, page, damaged)
    width, height = page.size
    if stored.ndim != len(axes) or stored.size < height * width:
        raise ImageError(f"unreadable: {stored.shape} samples for {width}x{height} pixels")
    if "S" in axes:
        stored = np.moveaxis(stored, axes.index("S"), -1)
    meaning = page.tags[_MEANING]
    colors = _CHANNELS[meaning]
    if meaning == _PALETTE and not page.extra and stored.size == height * width:
        return page.palette()[stored.reshape(height, width)], None, whole
    if meaning == _YCBCR and stored.shape == (height, width, 3) and page.bits == 8:
        if page.tags.get(_COMPRESSION, 1) in _JPEG:  # whose decoder gives RGB
            return stored, None, whole
        return np.asarray(Image.fromarray(stored, "YCbCr").convert("RGB")), None, whole
    if meaning in (_PALETTE, _YCBCR, _LAB) or stored.size != height * width * (colors + len(page.extra)):
        raise ImageError(f"a rare kind of TIFF ({page.bits} bits, {axes}); {_ADVICE}")
    scaled = _scaled(stored.reshape(height, width, -1), page.bits)
    if meaning == _WHITE_ZERO:
        scaled[..., 0] = np.iinfo(scaled.dtype).max - scaled[..., 0]
    own = scaled[..., :colors]
    alpha = scaled[..., colors] if page.extra and page.extra[0] in (_MULTIPLIED, _TRANSPARENCY) else None
    if alpha is not None and page.extra[0] == _MULTIPLIED:
        own = _divided(own, alpha)
    return np.ascontiguousarray(own[..., 0] if colors == 1 else own), alpha, whole


def _stored(content: bytes, page: Page, damaged: bool) -> tuple[Samples, str, bool]:
    """Return the samples of a page as they are stored, tifffile's names of their axes, and whether all are there."""
    _, tifffile = codecs()
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            one = file.pages[page.number[0]]
            one = one.pages[page.number[1]] if len(page.number) > 1 else one
            try:
                return one.asarray(), one.axes, True
            except Exception:
                if not damaged:
                    raise
                return *_in_part(content, one), False
    except Exception as error:  # a decoder raises almost anything on damaged or hostile bytes
        why = error if isinstance(error, ValueError) else f"it is cut off or damaged ({type(error).__name__})"
        raise (ImageError if damaged else CutOffError)(f"unreadable: {why}") from None


def _in_part(content: bytes, page: Any) -> tuple[Samples, str]:
    """Decode those strips or tiles of tifffile's page that are whole; the others are black."""
    made = np.zeros(page.shaped, page.dtype)
    decoded = 0
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        try:
            data = content[offset : offset + count]
            segment, (plane, _, row, column, _), _ = page.decode(data, index, jpegtables=page.jpegtables)
            height, width = segment.shape[1:3]
            space = made[plane, :, row : row + height, column : column + width]
            space[...] = segment[:, : space.shape[1], : space.shape[2]]
            decoded += 1
        except Exception:  # a decoder raises almost anything on damaged or hostile bytes
            continue
    if not decoded:
        raise ValueError("it is cut off or damaged, and nothing of it can be decoded")
    return made.reshape(page.shape), page.axes


def _scaled(stored: Samples, bits: int) -> Samples:
    """Return samples of 1 to 16 bits scaled to 8, or to 16 where they have more than 8."""
    kind, largest = (np.uint8, 255) if bits <= 8 else (np.uint16, 65535)
    if largest == 2**bits - 1:
        return np.array(stored, kind)
    most = 2**bits - 1
    scaled: Samples = ((stored.astype(np.uint32) * (2 * largest) + most) // (2 * most)).astype(kind)
    return scaled


def _divided(colors: Samples, alpha: Samples) -> Samples:
    """Return colors as they were before they were multiplied by the transparency."""
    largest = np.iinfo(colors.dtype).max
    shares = np.maximum(alpha, 1)[..., None].astype(np.float32) / largest
    return (colors / shares + 0.5).clip(0, largest).astype(colors.dtype)


def codecs() -> tuple[Any, Any]:
    """Return the modules imagecodecs and tifffile, which coloring usual pictures does not need.

    Raises:
        ImageError: they are not installed.
    """
    try:
        import imagecodecs
        import tifffile
    except ImportError as error:
        raise ImageError(
            missing_extra(f"16-bit color and rare kinds of TIFF need {error.name}", "sixteen-bit")
        ) from None
    return imagecodecs, tifffile
