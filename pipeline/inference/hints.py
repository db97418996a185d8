"""Hints: colors that somebody says for places of a photograph. They are spread along its lightness."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from pipeline.color.arrays import chromaticity
from pipeline.color.hints import Said
from pipeline.errors import HintError
from pipeline.media.writing import eight_bits
from pipeline.types import Floats, Samples

MOST = 1000
"""More hints than this are refused."""
_RADIUS = "1.5%"
# A painted copy says a color where a* and b* differ by this from the photograph's, Lab units: less is a JPEG's noise.
_PAINTED = 12.0
# Half of a copy that is colored everywhere has this chroma, and differs by as much. Where dots are painted, the rest is
# the photograph.
_EVERYWHERE = 3.0
# A pixel of the small copy is said by a painting that covers this share of it.
_COVERED, _LEAST_COVERED = 0.25, 0.05
# Short side at most at which a painted copy is compared with the photograph.
_SEEN = 1024
_SAME = "it must show the same, at any size"
_FORMS = 'write a name such as navy, "#8b1a1a", "rgb(139, 26, 26)" or "hsl(30, 40%, 50%)"'


@dataclass(frozen=True)
class Hint:
    """A color for a place.

    The hue and the chroma of the color count; the lightness is the photograph's own.
    """

    x: float | str
    """From the left edge: pixels of the upright photograph, or a share such as "40%"."""
    y: float | str
    """From the upper edge, likewise."""
    color: str
    """As CSS writes it: "#8b1a1a", "navy", "hsl(30, 40%, 50%)". Gray says that the place has no color."""
    radius: float | str | None = None
    """Half the side of the square that has the color: pixels, or a share of the short side; None for 1.5%."""
    time: float = 0.0
    """Seconds into a film; a photograph has no other time than 0."""
    size: tuple[int, int] | None = None
    """Width and height of what its pixels were counted on, in the photograph's proportions; None for the photograph."""


@dataclass(frozen=True)
class Painted:
    """A copy of the photograph on which somebody has painted dots of color."""

    pixels: Samples
    """(H, W, 3) uint8 sRGB, of any size with the photograph's proportions."""
    covers: NDArray[np.bool_] | None = None
    """(H, W): where it is opaque; None for everywhere. Where it is not, nothing is said."""

    def __post_init__(self) -> None:
        """Refuse other arrays.

        Raises:
            HintError: the pixels are not (H, W, 3) uint8, or what they cover is not as large.
        """
        shape, kind = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or kind != np.uint8:
            raise HintError(f"a painted copy must be (H, W, 3) uint8, got {shape} {kind}")
        if self.covers is not None and self.covers.shape != shape[:2]:
            raise HintError(f"what a painted copy covers must be {shape[:2]} as its pixels, got {self.covers.shape}")


def require_hints(hints: Sequence[Hint], width: int, height: int) -> None:
    """Refuse hints that mean nothing on a photograph of this size.

    Raises:
        HintError: one lies outside, or has no color; or there are too many.
    """
    if len(hints) > MOST:
        raise HintError(f"{len(hints)} hints; at most {MOST} can be said, and a painted copy says more")
    for number, hint in enumerate(hints, 1):
        name = f"hint {number}"
        if hint.size and (min(hint.size) < 1 or not same_proportions(hint.size, (width, height))):
            said = f"{hint.size[0]}x{hint.size[1]}"
            raise HintError(f"{name}: is of {said} pixels, and the photograph is {width}x{height}: {_SAME}")
        across, down = hint.size or (width, height)
        for axis, given, length, of in (("x", hint.x, width, across), ("y", hint.y, height, down)):
            if not 0 <= _pixels(given, length, of, f"{name}: {axis}") <= length:
                raise HintError(
                    f"{name}: {axis} is {_written(given)}, outside of the photograph, which is {across}x{down} pixels"
                )
        if hint.radius is not None and _pixels(hint.radius, 1, min(across, down), f"{name}: radius") <= 0:
            raise HintError(f"{name}: radius must be above 0, got {hint.radius}")
        color_of(hint.color, name)


