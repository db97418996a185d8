"""Pictures of photographs beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP, _LABEL, _SMALLEST = 2, 96, 96


@dataclass(frozen=True)
class Row:
    label: str
    images: NDArray[np.uint8]
    """(N, S, S, 3) uint8 sRGB."""


def save_grid(path: Path, rows: list[Row]) -> None:
    """Write rows of equally many photographs, labelled at the left, as a PNG."""
    side = rows[0].images.shape[1]
    # Small photographs are shown in whole multiples, so that pixels stay square.
    shown = side * max(1, -(-_SMALLEST // side))
    pitch = shown + _GAP
    width = _LABEL + pitch * len(rows[0].images)
    canvas = Image.new("RGB", (width, pitch * len(rows) - _GAP), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for y, row in enumerate(rows):
        pen.text((6, y * pitch + shown // 2), row.label, "black", font, anchor="lm")
        for x, pixels in enumerate(row.images):
            image = Image.fromarray(pixels).resize((shown, shown), Image.Resampling.NEAREST)
            canvas.paste(image, (_LABEL + x * pitch, y * pitch))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, format="PNG")
