"""What hints are worth on a folder of color photographs, as `twotone colorize` spreads them: Markdown tables.

    python benchmarks/hints.py FOLDER [--model MODEL] [--count 60] [--side 256]

Each photograph is reduced to a short side and colored with 0 to 50 hints: squares of its own mean color at random
places. "alone" spreads the hints on gray (saturation 0). The second table tells how near the colors that the page
offers for a place come to the true one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.color import lab2rgb, rgb2lab
from tqdm import tqdm

from pipeline.coloring.model_choice import choose_model
from pipeline.errors import exit_status
from pipeline.evaluation.metrics import METRICS, Photograph
from pipeline.evaluation.paired import mean_interval
from pipeline.inference import Colorizer, Hint
from pipeline.inference.hints import color_of
from pipeline.media.decoding import SUFFIXES
from pipeline.page.palette import PALETTE, color_at, likely_colors
from pipeline.types import Pixels

COUNTS = (0, 1, 2, 5, 10, 50)
SHOWN = {"ab_mae": 2, "psnr_rgb": 2, "ciede2000": 2, "bleeding": 2}
# Half the side of a hint's square, as a share of the short side.
RADIUS = 0.012
SEED = 7
# Places of each photograph for which colors are offered, the chroma from which somebody would say one, and how near a
# color is good enough: Lab units.
PLACES, SAYS, NEAR = 5, 8.0, 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=Path("starter"))
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--side", type=int, default=256)
    given = parser.parse_args()
    photographs = read(given.folder, given.count, given.side)
    colorizer = Colorizer.load(choose_model(given.model))
    print(f"{len(photographs)} photographs of {given.folder.name}, short side {given.side} px\n")
    print(f"| | {' | '.join(map(str, COUNTS))} |\n|---|{'---|' * len(COUNTS)}")
    for name, saturation in (("hints alone", 0.0), ("generator + hints", 1.0)):
        columns = [measured(colorizer, photographs, count, saturation) for count in COUNTS]
        for metric, digits in SHOWN.items():
            print(f"| {name}: {metric} | {' | '.join(shown(column[metric], digits) for column in columns)} |")
    print("\n| offered | distance of the nearest in a* and b* | one within 10 |\n|---|---|---|")
    for name, (distances, near) in offered(colorizer, photographs).items():
        print(f"| {name} | {shown(distances, 1)} | {shown(near, 2)} |")
    return 0


def read(folder: Path, count: int, side: int) -> list[Pixels]:
    """Read photographs that are evenly spread over the sorted names of a folder."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    chosen = files[:: max(1, len(files) // count)][:count]
    found = []
    for file in chosen:
        with Image.open(file) as image:
            rgb = image.convert("RGB")
        scale = side / min(rgb.size)
        size = (max(side, round(rgb.width * scale)), max(side, round(rgb.height * scale)))
        found.append(np.asarray(rgb.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)))
    return found


def measured(colorizer: Colorizer, photographs: list[Pixels], count: int, saturation: float) -> dict[str, list[float]]:
    """Return each metric of each photograph."""
    values: dict[str, list[float]] = {name: [] for name in SHOWN}
    for number, rgb in enumerate(tqdm(photographs, desc=f"{count} hints", leave=False)):
        lab = rgb2lab(rgb)
        hints = said(lab, count, np.random.default_rng([SEED, number]))
        colored = colorizer(rgb, hints=hints, saturation=saturation)
        true, found = Photograph(lab[..., 1:], rgb), Photograph(rgb2lab(colored)[..., 1:], colored)
        for name in SHOWN:
            values[name].append(METRICS[name].compute(found, true))
    return values


def offered(colorizer: Colorizer, photographs: list[Pixels]) -> dict[str, tuple[list[float], list[float]]]:
    """Return how far the nearest color that is offered lies from the true one, and the share of those that are near.

    Both are means over places of a photograph.
    """
    found: dict[str, tuple[list[float], list[float]]] = {}
    for number, rgb in enumerate(photographs):
        painted, rng = Image.fromarray(colorizer(rgb)), np.random.default_rng([SEED, number])
        distances: dict[str, list[float]] = {}
        for x, y in rng.random((PLACES, 2)):
            true = np.array(color_of(color_at(Image.fromarray(rgb), x, y)))
            if np.hypot(*true) < SAYS:
                continue
            likely = likely_colors(color_at(painted, x, y))
            common = {"the first 8 common colors": PALETTE[:8], "all 20 common colors": PALETTE}
            for name, colors in {"8 for the place": likely, **common}.items():
                nearest = min(float(np.hypot(*(np.array(color_of(color)) - true))) for color in colors)
                distances.setdefault(name, []).append(nearest)
        for name, values in distances.items():
            means, shares = found.setdefault(name, ([], []))
            means.append(float(np.mean(values)))
            shares.append(float(np.mean(np.array(values) < NEAR)))
    return found


def said(lab: np.ndarray, count: int, rng: np.random.Generator) -> list[Hint]:
    height, width = lab.shape[:2]
    radius = max(1, round(RADIUS * min(height, width)))
    hints = []
    for y, x in rng.integers(radius, (height - radius, width - radius), (count, 2)):
        mean = lab[y - radius : y + radius, x - radius : x + radius].reshape(-1, 3).mean(0)
        red, green, blue = (lab2rgb(mean.reshape(1, 1, 3))[0, 0] * 255).round().astype(int)
        hints.append(Hint(float(x), float(y), f"#{red:02x}{green:02x}{blue:02x}", radius))
    return hints


def shown(values: list[float], digits: int) -> str:
    low, high = mean_interval(np.array(values))
    return f"{np.mean(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


if __name__ == "__main__":
    raise SystemExit(exit_status(main, "the benchmark"))
