"""One training from start to finish: prepare, lock, resume, epochs, validate, record, save, publish."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.checkpointing.fingerprint import Inputs, fingerprint
from pipeline.checkpointing.finished import Finished
from pipeline.checkpointing.locks import held
from pipeline.checkpointing.optimizers import below
from pipeline.checkpointing.signals import StopRequest, listening
from pipeline.checkpointing.store import SavedStates, State
from pipeline.data.loader import LoaderConfig, train_batches
from pipeline.data.shards import Photographs, sample_source
from pipeline.errors import TrainingError
from pipeline.evaluation.validation import ab_mae, inference
from pipeline.files import publish, require_writable, write_json
from pipeline.models.checkpoint import save_model
from pipeline.models.config import ModelConfig, Training
from pipeline.training.failures import translated_errors
from pipeline.training.objectives import Objective
from pipeline.training.recorder import PreviewTimes, Recorder
from pipeline.training.trackers import log_pictures

# Reading a loss makes a GPU wait; after so many steps it is soon enough to stop a failing run.
_CHECK_EVERY = 10
_ADVICE = "nothing was published; lower the learning rate, or set base.precision to fp32"


@dataclass(frozen=True)
class TrainConfig:
    stage: str
    epochs: int
    loader: LoaderConfig
    previews: PreviewTimes
    keep_epochs: tuple[int, ...] = ()
    """Epochs (from 1) whose generator is published beside the last one."""
    started_from: Training | None = None
    """What the model that start_from names had learnt before."""


@dataclass(frozen=True)
class TrainingRun:
    """Everything that a training works with."""

    config: TrainConfig
    objective: Objective
    splits: dict[str, Photographs]
    """train and valid."""
    source: str
    """Where the photographs come from."""
    recorder: Recorder
    states: SavedStates
    finished: Finished

    @property
    def steps_per_epoch(self) -> int:
        return self.config.loader.steps(len(self.splits["train"]))


def prepare(
    config: TrainConfig, objective: Objective, inputs: Inputs, model: ModelConfig, resume_folder: Path
) -> TrainingRun:
    """Open the sample, and find the place of the run's record and of its saved states.

    Args:
        model: what will be published.
        resume_folder: where saved states are kept, by stage and fingerprint.

    Raises:
        SampleError: the sample is absent, damaged or of another image size.
    """
    splits = {split: Photographs(inputs.sample, split, model.image_size) for split in ("train", "valid")}
    steps = config.epochs * config.loader.steps(len(splits["train"]))
    recorder = Recorder(Path("logs", config.stage), objective.space, config.previews, steps)
    key = fingerprint(config.stage, inputs, objective.accelerator)
    every = 60 * inputs.base.save_every_minutes
    states = SavedStates(resume_folder / config.stage / key, every, inputs.params())
    finished = Finished(recorder.folder, key, inputs.code)
    return TrainingRun(config, objective, splits, sample_source(inputs.sample), recorder, states, finished)


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
    """Train, and publish checkpoints/<stage>/ and reports/<stage>/.

    Raises:
        LockError: another process runs this stage here, or the same training elsewhere.
        TrainingError: training cannot go on.
        SavedStateError: there is saved state, and none of it can be used.
        StoppedError: a signal asked to stop; the state is saved.
        OSError: something cannot be written; what can be tried before training has been.
    """
    stage = run.config.stage
    for folder in (Path("checkpoints"), Path("reports", stage)):
        require_writable(folder)
    this_folder = held(Path("logs", f"{stage}.lock"), f"{stage} in this folder")
    this_training = held(run.states.folder / "lock", f"this very {stage}")
    with this_folder, this_training:
        if run.finished.only_texts_changed():
            tqdm.write("only comments and texts of the code have changed: publishing the same results again")
        else:
            run.recorder.begin()
            train(run, model)
            save_results(run, model)
            run.finished.record()
        publish_results(run)
        run.states.clear()


def train(run: TrainingRun, model: ModelConfig) -> None:
    """Run all epochs, from saved state where there is some."""
    epochs = run.config.epochs
    if epochs == 0:
        run.recorder.record({"epoch": 0, "valid_ab_mae": validate(run)})
        return
    with listening() as stop, translated_errors():
        position = resume(run)
        while position.epoch < epochs:
            losses = run_epoch(run, position, stop)
            position = Position(position.epoch + 1)
            close_epoch(run, position.epoch, losses)
            keep(run, position.epoch, model)
            # After the last epoch, so that a disk that is full when publishing costs no training.
            wanted = position.epoch == epochs or position.epoch in run.config.keep_epochs
            if wanted or stop.number is not None or run.states.due():
                save(run, position)
            stop.obey()


def resume(run: TrainingRun) -> Position:
    """Go on from saved state; the beginning where there is none."""
    state = run.states.load()
    if state is None:
        _mention_other_states(run.states.folder)
        return Position()
    run.objective.load_state_dict(state.contents)
    device = run.objective.accelerator.device
    run.recorder.load_state_dict(state.contents, device)
    sums = {name: value.to(device) for name, value in below(state.contents, "sum.").items()}
    tqdm.write(f"resumed after epoch {state.epoch} and {state.batches} batches of the next")
    return Position(state.epoch, state.batches, sums)


def run_epoch(run: TrainingRun, position: Position, stop: StopRequest) -> dict[str, float]:
    """Take the steps of the epoch that are left, and move the position along; returns the means of the losses."""
    objective, config, steps = run.objective, run.config, run.steps_per_epoch
    batches = train_batches(run.splits["train"], config.loader, position.epoch + 1, skip=position.batches)
    for network in objective.networks.values():
        network.train()
    name = f"epoch {position.epoch + 1}/{config.epochs}"
    bar = tqdm(batches, initial=position.batches, total=steps, desc=name, unit="step", leave=False)
    for batch in bar:
        step = position.epoch * steps + position.batches
        objective.set_rates(step, config.epochs * steps)
        # Dropout, too, depends on where training is and not on what ran before.
        torch.manual_seed(config.loader.seed * 1_000_003 + step)
        losses = objective.step(*objective.space.encode(batch.to(objective.accelerator.device)), step)
        position.batches += 1
        position.sums = {key: position.sums.get(key, 0) + loss for key, loss in losses.items()}
        run.recorder.step_losses.add(losses)
        draw_previews(run, run.recorder.preview_due(step=step + 1), step + 1)
        pausing = stop.number is not None or run.states.due()
        if pausing or position.batches % _CHECK_EVERY == 0:
            bar.set_postfix({key: f"{mean:.4g}" for key, mean in _means(position, step).items()} | _speed(bar, config))
        # After the last step comes validation; whether to save is decided after that.
        if pausing and position.batches < steps:
            _require_finite(objective, f"step {step}")
            save(run, position)
            stop.obey()
    return _means(position, (position.epoch + 1) * steps - 1)


def close_epoch(run: TrainingRun, epoch: int, losses: dict[str, float]) -> None:
    """What follows the steps of an epoch: check the weights, validate, record, draw previews."""
    objective = run.objective
    _require_finite(objective, f"epoch {epoch}")
    with objective.ema.applied():
        error = validate(run)
        run.recorder.record({"epoch": epoch, **losses, **objective.rates(), "valid_ab_mae": error})
    draw_previews(run, run.recorder.preview_due(epoch=epoch), epoch * run.steps_per_epoch)
    objective.accelerator.log(run.recorder.history[-1], step=epoch * run.steps_per_epoch)
    text = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    tqdm.write(f"epoch {epoch}/{run.config.epochs}: {text}, valid ab_mae {error:.3f}")


def draw_previews(run: TrainingRun, name: str, step: int) -> None:
    """Draw the previews of that name, where they are due, and show them to the trackers."""
    if name:
        objective = run.objective
        with objective.ema.applied():
            files = run.recorder.preview(name, objective.generator, run.splits, objective.accelerator.device)
        log_pictures(objective.accelerator, files, step)


def validate(run: TrainingRun) -> float:
    """ab_mae on the validation split."""
    objective, batch_size = run.objective, run.config.loader.batch_size
    with inference(objective.generator):
        device = objective.accelerator.device
        return ab_mae(objective.generator, run.splits["valid"], objective.space, batch_size, device)


def keep(run: TrainingRun, epoch: int, model: ModelConfig) -> None:
    """Keep the generator of an epoch that is asked for, to be published with the last one."""
    if epoch in run.config.keep_epochs:
        with run.states.keeping(f"epoch-{epoch:04d}") as folder, run.objective.ema.applied():
            alone = _trained(run, model).model_copy(update={"discriminator": None})
            save_model(folder, {"generator": run.objective.unwrapped()["generator"]}, alone)


def save(run: TrainingRun, position: Position) -> None:
    """Save the state, so that the training can go on from this position."""
    sums = {f"sum.{name}": value for name, value in position.sums.items()}
    contents = {**run.objective.state_dict(), **run.recorder.state_dict(), **sums}
    run.states.save(State(position.epoch, position.batches, contents))


def save_results(run: TrainingRun, model: ModelConfig) -> None:
    """Write the model, and what experiments are compared by, beside the record of the run."""
    run.objective.accelerator.end_training()
    compared = {name: value for name, value in run.recorder.history[-1].items() if not _is_setting(name)}
    last = {name: float(f"{value:.6g}") for name, value in compared.items()}
    write_json(run.recorder.folder / "metrics.json", last)
    if run.config.epochs:
        model = _trained(run, model)
    with run.objective.ema.applied():
        save_model(run.recorder.folder / "model", run.objective.unwrapped(), model)
    for name, folder in run.states.kept().items():
        publish(folder, run.recorder.folder / "model" / name)


def publish_results(run: TrainingRun) -> None:
    """Publish reports/<stage>/ and then checkpoints/<stage>/: weights there mean that all is done."""
    stage, work = run.config.stage, run.recorder.folder
    for name in ("metrics.json", "history.csv", "steps.csv", "samples"):
        publish(work / name, Path("reports", stage, name))
    publish(work / "model", Path("checkpoints", stage))


def _is_setting(column: str) -> bool:
    """Whether a column of the history says how the run was set up, and not how it went."""
    return column == "epoch" or column.startswith("lr_")


def _trained(run: TrainingRun, model: ModelConfig) -> ModelConfig:
    """The description of a model that has learnt what this run has taught it so far."""
    train, valid = (len(run.splits[split]) for split in ("train", "valid"))
    error = float(f"{run.recorder.history[-1]['valid_ab_mae']:.6g}")
    training = Training(
        source=run.source,
        photographs=train,
        validation_photographs=valid,
        ab_mae=error,
        before=run.config.started_from,
    )
    return model.model_copy(update={"training": training})


def _speed(bar: tqdm[Tensor], config: TrainConfig) -> dict[str, str]:
    rate = (bar.n - bar.initial) * config.loader.batch_size / max(bar.format_dict["elapsed"], 1e-9)
    return {"images/s": f"{rate:.1f}"}


def _means(position: Position, step: int) -> dict[str, float]:
    means = {name: value.item() / position.batches for name, value in position.sums.items()}
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise TrainingError(f"the {name} loss is {mean} by step {step}; {_ADVICE}")
    return means


def _require_finite(objective: Objective, when: str) -> None:
    """A state with NaN is never saved: it could only be resumed to fail again."""
    if not objective.finite():
        raise TrainingError(f"a weight is NaN or infinite after {when}; {_ADVICE}")


def _mention_other_states(folder: Path) -> None:
    if any(path.parent != folder for path in folder.parent.glob("*/[0-9]*.state")):
        tqdm.write(f"note: {folder.parent} holds saved state of other parameters, data or code; see `twotone resume`")
