"""Draw the pictures of docs/tutorial.md into docs/tutorial/, and write its tables: `python scripts/make_tutorial.py`.

The pictures show photographs that ship inside scikit-image, and need no trained model. The tables are those of
reports/evaluate/, which each machine's own training rewrites: with `--check`, the script changes nothing, and fails
where the page has other numbers than the reports. That is for those who commit reports.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from skimage import data

from pipeline.color.arrays import chromaticity, colored, lightness
from pipeline.color.tensors import ColorSpace, rgb_to_lab
from pipeline.evaluation.baselines import MedianColors, lightness_bin
from pipeline.models.config import Discriminator
from pipeline.models.discriminators import build_discriminator
from pipeline.types import Floats, Pixels

PAGE = Path(__file__).parents[1] / "docs/tutorial.md"
FOLDER = PAGE.with_suffix("")
REPORTS = Path(__file__).parents[1] / "reports/evaluate"
COLORIZERS = ("gray", "constant", "lightness_table", "pretrain", "pretrain_saturated", "finetune")
METRICS = ("ab_mae", "ciede2000", "psnr_rgb", "ssim", "colorfulness", "colorfulness_gap")
BEGIN, END = "<!-- made by scripts/make_tutorial.py -->\n", "<!-- end -->\n"
# Side of a picture and the gap between two, pixels.
SIDE, GAP = 224, 8
# Lightness at which a* and b* are shown alone.
MIDDLE = 65.0
DARK = 100 / 3
# Intervals of lightness: of the table, as many as in quickstart, and of the picture of one interval's colors.
BINS, FEW_BINS = 101, 12
# 4:4:4, because color is what is shown.
JPEG = {"quality": 85, "subsampling": 0, "optimize": True}
Lab = tuple[Floats, Floats]
"""(H, W) L* and (2, H, W) a* and b*."""


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        text = PAGE.read_text(encoding="utf-8")
        sys.exit(0 if updated(text) == text else f"{PAGE.name} is stale: run python scripts/{Path(__file__).name}")
    FOLDER.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        picture.save(FOLDER / f"{name}.jpg", "JPEG", **JPEG)
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def updated(text: str) -> str:
    """Return the page with its two tables, of the dial and of the scores, made anew."""
    before, _, rest = text.partition(BEGIN)
    between, _, rest = rest.partition(END)[2].partition(BEGIN)
    return "".join([before, BEGIN, dial(), END, between, BEGIN, scores(), END, rest.partition(END)[2]])


def scores() -> str:
    found = json.loads((REPORTS / "metrics.json").read_text(encoding="utf-8"))
    rows = [[name, *(f"{found[name][metric]:.2f}" for metric in METRICS)] for name in COLORIZERS]
    return table(["colorizer", *METRICS], rows)


def dial() -> str:
    rows = []
    for words, file in (("dial", "dial.csv"), ("knob", "knob.csv")):
        with (REPORTS / file).open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                cells = [f"{float(row[name]):.2f}" for name in ("setting", "colorfulness", "ab_mae")]
                rows.append([words, *cells])
    return table(["", "setting", "colorfulness", "ab_mae"], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"


def pictures() -> dict[str, Image.Image]:
    coffee, cat = square(data.coffee()), square(data.chelsea())
    return {
        "lab": beside(planes(coffee)),
        "table": beside(by_table(square(data.astronaut()))),
        "median": beside(candidates(square(data.astronaut()))),
        "unet": beside(levels(coffee)),
        "patch": beside(patch(cat)),
        "knob": beside([shown(lab_of(cat), factor) for factor in (0, 0.5, 1, 1.5, 2)]),
    }


def square(photograph: Pixels) -> Pixels:
    """(H, W, 3) uint8 -> its center, (SIDE, SIDE, 3) uint8."""
    side = min(photograph.shape[:2])
    top, left = ((length - side) // 2 for length in photograph.shape[:2])
    center = Image.fromarray(photograph[top : top + side, left : left + side])
    return np.asarray(center.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def lab_of(photograph: Pixels) -> Lab:
    """(H, W, 3) uint8 sRGB -> its lightness and its color."""
    return lightness(photograph), chromaticity(np.moveaxis(photograph, 2, 0) / np.float32(255))


def shown(lab: Lab, factor: float = 1) -> Pixels:
    """(H, W, 3) uint8 sRGB, with the chroma times a factor."""
    return colored(lab[0], lab[1] * np.float32(factor))


def planes(photograph: Pixels) -> list[Pixels]:
    """Return the photograph, L* as a gray, and each of a* and b* at one lightness."""
    light, ab = lab_of(photograph)
    flat = np.full_like(light, MIDDLE)
    only_a, only_b = (ab * np.array(keep, np.float32)[:, None, None] for keep in ((1, 0), (0, 1)))
    return [photograph, shown((light, ab), 0), shown((flat, only_a)), shown((flat, only_b))]


def by_table(photograph: Pixels) -> list[Pixels]:
    """Gray, with the colors that a table from lightness gives, and the truth. The table is the photograph's own."""
    light, ab = lab_of(photograph)
    table = MedianColors([rgb_to_lab(tensor(photograph))], BINS)
    guess = table.table_ab(torch.from_numpy(light)[None])[0].numpy()
    return [shown((light, ab), 0), shown((light, guess)), photograph]


