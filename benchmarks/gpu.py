"""uv run python -m benchmarks.gpu: everything that only a GPU can tell, in 25 minutes at most, as one table.

The rates of both kinds of step in the shape of recipes/two_stage_resnet18.yaml (8,000 generated photographs of 256 px),
what they come to for its 20 + 20 epochs without validation, their share of the device's matrix rate, how long the
device waits for batches, what determinism, precisions and torch.compile do to them, and whether a killed training of
either stage goes on to the same bytes. Variants that would begin after `--minutes` are left out, and said. `--size`,
`--batch-size`, `--steps`, `--variants` and `--resumed-steps` make it small enough to try on a CPU.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import matrix_rate, timed
from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import LoaderConfig, train_batches
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.devices import choose_device, choose_precision, start
from pipeline.files import write_json
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import build_generator
from pipeline.params.recipes import compose, write
from pipeline.params.schema import Params, parse
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
    Variant("precision bf16", {"precision": "bf16"}),
    Variant("bf16, deterministic: false", {"precision": "bf16", "deterministic": False}),
    Variant("deterministic: false", {"deterministic": False}),
    Variant("precision tf32", {"precision": "tf32"}),
    Variant("precision fp16", {"precision": "fp16"}),
    Variant("bf16, torch.compile", {"precision": "bf16"}, compiled=True),
]
# What a precision multiplies in, for the device's limit.
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Measured:
    """One kind of step: seconds."""

    whole: float
    """With batches from the loader."""
    on_device: float
    """With a batch that is on the device already."""

    def cells(self, batch_size: int, operations: float, limit: float) -> list[str]:
        """limit: operations a second."""
        waits = max(0.0, 1 - self.on_device / self.whole)
        share = operations / self.on_device / limit
        return [f"{1000 * self.whole:,.1f}", f"{batch_size / self.whole:,.0f}", f"{waits:.0%}", f"{share:.0%}"]


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


def measured(objective: Objective, batches: Iterator[Tensor], steps: int) -> Measured:
    device = objective.accelerator.device

    def from_loader() -> None:
        for number in range(steps):
            objective.step(*LAB.encode(next(batches).to(device, non_blocking=True)), number)

    batch = next(batches).to(device)

    def from_device() -> None:
        for number in range(steps):
            objective.step(*LAB.encode(batch), number)

    for number in range(3):
        objective.step(*LAB.encode(batch), number)
    return Measured(*(timed(work, device) / steps for work in (from_loader, from_device)))


def operations_of(params: Params, photographs: Photographs) -> dict[str, float]:
    """Of a step of each kind, whatever it computes in."""
    found = {}
    for name, objective in objectives(params, compiled=False):
        rgb = photographs.gather(list(range(batch_sizes(params)[name])))
        batch = torch.from_numpy(rgb).permute(0, 3, 1, 2).to(objective.accelerator.device)
        with FlopCounterMode(display=False) as counter:
            objective.step(*LAB.encode(batch), 0)
        found[name] = float(counter.get_total_flops())
    return found


def batch_sizes(params: Params) -> dict[str, int]:
    return {"L1": params.pretrain.batch_size, "adversarial": params.finetune.batch_size}


def rates(params: Params, variants: Sequence[Variant], photographs: Photographs, steps: int, until: float) -> None:
    """until: when no other variant is begun, by time.monotonic."""
    operations = operations_of(params, photographs)
    print("| variant | step | ms a step | images/s | waits for batches | of the matrix rate | 20 epochs, min |")
    print("|---|---|---|---|---|---|---|")
    for variant in variants:
        if time.monotonic() > until:
            print(f"| {variant.name} | left out: no time | | | | | |", flush=True)
            continue
        if variant.base.get("precision") == "bf16" and not has_bf16(params):
            print(f"| {variant.name} | left out: no bf16 on this processor | | | | | |", flush=True)
            continue
        try:
            for cells in rows(params, variant, photographs, steps, operations):
                print(f"| {' | '.join([variant.name, *cells])} |", flush=True)
        except Exception as error:  # one variant that this device cannot run is a row of the table
            reason = " ".join(str(error).split())[:120]
            print(f"| {variant.name} | {type(error).__name__}: {reason} | | | | | |", flush=True)


def has_bf16(params: Params) -> bool:
    """Return whether bf16 is worth a try: processors without it emulate it, at a tenth of the speed."""
    device = choose_device(params.base.device, params.base.deterministic)
    return device != "cpu" or choose_precision("auto", device) == "bf16"


def rows(
    params: Params, variant: Variant, photographs: Photographs, steps: int, operations: dict[str, float]
) -> Iterator[list[str]]:
    """Yield the cells of both kinds of step, and of the whole recipe."""
    base = params.base.model_copy(update=variant.base)
    changed, minutes = params.model_copy(update={"base": base}), []
    for name, objective in objectives(changed, variant.compiled):
        device, size = objective.accelerator.device, batch_sizes(params)[name]
        limit = matrix_rate(DTYPES.get(choose_precision(base.precision, device.type), torch.float32), device)
        pinned = device.type == "cuda"
        loader = LoaderConfig(size, 0, flip=True, num_workers=base.num_workers, pinned=pinned)
        epochs = (batch for epoch in range(10**6) for batch in train_batches(photographs, loader, epoch))
        found = measured(objective, epochs, steps)
        minutes.append(EPOCHS * loader.steps(len(photographs)) * found.whole / 60)
        yield [name, *found.cells(size, operations[name], limit), f"{minutes[-1]:.1f}"]
    yield ["both", "", "", "", "", f"**{sum(minutes):.1f}**"]


def resume(folder: Path, stage: str) -> str:
    """Train twice, the second time killed in the middle: whether the bytes are the same."""
    command = [sys.executable, "-m", "stages", stage]
    weights = folder / "checkpoints" / stage / "generator.safetensors"
    finished(command, folder)
    first = weights.read_bytes()
    shutil.rmtree(weights.parent)
    quiet, states = subprocess.DEVNULL, folder / ".resume" / stage
    running = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=quiet, stderr=quiet, start_new_session=True
    )
    while running.poll() is None and not list(states.glob("*/[0-9]*.state")):
        time.sleep(0.05)
    # With the processes that load photographs: they hold its lock for a moment longer.
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    said = finished(command, folder)
    resumed = "resumed" if "resumed after" in said else "began anew, which tells nothing"
    return f"{resumed}; {'the same bytes' if weights.read_bytes() == first else 'OTHER BYTES'}"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def finished(command: list[str], folder: Path) -> str:
    """Return what a stage has said; where it fails, this ends with it."""
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:])} ended with status {done.returncode}:\n{done.stderr}")
    return done.stdout


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
    parser.add_argument("--batch-size", type=int, help="that of the recipe by default")
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each variant")
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--variants", nargs="+", choices=names, default=names, metavar="NAME", help="of the table")
    parser.add_argument("--minutes", type=float, default=17, help="when no other variant is begun; resuming follows")
    parser.add_argument("--resumed-steps", type=int, default=20, help="of the trainings that are killed")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    tree = compose(ROOT / "recipes", "two_stage_resnet18")
    tree["base"].update(image_size=given.size, num_workers=2)
    # Without a network, and as fast.
    tree["generator"].update(weights="none")
    for stage in ("pretrain", "finetune"):
        tree[stage]["batch_size"] = given.batch_size or tree[stage]["batch_size"]
    params = parse(tree, "two_stage_resnet18")
    device = start(params.base).device
    print(f"{torch.cuda.get_device_name(device) if device.type == 'cuda' else device}; torch {torch.__version__}")
    for dtype in (torch.float32, torch.bfloat16):
        print(f"matrix rate in {dtype}: {matrix_rate(dtype, device) / 1e12:,.2f} TFLOP/s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs = generated(folder / "data/sample", given.photographs, given.size)
        variants = [variant for variant in VARIANTS if variant.name in given.variants]
        rates(params, variants, photographs, given.steps, until)
        tree["base"].update(save_every_minutes=1e-6)
        for stage in ("pretrain", "finetune"):
            tree[stage].update(epochs=1, sample_epochs=[])
        shutil.rmtree(folder / "data/sample")
        generated(folder / "data/sample", given.resumed_steps * params.pretrain.batch_size, given.size)
        write(tree, folder / "params.yaml")
        for stage in ("pretrain", "finetune"):
            print(f"{stage} killed and run again, base.deterministic true: {resume(folder, stage)}", flush=True)


if __name__ == "__main__":
    main()
