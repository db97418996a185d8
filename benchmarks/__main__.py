"""python -m benchmarks: ours against the plain loop of the tutorials, in alternation, as ratios.

Each row is the median of several pairs, with their spread; beside it, where there is one, the share that ours reaches
of the machine's own limit, which is measured in the same run. `--json FILE` writes the numbers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import tutorial
from benchmarks.machine import copy_rate, matrix_rate, timed
from pipeline.checkpointing.store import SavedStates, State
from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import LoaderConfig, train_batches
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.devices import choose_precision, start
from pipeline.evaluation.scoring import Judges, score_all
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params, read
from pipeline.quality.color_statistics import ColorPrior
from pipeline.quality.predictor import Predictor
from pipeline.sampling.candidates import Candidate, Candidates
from pipeline.sampling.draw import draw
from pipeline.system import cores, keep_freed_memory

LAB = ColorSpace("lab")
_STEPS = 2  # timed in each process, after a first one


@dataclass(frozen=True)
class Setting:
    """What is measured, on what."""

    params: Params
    file: Path
    """That the parameters are from."""
    folder: Path
    """For photographs and states."""
    batch_size: int
    repeats: int
    device: torch.device

    @property
    def size(self) -> int:
        return self.params.base.image_size


@dataclass(frozen=True)
class Row:
    name: str
    ours: float
    """Seconds."""
    reference: float
    spread: tuple[float, float]
    """Smallest and largest ratio of a pair."""
    share: float | None = None
    """Of the machine's limit."""
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.reference / self.ours


def pairs(name: str, ours: Callable[[], object], reference: Callable[[], object], setting: Setting) -> Row:
    """Run both in alternation."""
    ours()
    reference()
    times = [(timed(ours, setting.device), timed(reference, setting.device)) for _ in range(setting.repeats)]
    ratios = [other / own for own, other in times]
    own, other = (statistics.median(column) for column in zip(*times, strict=True))
    return Row(name, own, other, (min(ratios), max(ratios)))


def training_rows(setting: Setting) -> Iterator[Row]:
    """Yield the two kinds of step, each with the share of the matrix rate in its precision, and the memory."""
    precision = choose_precision(setting.params.base.precision, setting.device.type)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    limit = matrix_rate(dtype, setting.device)
    for kind in ("l1", "adversarial"):
        both = [[steps(setting, who, kind) for who in ("ours", "reference")] for _ in range(setting.repeats)]
        ours, other = (statistics.median(one["seconds"] for one in side) for side in zip(*both, strict=True))
        ratios = [reference["seconds"] / own["seconds"] for own, reference in both]
        share = both[0][0]["operations"] / ours / limit
        name = f"{'L1' if kind == 'l1' else kind} step"
        yield Row(name, ours, other, (min(ratios), max(ratios)), share, f"{precision}, of the matrix rate")
    twice = replace(setting, batch_size=2 * setting.batch_size)
    own, reference = (steps(twice, who, "l1")["peak_mib"] for who in ("ours", "reference"))
    name = f"peak memory of L1 steps in batches of {twice.batch_size}, MiB"
    yield Row(name, own / 1000, reference / 1000, (reference / own, reference / own))


def steps(setting: Setting, who: str, kind: str) -> dict[str, float]:
    """Return what `benchmarks.steps` prints of steps in a process of their own, as long as all other work rests."""
    words = [who, kind, str(setting.file), str(setting.size), str(setting.batch_size), str(_STEPS)]
    command = [sys.executable, "-m", "benchmarks.steps", *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def batch_row(setting: Setting, files: list[Path], photographs: Photographs) -> Row:
    config, count = LoaderConfig(setting.batch_size, 0, flip=True), 2

    def ours() -> None:
        for number, batch in enumerate(train_batches(photographs, config, 1)):
            LAB.encode(batch.to(setting.device))
            if number + 1 == count:
                return

    def reference() -> None:
        for number, (lightness, ab) in enumerate(tutorial.batches(files, setting.size, setting.batch_size)):
            lightness.to(setting.device), ab.to(setting.device)
            if number + 1 == count:
                return

    return pairs("batches to the device, with L*a*b*", ours, reference, setting)


def evaluate_row(setting: Setting) -> Row:
    """Four colorizers, against SSIM and CIEDE2000 alone, photograph by photograph; ours are all metrics."""
    _, photographs = photographs_for(replace(setting, folder=setting.folder / "few"), 16)
    factors = (0.6, 0.7, 0.8, 0.9)

    def colorizer(factor: float) -> Predictor:
        return lambda rgb: (rgb[:, :2] * factor - 50, (rgb * factor).to(torch.uint8))

    colorizers = {str(factor): colorizer(factor) for factor in factors}
    names = [str(i) for i in range(len(photographs))]

    def reference() -> None:
        for index in range(len(photographs)):
            pixels = photographs[index]
            for factor in factors:
                tutorial.similarity((pixels * factor).astype(np.uint8), pixels)

    judges = Judges(ColorPrior(), classifier=None)
    ours = partial(score_all, colorizers, photographs, names, judges, 8)
    row = pairs("evaluate, all metrics", ours, reference, setting)
    milliseconds = 1000 * row.ours / len(photographs) / len(factors)
    return Row(row.name, row.ours, row.reference, row.spread, None, f"{milliseconds:.0f} ms a photograph and colorizer")


def sample_row(setting: Setting, files: list[Path]) -> Row:
    """Against decoding and resizing alone, by one process; ours is on all cores."""
    counts = {"train": len(files), "valid": 0, "test": 0, "min_chroma": 0.0, "fit": "stretch"}
    block = setting.params.sample.model_copy(update=counts)
    candidates = Candidates(len(files), lambda number: Candidate(files[number].name, files[number]))

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=setting.folder) as name:
            draw(candidates, block, setting.size, 0, Path(name))

    def reference() -> None:
        for file in files:
            np.array(Image.open(file).convert("RGB").resize((setting.size, setting.size), Image.Resampling.BICUBIC))

    with Image.open(files[0]) as image:
        size = f"{image.width}x{image.height}"
    row = pairs(f"sample, JPEG of {size} to shard", ours, reference, setting)
    share = row.ratio / cores()
    return replace(row, note=f"{len(files) / row.ours:.0f} photographs/s; a core does {share:.2f} times the reference")


