"""Write docs/results/gallery.md and docs/results/gallery/*.jpg: `python scripts/make_gallery.py MODEL`.

Every photograph of docs/historic is colored, none is left out. The order is by a rule: three-plate photographs by the
model's error, the smallest first; the others, whose colors nobody knows, by name.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.coloring.model_choice import choose_model
from pipeline.errors import InputError, exit_status
from pipeline.evaluation.classifier import Classifier
from pipeline.files import replacing
from pipeline.inference import Colorizer
from pipeline.media.pictures import read_picture
from pipeline.models.config import read_config

sys.path.append(str(Path(__file__).parents[1]))
from benchmarks import historic

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "results"
PLATES, OTHERS = "prokudin-gorskii", "america"
# Height of the pictures of a row and the gap between them, pixels; a row of three is some 900 wide.
HEIGHT, GAP = 260, 6
# Little enough for all rows to stay under 2 MB; 4:4:4, because color is what is shown.
JPEG = {"quality": 82, "subsampling": 0, "optimize": True}
# Short side on which errors are measured, pixels.
SIZE = 256


@dataclass(frozen=True)
class Row:
    name: str
    """Of the picture: gallery/NAME.jpg."""
    caption: str
    pictures: list[np.ndarray]
    """(H, W, 3) uint8: before, after and, where it is known, the true color."""
    error: float | None = None
    """ab_mae of the model."""


def main() -> None:
    sys.exit(exit_status(run, "the gallery"))


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="checkpoint folder; that of checkpoints/ by default")
    parser.add_argument("--historic", type=Path, default=DOCS / "historic", help="folder of the photographs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of gallery.md and gallery/")
    parser.add_argument("--sample", type=Path, help="data/sample of the model's training, for the lightness table")
    parser.add_argument("--no-classifier", action="store_true", help="without top1 and top5")
    given = parser.parse_args()
    model = choose_model(given.model)
    captions = read_captions(given.historic)
    train = historic.training_photographs(given.sample, model) if given.sample else None
    settings = historic.Settings(train=train, classifier=None if given.no_classifier else Classifier())
    colorizer = Colorizer.load(model)
    read = dict(historic.read_folder(given.historic / PLATES, historic.read_plates, size=2**16, count=0))
    measured = historic.measure({name: historic.reduced(rgb, SIZE) for name, rgb in read.items()}, colorizer, settings)
    plates = plate_rows(read, measured, colorizer, captions)
    others = other_rows(given.historic, colorizer, captions)
    write(given.out, plates, others, page(plates, others, measured, model))
    best, middle, worst = (plates[place] for place in (0, len(plates) // 2, -1))
    print(f"best {best.name} ({best.error:.1f}), median {middle.name} ({middle.error:.1f}), "
          f"worst {worst.name} ({worst.error:.1f}): ab_mae")  # fmt: skip


def read_captions(folder: Path) -> dict[str, str]:
    """By file, from photographs.csv: what it shows, when, by whom, where from.

    Raises:
        InputError: no such list, or photographs beside it that it does not name.
    """
    path = folder / "photographs.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            captions = {
                row["file"]: f"{row['title']}, {row['year']}. {row['photographer']}; {row['origin']}."
                for row in csv.DictReader(file, strict=True)
            }
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error!r}); it lists file,title,year,photographer,origin") from None
    found = (file.relative_to(folder).as_posix() for file in folder.rglob("*.jpg"))
    unknown = [name for name in found if name not in captions]
    if unknown:
        raise InputError(f"{path}: no line for {', '.join(sorted(unknown))}; say where each photograph comes from")
    return captions


def plate_rows(
    photographs: dict[str, np.ndarray], measured: historic.Measured, colorizer: Colorizer, captions: dict[str, str]
) -> list[Row]:
    """Black and white, colored, true color; the smallest error first."""
    errors = {row["path"]: row["ab_mae"] for row in measured.scores.rows if row["colorizer"] == "lightness, model"}
    plain = {row["path"]: row["ab_mae"] for row in measured.scores.rows if row["colorizer"] == "lightness, gray"}
    rows = []
    for name, true in photographs.items():
        gray = historic.GRAYS["lightness"](true)
        caption = f"{captions[f'{PLATES}/{name}']} ab_mae {errors[name]:.1f}, of gray {plain[name]:.1f}."
        rows.append(Row(Path(name).stem, caption, [np.dstack([gray] * 3), colorizer(gray), true], errors[name]))
    return sorted(rows, key=lambda row: (row.error, row.name))


def other_rows(folder: Path, colorizer: Colorizer, captions: dict[str, str]) -> list[Row]:
    """Black and white, colored; by name."""
    rows = []
    for file in sorted((folder / OTHERS).glob("*.jpg")):
        gray = read_picture(file, historic.MAX_PIXELS).pixels
        rows.append(Row(file.stem, captions[f"{OTHERS}/{file.name}"], [np.dstack([gray] * 3), colorizer(gray)]))
    return rows


def write(out: Path, plates: list[Row], others: list[Row], lines: list[str]) -> None:
    """gallery.md and gallery/: each appears whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "gallery") as folder:
        folder.mkdir()
        for row in [*plates, *others]:
            beside(row.pictures).save(folder / f"{row.name}.jpg", "JPEG", **JPEG)
    with replacing(out / "gallery.md") as file:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def beside(pictures: list[np.ndarray]) -> Image.Image:
    """Pictures of one size in a row, reduced to its height."""
    width = round(pictures[0].shape[1] * HEIGHT / pictures[0].shape[0])
    row = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, HEIGHT), "white")
    for place, pixels in enumerate(pictures):
        row.paste(Image.fromarray(pixels).resize((width, HEIGHT), Image.Resampling.LANCZOS), (place * (width + GAP), 0))
    return row


