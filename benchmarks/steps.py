"""python -m benchmarks.steps ours|reference l1|adversarial PARAMS SIZE BATCH STEPS: prints what training steps take.

In a process of their own, since a process has one way of getting memory from the system. JSON: seconds, peak_mib
and, of ours, operations.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import tutorial
from benchmarks.machine import timed
from pipeline.color.tensors import ColorSpace
from pipeline.devices import start
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params, read
from pipeline.system import keep_freed_memory
from pipeline.training.objectives import AdversarialObjective, ContentObjective

LAB = ColorSpace("lab")


def main() -> None:
    who, kind, file, size, batch_size, steps = sys.argv[1:]
    params = read(Path(file))
    if who == "ours":
        keep_freed_memory()
    # On both sides, since it decides how fp32 is rounded, and what happens to tiny numbers.
    device = start(params.base).device
    rgb = torch.randint(0, 256, (int(batch_size), 3, int(size), int(size)), dtype=torch.uint8)
    batch = LAB.encode(rgb.to(device))
    step = (_ours if who == "ours" else _reference)(kind, params, int(size), device, batch)
    step()  # allocates what stays
    seconds = [timed(step, device) for _ in range(int(steps))]
    peak = _peak()
    measured = {"seconds": statistics.median(seconds), "peak_mib": peak}
    if who == "ours":
        with FlopCounterMode(display=False) as counter:
            step()
        measured["operations"] = counter.get_total_flops()
    print(json.dumps(measured))


def _ours(
    kind: str, params: Params, size: int, device: torch.device, batch: tuple[torch.Tensor, torch.Tensor]
) -> Callable[[], object]:
    generator = build_generator(params.generator, LAB, size, 0).to(device)
    accelerator = start(params.base)
    if kind == "l1":
        content = ContentObjective(generator, params.pretrain, LAB, accelerator)
        return lambda: content.step(*batch, 0)
    judge = build_discriminator(params.discriminator, LAB, 0).to(device)
    adversarial = AdversarialObjective(generator, judge, params.finetune, LAB, accelerator)
    return lambda: adversarial.step(*batch, 0)


def _reference(
    kind: str, params: Params, size: int, device: torch.device, batch: tuple[torch.Tensor, torch.Tensor]
) -> Callable[[], object]:
    generator = build_generator(params.generator, LAB, size, 0).to(device)
    if kind == "l1":
        adam = torch.optim.Adam(generator.parameters(), 1e-4)
        return lambda: tutorial.l1_step(generator, adam, *batch)
    gan = tutorial.Gan(generator, build_discriminator(params.discriminator, LAB, 0).to(device))
    return lambda: gan.step(*batch)


def _peak() -> float:
    """MiB, as Linux itself notes it: the peak of getrusage begins with that of the process that started this one."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