def saving_row(setting: Setting) -> Row:
    """Measure what saving a generator with Adam's averages keeps training from, against writing as many bytes
    plainly.
    """
    states = SavedStates(setting.folder / "states", every=0)
    weights = build_generator(setting.params.generator, LAB, setting.size, 0).state_dict()
    contents = {f"{kind}.{name}": value for kind in ("w", "m", "v") for name, value in weights.items()}
    size = sum(value.numel() * value.element_size() for value in contents.values())
    plain = bytes(size)

    def reference() -> None:
        # Before it, so that each of ours finds the writer idle, as it is after minutes of training.
        states.finish()
        (setting.folder / "plain").write_bytes(plain)

    row = pairs("saving a state", lambda: states.save(State(1, 0, contents)), reference, setting)
    states.finish()
    states.save(State(1, 0, contents))
    written = timed(states.finish, setting.device)
    return replace(row, note=f"{size / 2**20:.0f} MiB; written beside training in {written:.1f} s")


def keeping_rows(setting: Setting, files: list[Path], photographs: Photographs) -> Iterator[Row]:
    """Measure the stages after sampling, which keep the memory that they free; this process does from here on."""
    keep_freed_memory()
    yield batch_row(setting, files, photographs)
    yield evaluate_row(setting)
    yield saving_row(setting)


def photographs_for(setting: Setting, count: int, size: tuple[int, int] = (640, 480)) -> tuple[list[Path], Photographs]:
    """Return the same photographs as JPEG files, (width, height), and as a shard."""
    setting.folder.mkdir(exist_ok=True)
    rng, writer = np.random.default_rng(0), ShardWriter(setting.folder, "train")
    files = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        files.append(setting.folder / f"{number:04d}.jpg")
        coarse.resize(size, Image.Resampling.BICUBIC).save(files[-1], quality=90)
        with Image.open(files[-1]) as image:
            writer.add(np.array(image.resize((setting.size, setting.size), Image.Resampling.BICUBIC)))
    writer.close()
    return files, Photographs(setting.folder, "train", setting.size)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("recipes/quickstart.yaml"))
    parser.add_argument("--size", type=int, default=256, help="side of the photographs, pixels")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--photographs", type=int, default=200, help="how many are sampled")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    given = parser.parse_args()
    params = read(given.params)
    params = params.model_copy(update={"base": params.base.model_copy(update={"image_size": given.size})})
    device = start(params.base).device
    with tempfile.TemporaryDirectory() as name:
        setting = Setting(params, given.params, Path(name), given.batch_size, given.repeats, device)
        files, photographs = photographs_for(setting, given.photographs)
        aside = replace(setting, folder=setting.folder / "large")
        large, _ = photographs_for(aside, -(-given.photographs // 8), (2400, 1800))
        limits = {
            "fp32, GFLOP/s": matrix_rate(torch.float32, device) / 1e9,
            "bf16, GFLOP/s": matrix_rate(torch.bfloat16, device) / 1e9,
            "copy, GB/s": copy_rate(device) / 1e9,
        }
        print(f"{device}, {torch.get_num_threads()} threads; " + ", ".join(f"{k} {v:,.0f}" for k, v in limits.items()))
        print("\n| row | ours, ms | reference, ms | ratio | of pairs | share of the limit |\n|---|---|---|---|---|---|")
        rows = []
        jobs: list[Callable[[], Iterator[Row]]] = [
            lambda: training_rows(setting),
            lambda: iter([sample_row(setting, files)]),
            lambda: iter([sample_row(setting, large)]),
            lambda: keeping_rows(setting, files, photographs),
        ]
        for job in jobs:
            for row in job():
                rows.append(row)
                share = f"{row.share:.0%} " if row.share else ""
                cells = (row.name, f"{1000 * row.ours:,.0f}", f"{1000 * row.reference:,.0f}", f"{row.ratio:.2f}")
                print(
                    f"| {' | '.join(cells)} | {row.spread[0]:.2f}-{row.spread[1]:.2f} | {share}{row.note} |", flush=True
                )
    if given.json:
        numbers = [asdict(row) | {"ratio": row.ratio} for row in rows]
        given.json.write_text(json.dumps({"limits": limits, "rows": numbers}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
