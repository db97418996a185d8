"""What smoothing in time does to a film: its flicker, how far its colors are from the true ones, and its time.

    python benchmarks/smoothing.py [MODEL] [--films FILM...] [--frames 100] [--render-size 64]

Each film has color, which is the truth; the model sees it gray. Without `--films` they are made of photographs inside
scikit-image and scikit-learn: the camera still, and moving across a quarter of them in 40 frames; both under grain
(standard deviation 6 of 255) and an exposure that wavers by 3 %. The quickstart's model was trained on regions of these
photographs and is nearer to them than to others; what smoothing adds to that is what is measured.

Rows: without smoothing; in place, where each pixel keeps the color that was there; along the motion. Flicker is the
mean change of ab from a frame to the next where the lightness stays. `along` follows the content by Farneback's optical
flow at full size, not by the DIS that the smoothing itself follows; `in place` stays at the pixel, and so means little
where the camera moves. Chroma tells whether an error fell because colors became paler.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image
from skimage.color import rgb2lab

from pipeline.inference import Colorizer
from pipeline.inference.motion import Motion
from pipeline.inference.smoothing import Flicker, Smoother

FRAMES, WIDTH, HEIGHT = 40, 320, 240
PHOTOGRAPHS = ("skimage/data/chelsea.png", "skimage/data/coffee.png", "skimage/data/astronaut.png",
               "sklearn/datasets/images/china.jpg", "sklearn/datasets/images/flower.jpg")  # fmt: skip
STRENGTHS = (0.8, 0.9, 0.95)
Film = Callable[[], Iterator[tuple[np.ndarray, Image.Image]]]


@dataclass(frozen=True)
class Seen:
    """A frame as smoothing gets it."""

    light: np.ndarray
    ab: np.ndarray
    truth: np.ndarray
    flow: np.ndarray | None
    """By DIS."""
    motion: np.ndarray | None
    """By Farneback, for the measure."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="checkpoints/export")
    parser.add_argument("--films", nargs="+", type=Path, default=[])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--render-size", type=int)
    arguments = parser.parse_args()
    colorizer = Colorizer.load(arguments.model)
    groups: dict[str, list[Film]] = {
        path.name: [lambda path=path: real(path, arguments.frames)] for path in arguments.films
    } or {
        what: [lambda name=name, moving=moving: film(photograph(name), moving) for name in PHOTOGRAPHS]
        for what, moving in (("still camera", False), ("moving camera", True))
    }
    print("| film | smoothing | flicker along | flicker in place | ab_mae | chroma |\n|---|---|---|---|---|---|")
    for what, films in groups.items():
        seen = [watch(colorizer, one, arguments.render_size) for one in films]
        for strength, follow in ((0.0, False), (0.9, False), *((strength, True) for strength in STRENGTHS)):
            scores = np.mean([measure(frames, strength, follow) for frames in seen], 0)
            how = f"{strength} {'along the motion' if follow else 'in place'}" if strength else "none"
            print(f"| {what} | {how} | {' | '.join(f'{score:.2f}' for score in scores)} |", flush=True)


def watch(colorizer: Colorizer, film: Film, render_size: int | None) -> list[Seen]:
    """Color each frame by itself, and find the motion in two ways; prints the time of each part."""
    motion, before, frames, seconds = Motion(), None, [], np.zeros(2)
    for number, (gray, truth) in enumerate(film()):
        started = time.perf_counter()
        light = colorizer.reduced_lightness(gray, render_size)
        ab = colorizer.ab(light)
        colored = time.perf_counter()
        flow = motion.into(np.dstack([gray] * 3), light.shape, cut=number == 0)
        seconds += colored - started, time.perf_counter() - colored
        size = light.shape[::-1]
        small = rgb2lab(np.asarray(truth.resize(size, Image.Resampling.BICUBIC)))
        frames.append(Seen(light, ab, np.moveaxis(small[..., 1:], 2, 0), flow, farneback(before, gray, size)))
        before = gray
    network, flow_time = 1000 * seconds / len(frames)
    print(f"<!-- {len(frames)} frames: network {network:.0f} ms, motion {flow_time:.0f} ms a frame -->")
    return frames


def farneback(before: np.ndarray | None, gray: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    if before is None:
        return None
    flow = cv2.calcOpticalFlowFarneback(gray, before, None, 0.5, 5, 15, 5, 7, 1.5, 0)
    scale = np.float32([size[0] / gray.shape[1], size[1] / gray.shape[0]])
    return np.moveaxis(cv2.resize(flow, size, interpolation=cv2.INTER_AREA) * scale, 2, 0)


def measure(frames: list[Seen], strength: float, follow: bool) -> tuple[float, float, float, float]:
    smoother, along, in_place, errors, chroma = Smoother(strength), Flicker(), Flicker(), [], []
    for number, seen in enumerate(frames):
        cut = number == 0
        color = smoother(seen.light, seen.ab, cut, seen.flow if follow else None)
        along.add(seen.light, color, cut, seen.motion)
        in_place.add(seen.light, color, cut)
        errors.append(np.abs(seen.truth - color).mean())
        chroma.append(np.hypot(*color).mean())
    return along.mean, in_place.mean, float(np.mean(errors)), float(np.mean(chroma))


def real(path: Path, frames: int) -> Iterator[tuple[np.ndarray, Image.Image]]:
    """Yield the first frames of a film in color, gray and as they are."""
    with av.open(str(path)) as container:
        for frame in islice(container.decode(video=0), frames):
            truth = frame.to_image()
            yield np.asarray(truth.convert("L")), truth


def film(photo: Image.Image, moving: bool) -> Iterator[tuple[np.ndarray, Image.Image]]:
    """Each frame as a camera for gray film has it, and in color."""
    grain = np.random.default_rng(0)
    wide = 0.75 * min(photo.width, photo.height * WIDTH / HEIGHT)
    for number in range(FRAMES):
        x = (photo.width - wide) * number / FRAMES if moving else 0.0
        frame = photo.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, (x, 0, x + wide, wide * HEIGHT / WIDTH))
        gray = np.asarray(frame.convert("L"), np.float32) * (1 + 0.03 * np.sin(1.7 * number))
        yield (gray + grain.normal(0, 6, gray.shape)).clip(0, 255).astype(np.uint8), frame


def photograph(name: str) -> Image.Image:
    package, _, inside = name.partition("/")
    with Image.open(Path(str(files(package) / inside))) as image:
        return image.convert("RGB")


if __name__ == "__main__":
    main()
