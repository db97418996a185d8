"""Colors that the page offers for a place of a photograph."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageColor

from pipeline.color.arrays import colored, lightness
from pipeline.inference.hints import color_of
from pipeline.types import Floats, Pixels

# What people say most often, to begin with: skin and lips, hair, leaves, sky and sea, brick and wood, cloth, paint.
PALETTE = (
    *("#f1c9a5", "#c68642", "#8d5524", "#c0605a", "#5a3825", "#d9b66f", "#4f7a28", "#7fae42", "#87b5de", "#2f6f9f"),
    *("#a5482f", "#8a6239", "#b3a077", "#7a1f2b", "#c62828", "#e07b28", "#e6c229", "#1f3a63", "#5b3f8c", "#808080"),
)
# Colors that are offered for a place, and how much more chroma the second of them has.
_OFFERED, _MORE = 8, 2.0
# What counts as one place of a picture, as a share of its short side: half the side of the square.
_AROUND = 0.005


def likely_colors(painted: str) -> list[str]:
    """Return the colors that are offered for a place, the likeliest first.

    Args:
        painted: what the result has there.

    Returns:
        Eight: that color, the same with twice its chroma, and the common colors that are nearest to it in a* and b*.
    """
    light = lightness(np.array([[ImageColor.getrgb(painted)]], np.uint8))
    own = np.array(color_of(painted), np.float32)
    vivid = _hex(colored(light, (own * np.float32(_MORE)).reshape(2, 1, 1))[0, 0])
    nearest = sorted(PALETTE, key=lambda color: float(np.hypot(*(np.array(color_of(color)) - own))))
    return list(dict.fromkeys([painted, vivid, *nearest]))[:_OFFERED]


def color_at(image: Image.Image, x: float, y: float) -> str:
    """Return the mean color around a place: x and y are shares of the width and the height."""
    pixels = np.asarray(image.convert("RGB"))
    around = max(1, round(_AROUND * min(image.size)))
    row, column = (min(int(share * length), length - 1) for share, length in zip((y, x), pixels.shape, strict=False))
    near = pixels[max(0, row - around) : row + around + 1, max(0, column - around) : column + around + 1]
    return _hex(near.reshape(-1, 3).mean(0))


def _hex(color: Floats | Pixels) -> str:
    red, green, blue = (round(float(sample)) for sample in color)
    return f"#{red:02x}{green:02x}{blue:02x}"
