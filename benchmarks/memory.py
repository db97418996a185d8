"""python -m benchmarks.memory ours|reference SIZE BATCH: the peak memory of a process that takes two L1 steps, MiB."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks import tutorial
from pipeline.color.tensors import ColorSpace
from pipeline.models.generators import build_generator
from pipeline.params import read
from pipeline.training.devices import start
from pipeline.training.objectives import ContentObjective

STEPS = 2


def main() -> None:
    who, size, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    params, lab = read(Path("recipes/quickstart.yaml")), ColorSpace("lab")
    rgb = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)
    condition, target = lab.encode(rgb)
    generator = build_generator(params.generator, lab, size, 0)
    if who == "ours":
        objective = ContentObjective(generator, params.pretrain, lab, start(params.base))
        for number in range(STEPS):
            objective.step(condition, target, number)
    else:
        adam = torch.optim.Adam(generator.parameters(), 1e-4)
        for _ in range(STEPS):
            tutorial.l1_step(generator, adam, condition, target)
    # Linux's own note of the peak: that of getrusage begins with the memory of the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)


if __name__ == "__main__":
    main()