def same_proportions(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two widths and heights are of one shape, to within a hundredth and a pixel."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= 0.01 * one[1] * other[0] + max(other)


def _written(given: float | str) -> str:
    return given if isinstance(given, str) else f"{given:g}"


def color_of(text: str, name: str = "hint") -> tuple[float, float]:
    """Return a* and b* of a color as CSS writes it.

    Raises:
        HintError: it is none, or it is transparent.
    """
    a, b = chromaticity(np.array(rgb_of(text, name), np.float32).reshape(3, 1, 1) / np.float32(255)).ravel()
    return float(a), float(b)


def rgb_of(text: str, name: str = "hint") -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a color as CSS writes it.

    Raises:
        HintError: it is none, or it is transparent.
    """
    if not isinstance(text, str):
        raise HintError(f"{name}: {text!r} is no color; {_FORMS}")
    # CSS counts alpha to 1, and Pillow to 255.
    opaque = re.sub(r"^(rgb|hsl)a(\(.*),\s*(1(\.0*)?|100%)\s*\)$", r"\1\2)", text.strip(), flags=re.IGNORECASE)
    try:
        red, green, blue, *alpha = ImageColor.getrgb(opaque)
    except (ValueError, AttributeError):
        joined = "".join(opaque.split())
        meant = f"did you mean {joined!r}? " if joined != opaque and joined.lower() in ImageColor.colormap else ""
        raise HintError(f"{name}: {text!r} is no color; {meant}{_FORMS}") from None
    if alpha and alpha[0] < 255:
        raise HintError(f"{name}: {text!r} is transparent; a hint's color covers what is there")
    if max(red, green, blue) > 255 or any(float(share) > 100 for share in re.findall(r"([\d.]+)%", opaque)):
        raise HintError(f"{name}: {text!r} is beyond the colors of sRGB; {_FORMS}")
    return red, green, blue


def said_by(hints: Sequence[Hint] | Painted, pixels: Samples, small: tuple[int, int], *, required: bool = True) -> Said:
    """Draw hints on a small copy; of two at one place the later one counts.

    Args:
        pixels: (H, W) or (H, W, 3) uint8 or uint16, the photograph.
        small: (h, w) of the copy.
        required: whether a painting on which there is nothing is refused.

    Raises:
        HintError: a hint means nothing on this photograph.
    """
    if isinstance(hints, Painted):
        return _painted(hints, pixels, small, required)
    height, width = pixels.shape[:2]
    require_hints(hints, width, height)
    ab, where = np.zeros((2, *small), np.float32), np.zeros(small, bool)
    for hint in hints:
        across, down = hint.size or (width, height)
        given = _RADIUS if hint.radius is None else hint.radius
        radius = _pixels(given, min(width, height), min(across, down), "radius")
        rows = _span(_pixels(hint.y, height, down, "y"), radius, height, small[0])
        columns = _span(_pixels(hint.x, width, across, "x"), radius, width, small[1])
        ab[:, rows, columns] = np.array(color_of(hint.color), np.float32)[:, None, None]
        where[rows, columns] = True
    return Said(ab, where)


def _pixels(given: float | str, length: int, of: int, name: str) -> float:
    """Return a position or a length in pixels.

    Args:
        length: of the photograph's side.
        of: of the same side of what a number of pixels was counted on.

    Raises:
        HintError: it is no number of pixels and no share.
    """
    try:
        if isinstance(given, str) and given.strip().endswith("%"):
            found = float(given.strip()[:-1]) / 100 * length
        else:
            found = float(given) if of == length else float(given) * length / of
    except (TypeError, ValueError):
        raise HintError(f'{name} must be pixels or a share such as "40%", got {given!r}') from None
    if not np.isfinite(found):
        raise HintError(f'{name} must be pixels or a share such as "40%", got {given!r}')
    return found


def _span(middle: float, radius: float, length: int, small: int) -> slice:
    """Return the pixels of the small copy that a hint covers along one side: one at least."""
    scale = small / length
    first = min(max(round((middle - radius) * scale), 0), small - 1)
    last = min(max(round((middle + radius) * scale), first + 1), small)
    return slice(first, last)


def _painted(painted: Painted, pixels: Samples, small: tuple[int, int], required: bool) -> Said:
    """Find the colors that were painted: where a* and b* differ from the photograph's.

    Raises:
        HintError: the copy has other proportions than the photograph, or nothing was painted.
    """
    height, width = painted.pixels.shape[:2]
    full = pixels.shape[:2]
    if not same_proportions((width, height), (full[1], full[0])):
        raise HintError(
            f"the painted copy is {width}x{height} pixels, and the photograph is {full[1]}x{full[0]}: {_SAME}"
        )
    # Enough to see each dot by; 48 megapixels of colors are 400 MB.
    scale = min(1.0, _SEEN / min(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced = np.asarray(Image.fromarray(painted.pixels).resize(size, Image.Resampling.BOX))
    colors = chromaticity(np.moveaxis(reduced.astype(np.float32) / np.float32(255), 2, 0))
    distance = np.hypot(*(colors - _own_colors(pixels, size)))
    # Of a copy that is colored everywhere, gray places are said, too. (A gray copy of a yellowed print is no such one.)
    everywhere = min(np.median(distance), np.median(np.hypot(*colors))) >= _EVERYWHERE
    differs = distance > (-1 if everywhere else _PAINTED)
    if painted.covers is not None:
        differs &= np.asarray(Image.fromarray(painted.covers).resize(size, Image.Resampling.NEAREST))
    # The mean color of what is painted within each pixel of the small copy.
    share = _averaged(differs.astype(np.float32), small)
    sums = np.stack([_averaged(np.where(differs, channel, 0).astype(np.float32), small) for channel in colors])
    # A small dot may lie where four pixels of the copy meet.
    where = share >= min(_COVERED, max(_LEAST_COVERED, float(share.max()) / 2))
    if required and not where.any():
        raise HintError("no color is painted on the copy: dots must be larger than a hundredth of its short side")
    return Said(np.where(where, sums / np.maximum(share, 1e-6), 0).astype(np.float32), where)


def _own_colors(pixels: Samples, size: tuple[int, int]) -> Floats:
    """Return a* and b* of the photograph itself at a size (width, height): a sepia print is no hint."""
    if pixels.ndim == 2:
        return np.zeros((2, size[1], size[0]), np.float32)
    rgb = np.asarray(Image.fromarray(eight_bits(pixels)).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))
    return chromaticity(np.moveaxis(rgb.astype(np.float32) / np.float32(255), 2, 0))


def _averaged(plane: Floats, small: tuple[int, int]) -> Floats:
    return np.asarray(Image.fromarray(plane).resize((small[1], small[0]), Image.Resampling.BOX))
