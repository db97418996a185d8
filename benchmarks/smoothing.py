"""What smoothing in time does to a film: its flicker, and how far its colors are from the true ones.

    python benchmarks/smoothing.py [MODEL]

Two films without cuts are made of each of five photographs inside scikit-image and scikit-learn: the camera still, and
moving across a quarter of it in 40 frames; both under grain (standard deviation 6 of 255) and an exposure that wavers
by 3 %. Since the photographs have color, the error of the result is known. The quickstart's model was trained on
regions of these photographs and is nearer to them than to others; what smoothing adds to that is what is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

from pipeline.inference import Colorizer
from pipeline.inference.smoothing import Flicker, Smoother

FRAMES, WIDTH, HEIGHT = 40, 320, 240
PHOTOGRAPHS = ("skimage/data/chelsea.png", "skimage/data/coffee.png", "skimage/data/astronaut.png",
               "sklearn/datasets/images/china.jpg", "sklearn/datasets/images/flower.jpg")  # fmt: skip
STRENGTHS = (0.0, 0.5, 0.8, 0.9, 0.95)


def main() -> None:
    colorizer = Colorizer.load(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/export")
    for what, moving in (("still", False), ("moving", True)):
        for strength in STRENGTHS:
            scores = np.array([measure(colorizer, photograph(name), moving, strength) for name in PHOTOGRAPHS])
            flicker, error = scores.mean(0)
            print(f"{what} camera, smoothing {strength:.2f}: flicker {flicker:.2f}, ab_mae {error:.2f}")


def measure(colorizer: Colorizer, photo: Image.Image, moving: bool, strength: float) -> tuple[float, float]:
    smoother, flicker, errors = Smoother(strength), Flicker(), []
    for number, (gray, truth) in enumerate(film(photo, moving)):
        light = colorizer.reduced_lightness(gray)
        color = smoother(light, colorizer.ab(light), cut=number == 0)
        flicker.add(light, color, cut=number == 0)
        height, width = light.shape
        small = np.asarray(truth.resize((width, height), Image.Resampling.BICUBIC))
        errors.append(np.abs(np.moveaxis(rgb2lab(small)[..., 1:], 2, 0) - color).mean())
    return flicker.mean, float(np.mean(errors))


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
