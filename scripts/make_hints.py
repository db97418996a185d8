"""Draw docs/how-to/hints.jpg, photographs of docs/historic before, with the starter's colors, and with hints.

python scripts/make_hints.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from pipeline.inference import Colorizer, Hint  # noqa: E402

AMERICA = ROOT / "docs/historic/america"
HINTS = {
    "armstrong-1946.jpg": [
        Hint("39%", "30%", "#46707c", "3%"),
        Hint("10%", "90%", "#46707c", "3%"),
        Hint("72%", "86%", "#2b3a6b", "3%"),
        Hint("21%", "81%", "#c9982f", "2%"),
        Hint("66%", "46%", "#7a4a2e", "2%"),
        Hint("52%", "73%", "#7a4a2e", "1%"),
    ],
    "nipomo-1936.jpg": [
        Hint("52%", "33%", "#b98465", "2%"),
        Hint("41%", "75%", "#b98465", "2%"),
        Hint("40%", "50%", "#b98465", "1%"),
        Hint("46%", "17%", "#4a3426", "2%"),
        Hint("68%", "66%", "#7f8fa6", "3%"),
        Hint("29%", "60%", "#7f8fa6", "2%"),
    ],
}
HEIGHT = 360


def marked(colored: Image.Image, hints: list[Hint]) -> Image.Image:
    """Return a picture with a square of the color where each hint is said."""
    picture, side = colored.copy(), max(colored.size) // 60
    draw = ImageDraw.Draw(picture)
    for hint in hints:
        x, y = (float(str(place).rstrip("%")) / 100 for place in (hint.x, hint.y))
        left, top = x * picture.width - side, y * picture.height - side
        box = (left, top, left + 2 * side, top + 2 * side)
        draw.rectangle(box, fill=hint.color, outline="white", width=max(1, side // 5))
    return picture


def main() -> None:
    colorizer = Colorizer.load(ROOT / "checkpoints/starter")
    rows = []
    for name, hints in HINTS.items():
        with Image.open(AMERICA / name) as image:
            gray = image.convert("L")
        pictures = [gray.convert("RGB"), marked(colorizer(gray), hints), colorizer(gray, hints=hints)]
        rows.append([one.resize((round(one.width * HEIGHT / one.height), HEIGHT)) for one in pictures])
    width = max(sum(one.width for one in row) for row in rows)
    sheet = Image.new("RGB", (width, HEIGHT * len(rows)), "white")
    for number, row in enumerate(rows):
        left = (width - sum(one.width for one in row)) // 2
        for one in row:
            sheet.paste(one, (left, number * HEIGHT))
            left += one.width
    sheet.save(ROOT / "docs/how-to/hints.jpg", quality=88, subsampling=0)


if __name__ == "__main__":
    main()
