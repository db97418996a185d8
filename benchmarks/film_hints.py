"""What one frame that somebody has colored is worth for the frames after it.

    python benchmarks/film_hints.py [MODEL] --films FILM... [--frames 100]

Each film has color, which is the truth; the model sees it gray. Its first frame in its true colors is given as a
painted copy, or ten true colors at random places of it as hints; then ten of the middle frame. Prints the ab_mae of
frames by their distance from that frame, without and with what was said, in Markdown. Photographs are measured by
benchmarks/hints.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

from pipeline.inference import Colorizer
from pipeline.inference.colorizer import ColoringOptions
from pipeline.inference.earlier_colors import colors_before
from pipeline.inference.hints import Hint, Painted
from pipeline.inference.motion import Cuts, Motion
from pipeline.inference.said_colors import SaidColors
from pipeline.inference.smoothing import Smoother
from pipeline.media.video_reader import Frame, open_reader

MAX_PIXELS = 10**8
# Distances from the first frame, in frames: from, to.
SPANS = ((0, 1), (1, 10), (10, 25), (25, 50), (50, 100))
SMOOTHING, COUNT = 0.9, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="checkpoints/starter")
    parser.add_argument("--films", nargs="+", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    colorizer = Colorizer.load(arguments.model)
    spans = [f"{first} to {last - 1}" for first, last in SPANS]
    print(f"| film | said | {' | '.join(spans)} |\n|---|---|{'---|' * len(spans)}")
    for path in arguments.films:
        with open_reader(path, MAX_PIXELS) as reader:
            frames = list(islice((part for part in reader.parts() if isinstance(part, Frame)), arguments.frames))
        first = frames[0].pixels
        for what, hints in (("nothing", ()), (f"{COUNT} hints", at_random(first)), ("the first frame", Painted(first))):
            errors = measured(colorizer, frames, hints)
            cells = [f"{np.mean(errors[slice(*span)]):.2f}" if len(errors) > span[0] else "" for span in SPANS]
            print(f"| {path.name} | {what} | {' | '.join(cells)} |", flush=True)
        for row in around_the_middle(colorizer, frames):
            print(f"| {path.name} | {row} |", flush=True)


def around_the_middle(colorizer: Colorizer, frames: Sequence[Frame]) -> Iterator[str]:
    """Yield what ten hints of the middle frame are worth before and after it, and what is there without."""
    middle = len(frames) // 2
    time = float((frames[middle].pts - frames[0].pts) * frames[0].time_base)
    hints = tuple(replace(hint, time=time) for hint in at_random(frames[middle].pixels))
    earlier = colors_before(frames, hints, colorizer, ColoringOptions())
    for what, said in (("nothing", ()), (f"{COUNT} hints of frame {middle}", hints)):
        errors = measured(colorizer, frames, said, earlier if said else {})
        for side, far in (("before", errors[middle::-1]), ("after", errors[middle:])):
            cells = [f"{np.mean(far[slice(*span)]):.2f}" if len(far) > span[0] else "" for span in SPANS]
            yield f"{what}, {side} | {' | '.join(cells)}"


def at_random(rgb: np.ndarray) -> tuple[Hint, ...]:
    """Say true colors at random places of a frame."""
    rng, (height, width) = np.random.default_rng(0), rgb.shape[:2]
    half = max(1, round(0.015 * min(height, width)))
    found = []
    for _ in range(COUNT):
        y, x = int(rng.integers(half, height - half)), int(rng.integers(half, width - half))
        mean = rgb[y - half : y + half + 1, x - half : x + half + 1].reshape(-1, 3).mean(0).round().astype(int)
        found.append(Hint(x, y, "#{:02x}{:02x}{:02x}".format(*mean), half))
    return tuple(found)


def measured(
    colorizer: Colorizer,
    frames: Sequence[Frame],
    hints: tuple[Hint, ...] | Painted,
    earlier: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> list[float]:
    """Return the ab_mae of each frame, Lab units."""
    said, smoother, motion, cuts, errors = SaidColors(hints, None, earlier), Smoother(SMOOTHING), Motion(), Cuts(), []
    for frame in frames:
        light, cut = colorizer.reduced_lightness(frame.pixels), cuts.before(frame.pixels)
        flow = motion.into(frame.pixels, light.shape, cut)
        colors = smoother(light, colorizer.ab(light), cut, flow)
        # A gray frame, as people have it: what is painted differs from it.
        gray = Frame(np.repeat(frame.pixels.mean(2, keepdims=True).astype(np.uint8), 3, 2), *gray_of(frame))
        colors = said.kept(light, colors, gray, cut, flow)
        size = (light.shape[1], light.shape[0])
        true = rgb2lab(np.asarray(Image.fromarray(frame.pixels).resize(size, Image.Resampling.BICUBIC)))
        errors.append(float(np.abs(np.moveaxis(colors, 0, 2) - true[..., 1:]).mean()))
    return errors


def gray_of(frame: Frame) -> tuple[int, object, int, bool]:
    return frame.pts, frame.time_base, frame.duration, frame.turned


if __name__ == "__main__":
    main()
