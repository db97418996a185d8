"""What a reference picture is worth, as `twotone colorize --like` takes it: a Markdown table of ab_mae.

    python benchmarks/like.py FOLDER [--films FILM ...] [--model MODEL] [--count 30] [--side 256]

References of each photograph: itself, mirrored, cropped and darkened; the next photograph of the folder, by name; and,
of films, another frame of the first shot. Differences are paired, with 95 % intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from skimage.color import rgb2lab
from tqdm import tqdm

from benchmarks.hints import read
from pipeline.coloring.model_choice import choose_model
from pipeline.errors import HintError, exit_status
from pipeline.evaluation.paired import mean_interval
from pipeline.inference import Colorizer, hints_like
from pipeline.types import Pixels

# Of a film, frames that are so far apart.
FRAMES = (0, 8, 16, 24)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=Path, nargs="*", default=[])
    parser.add_argument("--model", type=Path, default=Path("starter"))
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--side", type=int, default=256)
    given = parser.parse_args()
    photographs = read(given.folder, given.count, given.side)
    colorizer = Colorizer.load(choose_model(given.model))
    print("| reference | pairs | places | without | with | better by |\n|---|---|---|---|---|---|")
    kinds = {
        "itself, mirrored, cropped, darkened": [(one, changed(one)) for one in photographs],
        "the next of the folder": list(pairwise(photographs)),
        **{f"another frame of {film.name}": list(of_film(film)) for film in given.films},
    }
    for name, pairs in kinds.items():
        rows = [row for pair in tqdm(pairs, desc=name, leave=False) if (row := measured(colorizer, *pair))]
        if not rows:  # a gray film
            print(f"| {name} | 0 | | | | |")
            continue
        places, without, with_it = np.array(rows).T
        low, high = mean_interval(without - with_it)
        middle = (without - with_it).mean()
        numbers = f"{places.mean():.0f} | {without.mean():.2f} | {with_it.mean():.2f}"
        print(f"| {name} | {len(rows)} | {numbers} | {middle:.2f} ({low:.2f} to {high:.2f}) |", flush=True)
    return 0


def measured(colorizer: Colorizer, photograph: Pixels, reference: Pixels) -> tuple[float, float, float] | None:
    """Return how many places match, and the error without and with the reference; None where that is gray."""
    try:
        hints = hints_like(photograph, reference)
    except HintError:
        return None
    true = rgb2lab(photograph)[..., 1:]
    errors = [np.abs(rgb2lab(colorizer(photograph, hints=said))[..., 1:] - true).mean() for said in ((), hints)]
    return float(len(hints)), float(errors[0]), float(errors[1])


def changed(photograph: Pixels) -> Pixels:
    height, width = photograph.shape[:2]
    part = photograph[height // 10 : height - height // 20, width // 12 : width - width // 12]
    return np.ascontiguousarray((part[:, ::-1] * 0.8).astype(np.uint8))


def of_film(film: Path) -> Iterator[tuple[Pixels, Pixels]]:
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for number, frame in enumerate(container.decode(video=0))
                  if number in FRAMES]  # fmt: skip
    for number, one in enumerate(frames):
        yield from ((one, other) for other in (*frames[:number], *frames[number + 1 :]))


if __name__ == "__main__":
    raise SystemExit(exit_status(main, "the benchmark"))
