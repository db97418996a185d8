"""One training from start to finish: lock, resume, epochs, validate, record, save."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.checkpointing.signals import StopRequest, listening, obey
from pipeline.checkpointing.store import State, below, mention_others, pack, require_no_other_count, unpack
from pipeline.data.loader import plain_batches, train_batches
from pipeline.errors import TrainingError
from pipeline.files import require_writable
from pipeline.models.config import ModelConfig
from pipeline.progress import progress
from pipeline.quality.validation import ab_mae, inference
from pipeline.system import held
from pipeline.training.failures import translated_errors
from pipeline.training.objectives import Objective
from pipeline.training.plan import plan
from pipeline.training.prepare import TrainConfig, TrainingRun
from pipeline.training.results import keep, publish_results, save_results

# Reading a loss makes a GPU wait; after so many steps it is soon enough to stop a failing run.
_CHECK_EVERY = 10
_ADVICE = "nothing was published; lower the learning rate, or set base.precision to fp32"


@dataclass
class Position:
    """Where a training is."""

    epoch: int = 0
    """Finished epochs."""
    batches: int = 0
    """Finished batches of the epoch after them."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Each loss, added up over those batches."""


def train_and_publish(run: TrainingRun, model: ModelConfig) -> None:
    """Train, and publish checkpoints/<stage>/ and reports/<stage>/. Of several processes the first one writes.

    Raises:
        LockError: another process runs this stage here, or the same training elsewhere.
        TrainingError: training cannot go on.
        SavedStateError: there is saved state, and none of it can be used.
        StoppedError: a signal asked to stop; the state is saved.
        OSError: something cannot be written; what can be tried before training has been.
    """
    with _locked(run) if run.group.first else nullcontext():
        same = run.group.first and run.finished.is_enough()
        if any(run.group.largest([same])):
            tqdm.write("this training is finished, and its code does the same: publishing its results again")
            if run.group.first:
                run.finished.record()
        else:
            run.recorder.begin()
            train(run, model)
            if run.group.first:
                save_results(run, model)
                run.finished.record()
        if run.group.first:
            publish_results(run)
            run.states.clear()


@contextmanager
def _locked(run: TrainingRun) -> Iterator[None]:
    """Within, no other process can run this stage here, or this training elsewhere."""
    stage = run.config.stage
    for folder in (Path("checkpoints"), Path("reports", stage)):
        require_writable(folder)
    this_folder = held(Path("logs", f"{stage}.lock"), f"{stage} in this folder")
    this_training = held(run.states.folder / "lock", f"this very {stage}")
    with this_folder, this_training:
        yield


def train(run: TrainingRun, model: ModelConfig) -> None:
    """Run all epochs, from saved state where there is some."""
    epochs = run.config.epochs
    if run.group.first:
        for sentence in plan(run.config.stage, run.objective.params, epochs * run.steps_per_epoch):
            tqdm.write(sentence)
    if epochs == 0:
        run.recorder.record({"epoch": 0, "valid_ab_mae": validate(run)} | scores_for_selection(run))
        return
    with listening() as stop, translated_errors(), _written(run):
        position = resume(run)
        if run.group.first:
            run.trackers.start(begins=not (position.epoch or position.batches))
        while position.epoch < epochs:
            losses = run_epoch(run, position, stop)
            position = Position(position.epoch + 1)
            close_epoch(run, position.epoch, losses)
            keep(run, position.epoch, model)
            # After the last epoch, so that a disk that is full when publishing costs no training.
            wanted = position.epoch == epochs or position.epoch in run.config.keep_epochs
            pausing, signal_number = agree(run, stop)
            if wanted or pausing:
                save(run, position)
            stop_if_asked(run, signal_number)


