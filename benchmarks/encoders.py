"""python -m benchmarks.encoders [BACKBONE ...]: an L1 step with each backbone, and what its time goes into.

Beside ours stands the same step with torch's own gradients, without pipeline/training/on_cpu.py, in alternation. On a
GPU the two are one. The shares are torch.profiler's, of the operators' own time. The decoder is halved, as in recipes
starter and vivid.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from typing import get_args
from unittest import mock

import torch
from accelerate import Accelerator
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import timed
from pipeline.color.tensors import ColorSpace
from pipeline.devices import start
from pipeline.models.backbones import TESTED
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params, Precision
from pipeline.system import keep_freed_memory
from pipeline.training.objectives import ContentObjective

LAB = ColorSpace("lab")
# What the names of operators hold; the first that fits counts.
KINDS = {
    "matrix work": ("conv", "mkldnn", "addmm", "bmm", "aten::mm", "linear"),
    "normalization": ("norm",),
    "optimizer": ("_foreach", "fused", "Optimizer"),
    "copies": ("copy", "clone", "cat", "contiguous", "aten::to", "reorder"),
    "activations": ("relu", "hardtanh", "hardswish", "clamp", "silu", "gelu", "sigmoid", "threshold"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders", description=__doc__)
    parser.add_argument("backbones", nargs="*", default=list(TESTED))
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=get_args(Precision), help="as base.precision")
    given = parser.parse_args()
    keep_freed_memory()
    accelerator = start(Params().base.model_copy(update={"precision": given.precision}))
    rgb = torch.randint(0, 256, (given.batch_size, 3, given.size, given.size), dtype=torch.uint8)
    batch = LAB.encode(rgb.to(accelerator.device))
    print(f"{accelerator.device}, {accelerator.mixed_precision}, {torch.get_num_threads()} threads, {given.size} px\n")
    print(f"| backbone | images/s | over torch's own gradients | {' | '.join(KINDS)} | the rest |")
    print(f"|---|---|---|{'---|' * (len(KINDS) + 1)}", flush=True)
    for name in given.backbones:
        ours = objective(name, given.size, accelerator)
        with mock.patch("pipeline.training.objectives.speed_up_on_cpu"):
            plain = objective(name, given.size, accelerator)
        both = [[timed(lambda: one.step(*batch, 0), accelerator.device) for one in (ours, plain)]  # noqa: B023
                for _ in range(given.repeats + 1)][1:]  # fmt: skip
        rate = given.batch_size / statistics.median(own for own, _ in both)
        ratios = sorted(other / own for own, other in both)
        parts = shares(ours, batch)
        cells = [f"{parts[kind]:.0%}" for kind in (*KINDS, "the rest")]
        middle = statistics.median(ratios)
        print(
            f"| {name} | {rate:.0f} | {middle:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {' | '.join(cells)} |",
            flush=True,
        )


def objective(backbone: str, size: int, accelerator: Accelerator) -> ContentObjective:
    params = Params()
    block = params.generator.model_copy(update={"backbone": backbone, "decoder": "halved"})
    network = build_generator(block, LAB, size, 0).train()
    return ContentObjective(network, params.pretrain, LAB, accelerator)


def shares(trained: ContentObjective, batch: tuple[torch.Tensor, torch.Tensor]) -> Counter[str]:
    """Return the share of a step's time that each kind of operator takes."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        trained.step(*batch, 0)
    times: Counter[str] = Counter()
    for event in found.key_averages():
        kind = next((kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)), "the rest")
        times[kind] += event.self_cpu_time_total
    total = sum(times.values())
    return Counter({kind: time / total for kind, time in times.items()})


if __name__ == "__main__":
    main()
