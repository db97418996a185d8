"""uv run python -m benchmarks.size 10000 100000: the memory that sampling and training take, by photographs.

Generated photographs of 32 px, from L*a*b* arrays on disk (3 KB each, and 3 KB for the sample). Each number is sampled
in a process of its own, and then trained on for some steps. Memory is the process's own (RssAnon): pages of mapped
files are the system's to take back.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

SIDE, STEPS, CHUNK = 32, 20, 10_000


def generate(folder: Path, count: int) -> None:
    """gray_scale.npy and ab1.npy, as the source lab_arrays reads them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    gray = open_memmap(folder / "gray_scale.npy", "w+", np.uint8, (count, SIDE, SIDE))
    ab = open_memmap(folder / "ab1.npy", "w+", np.uint8, (count, SIDE, SIDE, 2))
    for start in range(0, count, CHUNK):
        n = min(CHUNK, count - start)
        gray[start : start + n] = rng.integers(0, 256, (n, SIDE, SIDE), dtype=np.uint8)
        ab[start : start + n] = rng.integers(100, 156, (n, SIDE, SIDE, 2), dtype=np.uint8)
    gray.flush(), ab.flush()


def sample(folder: Path, count: int) -> None:
    from pipeline.params.schema import read
    from pipeline.sampling.arrays import lab_arrays
    from pipeline.sampling.draw import draw

    block = read(Path("recipes/quickstart.yaml")).sample
    held_out = max(1, count // 100)
    counts = {"train": count - 2 * held_out, "valid": held_out, "test": held_out, "source": "lab_arrays"}
    out = folder / "sample"
    out.mkdir()
    candidates = lab_arrays(folder / "arrays")
    draw(candidates, block.model_copy(update=counts), SIDE, 0, out)


def train(folder: Path, _count: int) -> None:
    import torch

    from pipeline.color.tensors import ColorSpace
    from pipeline.data.loader import LoaderConfig, train_batches
    from pipeline.data.shards import Photographs
    from pipeline.devices import start
    from pipeline.models.compact_unet import CompactUnet
    from pipeline.params.schema import read
    from pipeline.training.objectives import ContentObjective

    params, space = read(Path("recipes/quickstart.yaml")), ColorSpace("lab")
    torch.set_num_threads(1)
    objective = ContentObjective(CompactUnet(1, 2), params.pretrain, space, start(params.base))
    photographs = Photographs(folder / "sample", "train", SIDE)
    for epoch in range(3):
        batches = train_batches(photographs, LoaderConfig(16, 0, flip=True), epoch)
        for number, batch in zip(range(STEPS), batches, strict=False):
            objective.step(*space.encode(batch), number)


def own_megabytes() -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def watched(work: str, folder: Path, count: int) -> None:
    """Run the work, and print its seconds and the largest memory that it had."""
    most, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, own_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    {"sample": sample, "train": train}[work](folder, count)
    done.set()
    watcher.join()
    print(f"{time.monotonic() - started:.1f} {most:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=__doc__)
    parser.add_argument("counts", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--work", choices=("sample", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        watched(given.work, given.folder, given.counts[0])
        return
    print("| photographs | sampling, s | sampling, MB | training, MB |\n|---|---|---|---|")
    for count in given.counts:
        with tempfile.TemporaryDirectory() as name:
            generate(Path(name, "arrays"), count)
            cells = []
            for work in ("sample", "train"):
                command = [sys.executable, "-m", "benchmarks.size", str(count), "--work", work, "--folder", name]
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", check=True
                )
                seconds, megabytes = done.stdout.split()[-2:]
                cells += [seconds, megabytes] if work == "sample" else [megabytes]
        print(f"| {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