def candidates(photograph: Pixels) -> list[Pixels]:
    """Pixels of one lightness, whose median is the palest beside them; their colors, a* and b*; the median."""
    light, ab = lab_of(photograph)
    medians = MedianColors([rgb_to_lab(tensor(photograph))], FEW_BINS).table.numpy().astype(np.float32)
    rows = lightness_bin(torch.from_numpy(light), FEW_BINS).numpy()
    lost = np.hypot(*ab) - np.hypot(*medians)[rows]
    # Dark colors look alike on a screen.
    row = int(np.bincount(rows.ravel(), lost.ravel() * (light > DARK).ravel()).argmax())
    there = rows == row
    where = np.where(there[..., None], photograph, 255).astype(np.uint8)
    level = np.float32((row + 0.5) * 100 / FEW_BINS)
    field = np.broadcast_to(medians[:, row, None, None], (2, SIDE, SIDE))
    return [where, plane(ab[:, there], medians[:, row], level), shown((np.full_like(light, level), field))]


def plane(colors: Floats, median: Floats, level: np.float32) -> Pixels:
    """(2, P) colors as dots on white, a* to the right and b* up, from -60 to 60; a cross marks the median."""
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(canvas)
    pen.line([(0, SIDE // 2), (SIDE, SIDE // 2)], "lightgray")
    pen.line([(SIDE // 2, 0), (SIDE // 2, SIDE)], "lightgray")
    places = [(round(SIDE * (0.5 + a / 120)), round(SIDE * (0.5 - b / 120))) for a, b in colors.T]
    paints = colored(np.full((1, colors.shape[1]), level), colors[:, None])[0]
    for (x, y), paint in zip(places, paints, strict=True):
        pen.rectangle([x - 1, y - 1, x + 1, y + 1], tuple(int(part) for part in paint))
    x, y = round(SIDE * (0.5 + median[0] / 120)), round(SIDE * (0.5 - median[1] / 120))
    pen.line([(x - 8, y), (x + 8, y)], "black", 2)
    pen.line([(x, y - 8), (x, y + 8)], "black", 2)
    return np.asarray(canvas)


def levels(photograph: Pixels) -> list[Pixels]:
    """Return a photograph of 64 px as gray, at the resolutions of the encoder's five levels: 32, 16, 8, 4 and 2 px."""
    small = Image.fromarray(shown(lab_of(photograph), 0)).resize((64, 64), Image.Resampling.BOX)
    means = [small.resize((side, side), Image.Resampling.BOX) for side in (32, 16, 8, 4, 2)]
    return [np.asarray(mean.resize((SIDE, SIDE), Image.Resampling.NEAREST)) for mean in means]


def patch(photograph: Pixels) -> list[Pixels]:
    """Return the photograph with the frames of three patches that the discriminator judges, and the first patch
    alone.
    """
    frames = [receptive_field(photograph, row, column) for row, column in ((9, 7), (9, 8), (14, 18))]
    canvas = Image.fromarray(photograph)
    pen = ImageDraw.Draw(canvas)
    for frame, paint in zip(frames, ("white", "yellow", "white"), strict=True):
        pen.rectangle(frame, outline=paint, width=2)
    alone = Image.fromarray(photograph).crop(frames[0]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return [np.asarray(canvas), np.asarray(alone)]


def receptive_field(photograph: Pixels, row: int, column: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that one output of the quickstart's discriminator depends on."""
    params = Discriminator(receptive_field=70, channels=8, norm="batch", conditional=True)
    # In eval mode: batch normalization would mix all pixels into each output.
    network = build_discriminator(params, ColorSpace("lab"), seed=0).eval()
    condition, target = ColorSpace("lab").encode(tensor(photograph))
    condition.requires_grad_()
    network(condition, target)[0, 0, row, column].backward()
    assert condition.grad is not None
    rows, columns = condition.grad[0, 0].nonzero().T
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def tensor(photograph: Pixels) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) uint8."""
    return torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None]


def beside(parts: list[Pixels]) -> Image.Image:
    row = Image.new("RGB", (len(parts) * (SIDE + GAP) - GAP, SIDE), "white")
    for place, pixels in enumerate(parts):
        row.paste(Image.fromarray(pixels), (place * (SIDE + GAP), 0))
    return row


if __name__ == "__main__":
    main()