@contextmanager
def _written(run: TrainingRun) -> Iterator[None]:
    """At the end, however it comes, what is being saved is on disk."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            run.states.finish()
        raise
    run.states.finish()


def agree(run: TrainingRun, stop: StopRequest) -> tuple[bool, int]:
    """Whether to save now, and the signal that asks to stop, 0 for none: the same in all processes."""
    own = [run.group.first and run.states.due(), stop.number]
    due, number = (int(value) for value in run.group.largest(own))
    return bool(due or number), number


def stop_if_asked(run: TrainingRun, number: int) -> None:
    """End the stage where a signal asks for it, when the state is on disk."""
    if number:
        run.states.finish()
        obey(number)


def resume(run: TrainingRun) -> Position:
    """Go on from saved state; the beginning where there is none."""
    state = _saved_state(run)
    if state is None:
        return Position()
    run.objective.load_state_dict(state.contents)
    device = run.objective.accelerator.device
    run.recorder.load_state_dict(state.contents, device)
    sums = {name: value.to(device) for name, value in below(state.contents, "sum.").items()}
    tqdm.write(f"resumed after epoch {state.epoch} and {state.batches} batches of the next")
    return Position(state.epoch, state.batches, sums)


def _saved_state(run: TrainingRun) -> State | None:
    """Return the state that the first process finds; it sends it to the others."""
    state = run.states.load() if run.group.first else None
    if run.group.first and state is None:
        require_no_other_count(run.states)
        mention_others(run.states)
    if run.group.count == 1:
        return state
    block = run.group.from_first(pack(state) if state else b"")
    return unpack(block) if block else None


def run_epoch(run: TrainingRun, position: Position, stop: StopRequest) -> dict[str, float]:
    """Take the steps of the epoch that are left, and move the position along; returns the means of the losses."""
    objective, config, steps = run.objective, run.config, run.steps_per_epoch
    batches = train_batches(run.splits["train"], config.loader, position.epoch + 1, skip=position.batches)
    for network in objective.networks.values():
        network.train()
    name = f"epoch {position.epoch + 1}/{config.epochs}"
    first = run.group.first
    bar = progress(
        batches, initial=position.batches, total=steps, desc=name, unit="step", leave=False, disable=not first
    )  # fmt: skip
    for batch in bar:
        step = position.epoch * steps + position.batches
        objective.set_rates(step, config.epochs * steps)
        # Dropout, too, depends on where training is and not on what ran before.
        torch.manual_seed((config.loader.seed * 1_000_003 + step) * run.group.count + run.group.rank)
        rgb = batch.to(objective.accelerator.device, non_blocking=True)
        losses = objective.step(*objective.encode(rgb, config.loader.seed, step), step)
        losses = run.group.means(losses)
        position.batches += 1
        position.sums = {key: position.sums.get(key, 0) + loss for key, loss in losses.items()}
        run.recorder.step_losses.add(losses)
        draw_previews(run, run.recorder.preview_due(step=step + 1), step + 1)
        pausing, signal_number = agree(run, stop)
        if pausing or position.batches % _CHECK_EVERY == 0:
            bar.set_postfix({key: f"{mean:.4g}" for key, mean in _means(position, step).items()} | _speed(bar, config))
        # After the last step comes validation; whether to save is decided after that.
        if pausing and position.batches < steps:
            _require_finite(objective, f"step {step}")
            save(run, position)
            stop_if_asked(run, signal_number)
    return _means(position, (position.epoch + 1) * steps - 1)


def close_epoch(run: TrainingRun, epoch: int, losses: dict[str, float]) -> None:
    """Do what follows the steps of an epoch: check the weights, validate, record, draw previews."""
    objective = run.objective
    _require_finite(objective, f"epoch {epoch}")
    with objective.ema.applied():
        error = validate(run)
        row = {"epoch": epoch, **losses, **objective.rates(), "valid_ab_mae": error}
        run.recorder.record(row | scores_for_selection(run))
    draw_previews(run, run.recorder.preview_due(epoch=epoch), epoch * run.steps_per_epoch)
    if run.group.first:
        run.trackers.log(run.recorder.history[-1], epoch * run.steps_per_epoch)
    text = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    tqdm.write(f"epoch {epoch}/{run.config.epochs}: {text}, valid ab_mae {error:.3f}")


def scores_for_selection(run: TrainingRun) -> dict[str, float]:
    """Return the validation scores that choose the epoch to publish, or {} if the stage does not choose."""
    if run.selection is None:
        return {}
    generator = run.objective.unwrapped()["generator"]
    with inference(generator):
        return run.selection.scores(generator)


def draw_previews(run: TrainingRun, name: str, step: int) -> None:
    """Draw the previews of that name, where they are due, and show them to the trackers."""
    if name and run.group.first:
        objective = run.objective
        with objective.ema.applied():
            files = run.recorder.preview(name, objective.generator, run.splits, objective.accelerator.device)
        run.trackers.show(files, step)


def validate(run: TrainingRun) -> float:
    """ab_mae on the validation split."""
    objective, loader = run.objective, run.config.loader
    with inference(objective.generator):
        device = objective.accelerator.device
        own = plain_batches(run.splits["valid"], loader.share, loader.rank, loader.processes)
        batches = (batch.to(device) for batch in own)
        return ab_mae(objective.generator, batches, objective.space, run.group)


def save(run: TrainingRun, position: Position) -> None:
    """Save the state, so that the training can go on from this position."""
    if not run.group.first:
        return
    sums = {f"sum.{name}": value for name, value in position.sums.items()}
    contents = {**run.objective.state_dict(), **run.recorder.state_dict(), **sums}
    run.states.save(State(position.epoch, position.batches, contents))


def _speed(bar: tqdm[Tensor], config: TrainConfig) -> dict[str, str]:
    if bar.disable:
        return {}
    rate = (bar.n - bar.initial) * config.loader.batch_size / max(bar.format_dict["elapsed"], 1e-9)
    return {"images/s": f"{rate:.1f}"}


def _means(position: Position, step: int) -> dict[str, float]:
    means = {name: value.item() / position.batches for name, value in position.sums.items()}
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise TrainingError(f"the {name} loss is {mean} by step {step}; {_ADVICE}")
    return means


def _require_finite(objective: Objective, when: str) -> None:
    """Refuse a state with NaN, which could only be resumed to fail again."""
    if not objective.finite():
        raise TrainingError(f"a weight is NaN or infinite after {when}; {_ADVICE}")
