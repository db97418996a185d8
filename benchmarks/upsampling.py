"""How much of the true color the upsampling of `colorize` keeps, against plain bilinear.

    python benchmarks/upsampling.py [PHOTOGRAPHS...]

The true ab of each photograph is reduced to a render size and brought back with its full lightness; what is left is
the mean absolute error in Lab units, over all pixels and over the tenth with the strongest edges of color. Without
arguments, on the color photographs inside scikit-image and scikit-learn.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from pipeline.inference.upsampling import GuidedColor, rows_of

RENDER_SIZE = 64
SKIMAGE = ("astronaut.png", "coffee.png", "motorcycle_left.png", "retina.jpg", "ihc.png", "rocket.jpg", "chelsea.png")
SKLEARN = ("china.jpg", "flower.jpg")


def main() -> None:
    inside = [files("skimage") / "data" / name for name in SKIMAGE]
    inside += [files("sklearn") / "datasets" / "images" / name for name in SKLEARN]
    paths = [Path(name) for name in sys.argv[1:]] or [Path(str(file)) for file in inside]
    errors = np.array([compare(path) for path in paths])
    means = errors.mean(0)
    for place, (bilinear, guided) in zip(("all pixels", "edges of color"), means, strict=True):
        gain = 100 * (guided / bilinear - 1)
        print(f"{place}: bilinear {bilinear:.3f}, guided {guided:.3f} ({gain:+.1f} %), {len(paths)} photographs")


def compare(path: Path) -> list[tuple[float, float]]:
    """(bilinear, guided) over all pixels and over edges."""
    with Image.open(path) as image:
        full = image.convert("RGB")
    scale = RENDER_SIZE / min(full.size)
    small = full.resize((round(full.width * scale), round(full.height * scale)), Image.Resampling.BICUBIC)
    truth, reduced = lab_planes(full), lab_planes(small)
    height, width = truth.shape[1:]
    steps = sum(np.hypot(*np.gradient(gaussian_filter(plane, 1))) for plane in truth[1:])
    edges = steps > np.quantile(steps, 0.9)
    bilinear = np.stack([rows_of(plane, 0, height, width, height) for plane in reduced[1:]])
    guided = GuidedColor.fit(reduced[0], reduced[1:]).rows(truth[0], 0, height)
    lost = [np.abs(color - truth[1:]).mean(0) for color in (bilinear, guided)]
    return [tuple(float(error[where].mean()) for error in lost) for where in (np.ones_like(edges), edges)]


def lab_planes(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(rgb2lab(np.asarray(image)), 2, 0), np.float32)


if __name__ == "__main__":
    main()
