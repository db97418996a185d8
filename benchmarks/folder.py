"""How fast a folder is colored: `twotone colorize` against one process of it, and the plain loop of the tutorials.

    python benchmarks/folder.py [MODEL] [--photographs 48] [--size 2400x1800] [--repeats 5]

Everything is timed as whole commands, in alternation, on generated JPEG files. The plain loop decodes by Pillow,
converts by scikit-image, colors the small copy by ONNX Runtime, enlarges its color bicubically and saves. Cores is
processor time by time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

ROOT = Path(__file__).parents[1]
STARTER = ROOT / "checkpoints/starter"
TWOTONE = [sys.executable, "-m", "pipeline.cli"]
# Of the starter model, which sees L* / 50 - 1 and gives ab / 110.
SIDE = 96


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path, default=STARTER)
    parser.add_argument("--photographs", type=int, default=48)
    parser.add_argument("--size", default="2400x1800")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        plain_loop(given.model, given.plain)
        return
    width, height = (int(side) for side in given.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        photographs = Path(name, "photographs")
        generate(photographs, given.photographs, width, height)
        out = Path(name, "colored")
        one = [*TWOTONE, "colorize", str(photographs), "-o", str(out), "--model", str(given.model)]
        plain = [sys.executable, __file__, str(given.model), "--plain", str(photographs)]
        ways = {"twotone colorize": one, "with --processes 1": [*one, "--processes", "1"], "plain loop": plain}
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for number in range(given.repeats + 1):
            for way, command in ways.items():
                shutil.rmtree(out, ignore_errors=True)
                taken = timed(command)
                if number:  # the first warms up
                    times[way].append(taken)
    report(times, given.photographs)


def report(times: dict[str, list[tuple[float, float]]], photographs: int) -> None:
    print("| | seconds | photographs/s | cores | time by ours | of pairs |\n|---|---|---|---|---|---|")
    ours = [wall for wall, _ in times["twotone colorize"]]
    for way, taken in times.items():
        wall, busy = (statistics.median(column) for column in zip(*taken, strict=True))
        ratios = [other / own for (other, _), own in zip(taken, ours, strict=True)]
        cells = (way, f"{wall:.2f}", f"{photographs / wall:.2f}", f"{busy / wall:.2f}",
                 f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}")  # fmt: skip
        print(f"| {' | '.join(cells)} |")


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds until it has ended, and of processor time."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    wall, after = time.perf_counter() - started, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def generate(folder: Path, count: int, width: int, height: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        grain = rng.normal(0, 6, smooth.shape)
        Image.fromarray(np.uint8(np.clip(smooth + grain, 0, 255))).save(folder / f"{number:03d}.jpg", quality=90)


def plain_loop(model: Path, folder: Path) -> None:
    session = onnxruntime.InferenceSession(model / "generator.onnx")
    with tempfile.TemporaryDirectory() as out:
        for file in sorted(folder.iterdir()):
            lab = rgb2lab(np.asarray(Image.open(file).convert("RGB")))
            light = Image.fromarray(np.float32(lab[..., 0])).resize((128, SIDE), Image.Resampling.BICUBIC)
            first, *dial = session.get_inputs()
            # Channels of hints are 0, and a dial stands at 1.
            seen = np.zeros((1, first.shape[1], *light.size[::-1]), np.float32)
            seen[0, 0] = np.asarray(light) / np.float32(50) - 1
            inputs = {first.name: seen} | {one.name: np.ones(1, np.float32) for one in dial}
            for channel, plane in enumerate(session.run(None, inputs)[0][0], 1):
                large = Image.fromarray(plane).resize(lab.shape[1::-1], Image.Resampling.BICUBIC)
                lab[..., channel] = 110 * np.asarray(large)
            Image.fromarray(np.uint8(np.round(255 * lab2rgb(lab)))).save(Path(out, file.name), quality=95)


if __name__ == "__main__":
    main()
