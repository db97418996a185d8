"""Grids: rows of photographs beside each other, as one PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipeline.types import Pixels

_GAP, _SMALLEST_SIDE = 2, 96
# Pixels of the labels at least, and around them.
_LABEL_WIDTH, _MARGIN = 96, 6


@dataclass(frozen=True)
class Row:
    label: str
    images: Pixels
    """(N, S, S, 3) uint8 sRGB."""


def save_grid(path: Path, rows: list[Row]) -> None:
    """Write rows of equally many photographs, labelled at the left, as a PNG."""
    side = rows[0].images.shape[1]
    # Small photographs are enlarged by a whole factor, so that pixels stay square.
    enlarged = side * max(1, -(-_SMALLEST_SIDE // side))
    pitch = enlarged + _GAP
    font = ImageFont.load_default(14)
    left = max([_LABEL_WIDTH, *(round(font.getlength(row.label)) + 2 * _MARGIN for row in rows)])
    canvas = Image.new("RGB", (left + pitch * len(rows[0].images), pitch * len(rows) - _GAP), "white")
    pen = ImageDraw.Draw(canvas)
    for y, row in enumerate(rows):
        pen.text((_MARGIN, y * pitch + enlarged // 2), row.label, "black", font, anchor="lm")
        for x, pixels in enumerate(row.images):
            image = Image.fromarray(pixels).resize((enlarged, enlarged), Image.Resampling.NEAREST)
            canvas.paste(image, (left + x * pitch, y * pitch))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, format="PNG")
