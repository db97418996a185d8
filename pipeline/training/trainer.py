"""The one training loop, for both stages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.color import ColorSpace
from pipeline.data.loader import plain_batches, train_batches
from pipeline.data.shards import Photographs
from pipeline.training.objectives import Objective, all_finite
from pipeline.training.resume import Keeper
from pipeline.training.schedules import lr_factor
from pipeline.training.signals import listening
from pipeline.training.snapshot import Saver
from pipeline.training.tracking import Recorder, inference

# Looking at a loss makes a GPU wait; every so many steps is soon enough to stop.
_LOOK_EVERY = 10


class TrainingError(Exception):
    """Training cannot go on: a loss or a weight is not finite."""


@dataclass(frozen=True)
class Plan:
    """How long and on what."""

    epochs: int
    batch_size: int
    seed: int
    flip: bool
    num_workers: int
    train: Photographs
    valid: Photographs

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train) // self.batch_size


def train(
    objective: Objective, plan: Plan, recorder: Recorder, accelerator: Accelerator, keeper: Keeper | None = None
) -> None:
    """Run all epochs, from saved state where there is some; after each, validate, record, draw and save.

    Raises:
        TrainingError: a loss or a weight became NaN or infinite; names it and the step.
        ResumeError: there is saved state, and none of it can be used.
        StoppedError: asked to stop, and saved.
    """
    generator = objective.networks["generator"]
    if plan.epochs == 0:
        mae = ab_mae(generator, plan.valid, plan.batch_size, recorder.space, accelerator.device)
        recorder.record({"epoch": 0, "valid_ab_mae": mae})
        return
    with listening() as request, _explained():
        saver = Saver(objective, recorder, accelerator, keeper, request)
        done, batches, sums = saver.resume()
        for epoch in range(done + 1, plan.epochs + 1):
            losses = _epoch(objective, plan, epoch, accelerator, saver, batches, sums)
            batches, sums = 0, {}
            _close(objective, plan, recorder, accelerator, epoch, losses)
            saver.save(epoch, 0, {})
            saver.stop_if_asked()


def _close(
    objective: Objective,
    plan: Plan,
    recorder: Recorder,
    accelerator: Accelerator,
    epoch: int,
    losses: dict[str, float],
) -> None:
    """What follows the steps of an epoch: check, validate, record, draw."""
    generator = objective.networks["generator"]
    _require_finite(objective, f"epoch {epoch}")
    rates = {f"lr_{name}": o.param_groups[0]["lr"] for name, o in objective.optimizers.items()}
    with objective.ema.applied():
        mae = ab_mae(generator, plan.valid, plan.batch_size, recorder.space, accelerator.device)
        recorder.record({"epoch": epoch, **losses, **rates, "valid_ab_mae": mae})
        recorder.draw(epoch, generator, {"train": plan.train, "valid": plan.valid}, accelerator.device)
    accelerator.log(recorder.history[-1], step=epoch)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    tqdm.write(f"epoch {epoch}/{plan.epochs}: {shown}, valid ab_mae {mae:.3f}")


def ab_mae(
    generator: nn.Module, photographs: Photographs, batch_size: int, space: ColorSpace, device: torch.device
) -> float:
    """Mean absolute error of a and b over all pixels, Lab units."""
    total, count = 0.0, 0
    with inference(generator):
        for batch in plain_batches(photographs, batch_size=batch_size):
            condition, target = space.encode(batch.to(device))
            error = space.ab(generator(condition).float()) - space.ab(target)
            total += error.abs().sum().item()
            count += error.numel()
    return total / count


def _epoch(
    objective: Objective,
    plan: Plan,
    epoch: int,
    accelerator: Accelerator,
    saver: Saver,
    batches: int,
    sums: dict[str, Tensor],
) -> dict[str, float]:
    """The steps of an epoch after the first `batches`, whose losses add up to `sums`; returns the means of all."""
    steps, first = plan.steps_per_epoch, (epoch - 1) * plan.steps_per_epoch
    source = train_batches(
        plan.train,
        batch_size=plan.batch_size,
        seed=plan.seed,
        epoch=epoch,
        flip=plan.flip,
        num_workers=plan.num_workers,
        skip=batches,
    )
    for network in objective.networks.values():
        network.train()
    bar = tqdm(source, initial=batches, total=steps, desc=f"epoch {epoch}/{plan.epochs}", unit="step", leave=False)
    for number, batch in enumerate(bar, start=batches + 1):
        step = first + number - 1
        _set_rates(objective, step, plan.epochs * steps)
        # Dropout, too, is a function of where we are and not of what ran before.
        torch.manual_seed(plan.seed * 1_000_003 + step)
        losses = objective.step(*saver.space.encode(batch.to(accelerator.device)), step)
        for name, loss in losses.items():
            sums[name] = sums[name] + loss if name in sums else loss
        last, pausing = number == steps, saver.due()
        if number % _LOOK_EVERY == 0 or last or pausing:
            means = _finite({name: value.item() / number for name, value in sums.items()}, step)
            speed = f"{(number - batches) * plan.batch_size / max(bar.format_dict['elapsed'], 1e-9):.1f}"
            bar.set_postfix({**{name: f"{mean:.4g}" for name, mean in means.items()}, "images/s": speed})
        # After the last step comes validation, and then a save in any case.
        if pausing and not last:
            _require_finite(objective, f"step {step}")
            saver.save(epoch - 1, number, sums)
            saver.stop_if_asked()
    return means


def _finite(losses: dict[str, float], step: int) -> dict[str, float]:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise TrainingError(f"the {name} loss is {value} by step {step}; {_ADVICE}")
    return losses


def _require_finite(objective: Objective, when: str) -> None:
    """Nothing that is not finite is saved, or a run could only be resumed to fail again."""
    if not all_finite(objective.networks):
        raise TrainingError(f"a weight is NaN or infinite after {when}; {_ADVICE}")


@contextmanager
def _explained() -> Iterator[None]:
    """What torch raises as a plain RuntimeError, in words that say what to do."""
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "deterministic" in text:
            raise TrainingError(
                f"an operation may give other bits on the next run ({text[:200]}); nothing was published; take another "
                "network or device, or set base.deterministic to false"
            ) from None
        if "DataLoader worker" in text:
            raise TrainingError(
                f"a process that loads photographs ended ({text[:200]}); nothing was published; is there enough "
                "memory? set base.num_workers to 0 to load without such processes"
            ) from None
        raise


def _set_rates(objective: Objective, step: int, total: int) -> None:
    for name, optimizer in objective.optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = objective.rates[name] * lr_factor(objective.schedule, step, total)


_ADVICE = "nothing was published; lower the learning rate, or set base.precision to fp32"
