"""What margins around a photograph do to its colors, seen by the network or not: a Markdown table.

    python benchmarks/margins.py FOLDER [--model MODEL] [--count 100] [--side 160] [--margin 0.07]

Each photograph of the folder gets margins of a share of its short side. ab_mae is that of the photograph inside;
differences to the photograph without margins are paired, with 95 % intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from skimage.color import rgb2lab
from tqdm import tqdm

from benchmarks.hints import read
from pipeline.coloring.model_choice import choose_model
from pipeline.errors import exit_status
from pipeline.evaluation.paired import mean_interval
from pipeline.experiments.score import as_gray
from pipeline.inference import Colorizer
from pipeline.types import Pixels

# Levels of paper and film, 0 to 255.
MARGINS = {"black": 0, "white": 245, "gray paper": 215}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=Path("starter"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--margin", type=float, default=0.07)
    given = parser.parse_args()
    photographs = read(given.folder, given.count, given.side)
    colorizer = Colorizer.load(choose_model(given.model))
    bare = np.array([measured(colorizer, photograph, None, 0) for photograph in tqdm(photographs, leave=False)])
    print("| margins | seen | ab_mae | more by | chroma |\n|---|---|---|---|---|")
    print(f"| none | | {bare[:, 0].mean():.2f} | | {bare[:, 1].mean():.1f} |", flush=True)
    for name, level in MARGINS.items():
        for seen in (True, False):
            rows = np.array(
                [
                    measured(colorizer, photograph, level, given.margin, seen=seen)
                    for photograph in tqdm(photographs, desc=name, leave=False)
                ]
            )
            more = rows[:, 0] - bare[:, 0]
            low, high = mean_interval(more)
            numbers = f"{rows[:, 0].mean():.2f} | {more.mean():.2f} ({low:.2f} to {high:.2f}) | {rows[:, 1].mean():.1f}"
            print(f"| {name} | {'yes' if seen else 'no'} | {numbers} |", flush=True)
    return 0


def measured(
    colorizer: Colorizer, photograph: Pixels, level: int | None, share: float, *, seen: bool = False
) -> tuple[float, float]:
    """Return ab_mae and mean chroma inside of margins of a level, which the network sees or not."""
    height, width = photograph.shape[:2]
    margin = round(share * min(height, width))
    gray = np.pad(as_gray(photograph), ((margin, margin), (margin, margin)), constant_values=level or 0)
    if seen:
        light = colorizer.reduced_lightness(gray)
        colored = colorizer.join(gray, light, colorizer.ab(light))
    else:
        colored = colorizer(gray)
    ab = rgb2lab(colored[margin : margin + height, margin : margin + width])[..., 1:]
    true = rgb2lab(photograph)[..., 1:]
    return float(np.abs(ab - true).mean()), float(np.hypot(*np.moveaxis(ab, 2, 0)).mean())


if __name__ == "__main__":
    raise SystemExit(exit_status(main, "the benchmark"))
