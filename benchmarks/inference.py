"""Coloring by ONNX Runtime against coloring by torch: the same photographs in the same run, alternately.

    python benchmarks/inference.py [RENDER_SIZE...]

Prints, for each render size, the ratio of the medians (below 1: ONNX Runtime is faster), of the network alone and of a
12-megapixel photograph as a whole. Needs checkpoints/finetune and checkpoints/export, which `dvc repro` makes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from PIL import Image
from skimage import data

from pipeline.inference import Colorizer

ROUNDS = 9
SIZES = (64, 256, 512)


def main() -> None:
    photo = np.asarray(Image.fromarray(data.astronaut()).convert("L").resize((4000, 3000)))
    by_torch, by_onnx = (Colorizer.load(f"checkpoints/{name}") for name in ("finetune", "export"))
    for size in [int(word) for word in sys.argv[1:]] or SIZES:
        light = by_onnx.reduced_lightness(photo, size)
        network = ratio(lambda light=light: by_onnx.ab(light), lambda light=light: by_torch.ab(light))
        whole = ratio(
            lambda size=size: by_onnx(photo, render_size=size), lambda size=size: by_torch(photo, render_size=size)
        )
        print(f"render size {size}: ONNX Runtime takes {network:.2f} of torch's time for the network, "
              f"{whole:.2f} for a 12-megapixel photograph")  # fmt: skip


def ratio(ours: Callable[[], object], reference: Callable[[], object]) -> float:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + 1):
        for run, kept in zip((ours, reference), times, strict=True):
            start = time.perf_counter()
            run()
            if number:  # the first warms up
                kept.append(time.perf_counter() - start)
    return median(times[0]) / median(times[1])


if __name__ == "__main__":
    main()