def page(plates: list[Row], others: list[Row], measured: historic.Measured, model: Path) -> list[str]:
    """Return the lines of gallery.md."""
    config = read_config(model.parent if model.suffix == ".onnx" else model)
    weights = next(sha for name, sha in sorted(config.sha256.items()) if name.startswith("generator"))
    return [
        "<!-- made by scripts/make_gallery.py -->",
        "",
        "# Gallery",
        "",
        "Historic photographs, colored by one model in one go: all of [historic/](../historic/README.md), none left "
        f"out, nothing adjusted. The model: {config.summary()}; SHA-256 of its weights {weights[:16]}.",
        "",
        "## Photographs whose colors are known",
        "",
        "Sergei Prokudin-Gorskii took each photograph three times, one after the other, through a blue, a green and a "
        "red filter. Laid over each other, the plates are the color of the time. From left to right: the photograph in "
        "black and white, as the model saw it; colored; the true color. The order is by the model's error (ab_mae, Lab "
        f"units, at {SIZE} px), the smallest first.",
        "",
        *(line for row in plates for line in shown(row)),
        "## How well",
        "",
        *historic.report(measured),
        "",
        "Black and white is the lightness of the true color, or the blue plate alone: films of the time saw blue light "
        "and hardly any red. gray has no color at all; lightness_table gives each lightness one color. top1 and top5 "
        "say how often an ImageNet classifier sees in the colored photograph what it sees in the true one. `python "
        "benchmarks/historic.py MODEL --sample data/sample`, in the folder where it was trained, measures the same. "
        "Spots, faded plates and what moved between the plates count "
        'as true colors. A verdict allows for the number of metrics, so it may be "no difference" although its own '
        "interval is to one side of 0.",
        "",
        "## Photographs whose colors nobody knows",
        "",
        "Black and white, and colored; by name.",
        "",
        *(line for row in others for line in shown(row)),
    ][:-1]


def shown(row: Row) -> list[str]:
    parts = ["black and white", "colored", "true color"][: len(row.pictures)]
    return [f"![{', '.join(parts)}](gallery/{row.name}.jpg)", "", row.caption, ""]


if __name__ == "__main__":
    main()
