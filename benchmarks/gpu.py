"""uv run python -m benchmarks.gpu: everything that only a GPU can tell, in 25 minutes at most, as one table.

The rates of both kinds of step in the shape of recipes/two_stage_resnet18.yaml (8,000 generated photographs of 256 px),
what they come to for its 20 + 20 epochs, how long the device waits for batches, what determinism, fp16 and
torch.compile do to them, and whether a killed training goes on to the same bytes. `--size`, `--batch-size` and
`--steps` make it small enough to try on a CPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.state import AcceleratorState
from torch import Tensor

from benchmarks.machine import matrix_rate, timed
from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import LoaderConfig, train_batches
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.files import write_json
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import build_generator
from pipeline.params import Params, parse
from pipeline.recipes import compose, write
from pipeline.training.devices import start
from pipeline.training.objectives import AdversarialObjective, ContentObjective, Objective

ROOT = Path(__file__).parents[1]
LAB = ColorSpace("lab")
EPOCHS = 20


@dataclass(frozen=True)
class Variant:
    name: str
    base: dict[str, object]
    compiled: bool = False


VARIANTS = [
    Variant("as the recipe is", {}),
    Variant("deterministic: false", {"deterministic": False}),
    Variant("precision fp32", {"precision": "fp32"}),
    Variant("precision tf32", {"precision": "tf32"}),
    Variant("precision fp16", {"precision": "fp16"}),
    Variant("torch.compile", {}, compiled=True),
]


def objectives(params: Params, compiled: bool) -> Iterator[tuple[str, Objective]]:
    for name in ("L1", "adversarial"):
        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = start(params.base)
        generator = build_generator(params.generator, LAB, params.base.image_size, 0)
        judge = build_discriminator(params.discriminator, LAB, 0)
        if compiled:
            generator.compile()
            judge.compile()
        if name == "L1":
            yield name, ContentObjective(generator, params.pretrain, LAB, accelerator)
        else:
            yield name, AdversarialObjective(generator, judge, params.finetune, LAB, accelerator)


def seconds_per_step(objective: Objective, batches: Iterator[Tensor], steps: int) -> tuple[float, float]:
    """With batches from the loader, and with one batch that is on the device already."""
    device = objective.accelerator.device

    def from_loader() -> None:
        for number in range(steps):
            objective.step(*LAB.encode(next(batches).to(device)), number)

    batch = next(batches).to(device)

    def from_device() -> None:
        for number in range(steps):
            objective.step(*LAB.encode(batch), number)

    for number in range(3):
        objective.step(*LAB.encode(batch), number)
    return timed(from_loader, device) / steps, timed(from_device, device) / steps


def rates(params: Params, photographs: Photographs, steps: int, count: int) -> None:
    print("| variant | step | ms a step | images/s | waits for batches | 20 epochs, min |\n|---|---|---|---|---|---|")
    for variant in VARIANTS:
        changed = params.model_copy(update={"base": params.base.model_copy(update=variant.base)})
        loader = LoaderConfig(params.pretrain.batch_size, 0, flip=True, num_workers=params.base.num_workers)
        try:
            for name, objective in objectives(changed, variant.compiled):
                epochs = (batch for epoch in range(10**6) for batch in train_batches(photographs, loader, epoch))
                whole, device_alone = seconds_per_step(objective, epochs, steps)
                minutes = EPOCHS * (count // loader.batch_size) * whole / 60
                waits = max(0.0, 1 - device_alone / whole)
                cells = [variant.name, name, f"{1000 * whole:,.1f}", f"{loader.batch_size / whole:,.0f}"]
                print(f"| {' | '.join([*cells, f'{waits:.0%}', f'{minutes:.1f}'])} |", flush=True)
        except Exception as error:  # one variant that this device cannot run is a row of the table
            print(
                f"| {variant.name} | {type(error).__name__}: {' '.join(str(error).split())[:120]} | | | | |", flush=True
            )


def resume(folder: Path, tree: dict[str, dict[str, object]]) -> str:
    """Train twice, the second time killed in the middle: whether the bytes are the same."""
    write(tree, folder / "params.yaml")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages", "pretrain"]
    weights = folder / "checkpoints/pretrain/generator.safetensors"
    subprocess.run(command, cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    first = weights.read_bytes()
    shutil.rmtree(folder / "checkpoints")
    running = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    while running.poll() is None and not list((folder / ".resume").glob("*/*/[0-9]*.state")):
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    resumed = "resumed" if "resumed after" in done.stdout else "began anew, which tells nothing"
    return f"{resumed}; {'the same bytes' if weights.read_bytes() == first else 'OTHER BYTES'}"


def generated(folder: Path, count: int, size: int) -> Photographs:
    """Smooth random colors under grain, as shards of train and valid."""
    rng = np.random.default_rng(0)
    for split, photographs in (("train", count), ("valid", max(8, count // 50))):
        folder.mkdir(parents=True, exist_ok=True)
        writer = ShardWriter(folder, split)
        for _ in range(photographs):
            coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 8, 8)).astype(np.float32))
            smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")[0].permute(1, 2, 0).numpy()
            writer.add((smooth + rng.normal(0, 8, (size, size, 1))).clip(0, 255).astype(np.uint8))
        writer.close()
    write_json(folder / "sample.json", {"source": "generated"})
    return Photographs(folder, "train", size)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--photographs", type=int, default=8000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each variant")
    given = parser.parse_args()
    tree = compose(ROOT / "recipes", "two_stage_resnet18")
    tree["base"].update(image_size=given.size, num_workers=2)
    # Without a network, and as fast.
    tree["generator"].update(weights="none")
    for stage in ("pretrain", "finetune"):
        tree[stage]["batch_size"] = given.batch_size
    params = parse(tree, "two_stage_resnet18")
    device = start(params.base).device
    print(f"{torch.cuda.get_device_name(device) if device.type == 'cuda' else device}; torch {torch.__version__}")
    for dtype in (torch.float32, torch.bfloat16):
        print(f"matrix rate in {dtype}: {matrix_rate(dtype, device) / 1e12:,.2f} TFLOP/s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs = generated(folder / "data/sample", given.photographs, given.size)
        rates(params, photographs, given.steps, given.photographs)
        tree["base"].update(save_every_minutes=1e-6)
        tree["pretrain"].update(epochs=1, sample_epochs=[])
        shutil.rmtree(folder / "data/sample")
        generated(folder / "data/sample", 20 * given.batch_size, given.size)
        print("killed and run again, base.deterministic true:", resume(folder, tree), flush=True)


if __name__ == "__main__":
    main()
