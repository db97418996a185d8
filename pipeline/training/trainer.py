"""One training from start to finish: lock, resume, take the steps, validate, record, save, publish."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.checkpointing.fingerprint import Inputs, fingerprint, sharing, training_digest
from pipeline.checkpointing.finished import Finished
from pipeline.checkpointing.remote import Remote
from pipeline.checkpointing.signals import StopRequest, listening, obey
from pipeline.checkpointing.store import (
    SavedStates,
    State,
    below,
    mention_others,
    pack,
    require_no_other_count,
    unpack,
)
from pipeline.data.loader import LoaderConfig, plain_batches, train_batches
from pipeline.data.shards import Photographs, sample_source
from pipeline.errors import ParamsError, SampleError, TrainingError
from pipeline.files import StageFolders, publish, require_writable, write_json
from pipeline.models.checkpoint import load_weights, save_model
from pipeline.models.config import ModelConfig, Training, read_config
from pipeline.params.schema import unshareable
from pipeline.progress import progress
from pipeline.quality.validation import ab_mae, inference
from pipeline.system import held
from pipeline.trackers import Trackers
from pipeline.training.failures import translated_errors
from pipeline.training.objectives import Objective
from pipeline.training.plan import plan
from pipeline.training.recorder import PreviewTimes, Recorder
from pipeline.training.selection import Selection, best_epoch, least_error

# Reading a loss makes a GPU wait, and after so many steps it is soon enough to stop a failing run.
_CHECK_EVERY = 10
_ADVICE = "nothing was published; lower the learning rate, or set base.precision to fp32"
# What the names begin with under which the best generators so far are kept. None is deleted before the end: a training
# that is resumed may come to another choice where it is not deterministic.
_BEST = "best-"


@dataclass(frozen=True)
class TrainConfig:
    """What a stage asks of its training."""

    stage: str
    epochs: int
    loader: LoaderConfig
    previews: PreviewTimes
    keep_epochs: tuple[int, ...] = ()
    """Epochs (from 1) whose generator is published beside the last one."""
    publish: Literal["best", "last"] = "last"
    """Which generator is published: selection.py says what is best."""
    patience: int = 0
    """Epochs in a row without a lower ab_mae after which training ends; 0: it goes through all of them."""
    scored: bool = False
    """Whether each epoch is scored against what the stage began with, for history.csv and the choice of the best."""
    started_from: Training | None = None
    """What the model that start_from names had learnt before."""


@dataclass
class Position:
    """Where a training is."""

    epoch: int = 0
    """Finished epochs."""
    batches: int = 0
    """Finished batches of the epoch after them."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Each loss, added up over those batches."""


class Trainer:
    """Trains an objective on the sample, and publishes what it has learnt. Of several processes the first one writes.

    Args:
        model: describes what will be published.

    Raises:
        SampleError: the sample is absent, damaged, of another image size, or smaller than a batch.
        ParamsError: the processes of this training cannot share a batch, or have different ones to do.
    """

    def __init__(
        self, config: TrainConfig, objective: Objective, inputs: Inputs, model: ModelConfig, folders: StageFolders
    ):
        self.objective, self.model, self.folders = objective, model, folders
        self.group, accelerator = objective.group, objective.accelerator
        problems = unshareable(config.stage, config.loader.batch_size, objective.params.micro_batch, self.group.count)
        if config.epochs and problems:
            raise ParamsError(problems[0])
        self.splits = {split: Photographs(inputs.sample, split, model.image_size) for split in ("train", "valid")}
        self._source = sample_source(inputs.sample)
        training = training_digest(config.stage, inputs, accelerator)
        self.group.require_same(training)
        pinned = accelerator.device.type == "cuda"
        loader = replace(config.loader, rank=self.group.rank, processes=self.group.count, pinned=pinned)
        self.config, self._steps = replace(config, loader=loader), loader.steps(len(self.splits["train"]))
        if config.epochs and not self._steps:
            raise SampleError(
                f"the sample has {len(self.splits['train'])} photographs, fewer than {config.stage}.batch_size "
                f"{loader.batch_size}; run dvc repro sample, or lower it"
            )
        steps = config.epochs * self._steps
        objective.require_schedule(steps)
        self.recorder = Recorder(folders.work, objective.space, config.previews, steps, writes=self.group.first)
        key = fingerprint(training, accelerator)
        described = {**inputs.params(), **sharing(accelerator), "training": training}
        remote = Remote.of(inputs.base.states) if self.group.first else None
        self.states = SavedStates(folders.states / key, 60 * inputs.base.save_every_minutes, described, remote)
        self._finished = Finished(folders.work, key, inputs.watched)
        self._trackers = Trackers(accelerator, folders.trackers, config.stage, key)
        self._selection = self._scored_against() if config.scored and config.epochs and self.group.first else None

    def run(self) -> None:
        """Train and publish; publish again where this training is finished and its code does the same.

        Raises:
            LockError: another process runs this stage here, or the same training elsewhere.
            TrainingError: training cannot go on.
            SavedStateError: there is saved state, and none of it can be used.
            StoppedError: a signal asked to stop; the state is saved.
            OSError: something cannot be written; what can be tried before training has been.
        """
        with self._locked() if self.group.first else nullcontext():
            if any(self.group.largest([self.group.first and self._finished.is_enough()])):
                tqdm.write("this training is finished, and its code does the same: publishing its results again")
            else:
                self.recorder.begin()
                self.train()
                self._save_results()
            if self.group.first:
                self._finished.record()
                self._publish()
                self.states.end()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Within, no other process can run this stage here, or this training elsewhere."""
        stage = self.config.stage
        for folder in (self.folders.checkpoints.parent, self.folders.reports):
            require_writable(folder)
        this_folder = held(self.folders.work.with_suffix(".lock"), f"{stage} in this folder")
        this_training = held(self.states.folder / "lock", f"this very {stage}")
        with this_folder, this_training:
            yield

    def train(self) -> None:
        """Run all epochs, from saved state where there is some."""
        epochs = self.config.epochs
        if self.group.first:
            for sentence in plan(self.config.stage, self.objective.params, epochs * self._steps):
                tqdm.write(sentence)
        if epochs == 0:
            self.recorder.record({"epoch": 0, "valid_ab_mae": self.validate()})
            return
        with listening() as stop, translated_errors(), self.states:
            position = self._resume()
            if self.group.first:
                self._trackers.start(begins=not (position.epoch or position.batches))
                for row in self.recorder.history:  # which trackers on another machine have not seen
                    self._trackers.log(row, int(row["epoch"]) * self._steps)
            while not self._is_over(position.epoch):
                losses = self._run_epoch(position, stop)
                position = Position(position.epoch + 1)
                self._close_epoch(position.epoch, losses)
                self._keep(position.epoch)
                # After the last epoch, so that a disk that is full when publishing costs no training.
                wanted = self._is_over(position.epoch) or position.epoch in self.config.keep_epochs
                self._save_and_stop(position, *self._agreed(stop), wanted=wanted)
            if self.group.first and position.epoch < epochs:
                tqdm.write(self._ended_early(position.epoch))

    def _ended_early(self, epoch: int) -> str:
        """Say why training has ended after an epoch, and what that means for what is published."""
        best = least_error(self.recorder.history)
        said = [f"ended after epoch {epoch}: no lower valid ab_mae for {self.config.patience} epochs"]
        if self.config.publish == "last":
            said.append(f"epoch {epoch} is published, and the least error was that of epoch {best}")
        missing = [str(late) for late in self.config.keep_epochs if late > epoch]
        said += [f"keep_epochs {', '.join(missing)} were not reached"] if missing else []
        return "; ".join(said)

    def _is_over(self, epoch: int) -> bool:
        """Whether training ends after an epoch."""
        patience = self.config.patience
        if epoch == self.config.epochs or not patience or not epoch:
            return epoch == self.config.epochs
        return epoch - least_error(self.recorder.history) >= patience

    def _resume(self) -> Position:
        """Go on from saved state; the beginning where there is none."""
        state = self._saved_state()
        if state is None:
            return Position()
        self.objective.load_state_dict(state.contents)
        device = self.objective.accelerator.device
        self.recorder.load_state_dict(state.contents, device)
        sums = {name: value.to(device) for name, value in below(state.contents, "sum.").items()}
        tqdm.write(f"resumed after epoch {state.epoch} and {state.batches} batches of the next")
        return Position(state.epoch, state.batches, sums)

    def _saved_state(self) -> State | None:
        """Return the state that the first process finds; it sends it to the others."""
        if self.group.first:
            self.states.fetch()
        state = self.states.load() if self.group.first else None
        if self.group.first and state is None:
            require_no_other_count(self.states)
            mention_others(self.states)
        if self.group.count == 1:
            return state
        block = self.group.from_first(pack(state) if state else b"")
        return unpack(block) if block else None

    def _run_epoch(self, position: Position, stop: StopRequest) -> dict[str, float]:
        """Take the steps of the epoch that are left, and move the position along; returns the means of the losses."""
        objective, loader, steps = self.objective, self.config.loader, self._steps
        batches = train_batches(self.splits["train"], loader, position.epoch + 1, skip=position.batches)
        for network in objective.networks.values():
            network.train()
        name, hidden = f"epoch {position.epoch + 1}/{self.config.epochs}", not self.group.first
        bar = progress(
            batches, initial=position.batches, total=steps, desc=name, unit="step", leave=False, disable=hidden
        )  # fmt: skip
        for batch in bar:
            step = position.epoch * steps + position.batches
            objective.set_rates(step, self.config.epochs * steps)
            # Dropout, too, depends on where training is and not on what ran before.
            torch.manual_seed((loader.seed * 1_000_003 + step) * self.group.count + self.group.rank)
            rgb = batch.to(objective.accelerator.device, non_blocking=True)
            losses = objective.step(*objective.encode(rgb, loader.seed, step), step)
            losses = self.group.means(losses)
            position.batches += 1
            position.sums = {key: position.sums.get(key, 0) + loss for key, loss in losses.items()}
            self.recorder.step_losses.add(losses)
            self._draw_previews(self.recorder.preview_due(step=step + 1), step + 1)
            pausing, signal_number = self._agreed(stop)
            if pausing or position.batches % _CHECK_EVERY == 0:
                text = {key: f"{mean:.4g}" for key, mean in _means(position, step).items()}
                bar.set_postfix(text | _speed(bar, loader.batch_size))
            # After the last step comes validation; whether to save is decided after that.
            if pausing and position.batches < steps:
                self._require_finite(f"step {step}")
                self._save_and_stop(position, pausing, signal_number)
        return _means(position, (position.epoch + 1) * steps - 1)

    def _agreed(self, stop: StopRequest) -> tuple[bool, int]:
        """Whether to save now, and the signal that asks to stop, 0 for none: the same in all processes."""
        own = [self.group.first and self.states.due(), stop.number]
        due, number = (int(value) for value in self.group.largest(own))
        return bool(due or number), number

    def _save_and_stop(self, position: Position, pausing: bool, signal_number: int, *, wanted: bool = False) -> None:
        """Save the state where it is due or wanted, and end the stage where a signal asks for it."""
        if (pausing or wanted) and self.group.first:
            sums = {f"sum.{name}": value for name, value in position.sums.items()}
            contents = {**self.objective.state_dict(), **self.recorder.state_dict(), **sums}
            self.states.save(State(position.epoch, position.batches, contents))
        if signal_number:
            self.states.finish()
            obey(signal_number)

    def _close_epoch(self, epoch: int, losses: dict[str, float]) -> None:
        """Do what follows the steps of an epoch: check the weights, validate, record, draw previews."""
        self._require_finite(f"epoch {epoch}")
        with self.objective.ema.applied():
            error = self.validate()
            row = {"epoch": epoch, **losses, **self.objective.rates(), "valid_ab_mae": error}
            self.recorder.record(row | self._scores())
        last = f"epoch-{epoch:04d}" if self._is_over(epoch) else ""
        self._draw_previews(self.recorder.preview_due(epoch=epoch) or last, epoch * self._steps)
        if self.group.first:
            self._trackers.log(self.recorder.history[-1], epoch * self._steps)
        text = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        tqdm.write(f"epoch {epoch}/{self.config.epochs}: {text}, valid ab_mae {error:.3f}")

    def validate(self) -> float:
        """Return ab_mae on the validation split."""
        objective, loader = self.objective, self.config.loader
        with inference(objective.generator):
            device = objective.accelerator.device
            own = plain_batches(self.splits["valid"], loader.share, loader.rank, loader.processes)
            batches = (batch.to(device) for batch in own)
            return ab_mae(objective.generator, batches, objective.space, self.group)

    def _draw_previews(self, name: str, step: int) -> None:
        """Draw the previews of that name, where they are due, and show them to the trackers."""
        if name and self.group.first:
            objective = self.objective
            with objective.ema.applied():
                files = self.recorder.preview(name, objective.generator, self.splits, objective.accelerator.device)
            self._trackers.show(files, step)

    def _require_finite(self, when: str) -> None:
        """Refuse a state with NaN, which could only be resumed to fail again."""
        if not self.objective.finite():
            raise TrainingError(f"a weight is NaN or infinite after {when}; {_ADVICE}")

    def _scored_against(self) -> Selection:
        """Return what scores the epochs against the generator as it is now, before the first step."""
        generator = self.objective.unwrapped()["generator"]
        with inference(generator):
            return Selection(generator, self.objective.space, self.splits["valid"], self.config.loader)

    def _scores(self) -> dict[str, float]:
        """Return the validation scores that choose the epoch to publish, or {} if the stage does not choose."""
        if self._selection is None:
            return {}
        generator = self.objective.unwrapped()["generator"]
        with inference(generator):
            return self._selection.scores(generator)

    def _chosen(self) -> int:
        """Return the epoch to publish, of those that there are; 0 for what the stage began with."""
        history = self.recorder.history
        if self.config.publish == "last" or self.config.epochs == 0:
            return int(history[-1]["epoch"])
        return best_epoch(history) if self.config.scored else least_error(history)

    def _keep(self, epoch: int) -> None:
        """Keep the generator of an epoch: one that is asked for, the best so far, and the last where none is published.

        The last, because hours may have gone into it: it is published beside the generator that the stage began with,
        unless it gives no numbers any more.
        """
        if not self.group.first:
            return
        best = self._chosen()
        rejected = best == 0 and epoch == self.config.epochs and math.isfinite(self._row(epoch)["valid_ab_mae"])
        names = [f"epoch-{epoch:04d}"] if epoch in self.config.keep_epochs or rejected else []
        if best == epoch and self.config.publish == "best" and math.isfinite(self._row(epoch)["valid_ab_mae"]):
            names.append(f"{_BEST}{epoch:04d}")
        for name in names:
            with self.states.keeping(name) as folder, self.objective.ema.applied():
                alone = self._described(epoch).model_copy(update={"discriminator": None})
                save_model(folder, {"generator": self.objective.unwrapped()["generator"]}, alone)

    def _save_results(self) -> None:
        """Write the model, and what experiments are compared by, beside the record of the run."""
        if not self.group.first:
            return
        self._trackers.finish()
        choosing, chosen = self.config.publish == "best" and self.config.epochs > 0, self._chosen()
        kept = self.states.kept()
        bests = {name: kept.pop(name) for name in list(kept) if name.startswith(_BEST)}
        with self.objective.ema.applied():
            networks = self.objective.unwrapped()
            if choosing and chosen:
                best = _best(chosen, bests)
                load_weights(networks["generator"], best, "generator", read_config(best))
                by = "the nearest in color distribution of those that beat the saturation knob"
                tqdm.write(f"published: epoch {chosen}, {by if self._selection else 'of the least valid ab_mae'}")
            elif choosing and self._selection:
                _say_that_none_is_better(list(kept))
                networks["generator"].load_state_dict(self._selection.weights)
            # What the stage began with has learnt nothing here.
            save_model(self.folders.work / "model", networks, self._described(chosen) if chosen else self.model)
        shown = {name: float(f"{value:.6g}") for name, value in self._row(chosen).items() if not _is_setting(name)}
        published = {"published_epoch": chosen} if choosing else {}
        write_json(self.folders.work / "metrics.json", shown | published)
        for name, folder in kept.items():
            publish(folder, self.folders.work / "model" / name)

    def _publish(self) -> None:
        """Publish the reports and then the checkpoint: weights there mean that all is done."""
        for name in ("metrics.json", "history.csv", "steps.csv", "samples"):
            publish(self.folders.work / name, self.folders.reports / name)
        publish(self.folders.work / "model", self.folders.checkpoints)

    def _row(self, epoch: int) -> dict[str, float]:
        """Return an epoch of the history; for 0, the error of what the stage began with."""
        if self._selection and epoch == 0:
            return {"valid_ab_mae": self._selection.ab_mae}
        return next(row for row in self.recorder.history if row["epoch"] == epoch)

    def _described(self, epoch: int) -> ModelConfig:
        """Return the description of a model that has learnt what this run has taught it up to an epoch.

        Raises:
            TrainingError: it gives no numbers on the validation photographs, which finite weights may do.
        """
        train, valid = (len(self.splits[split]) for split in ("train", "valid"))
        error = float(f"{self._row(epoch)['valid_ab_mae']:.6g}")
        if not math.isfinite(error):
            raise TrainingError(
                f"valid_ab_mae is {error} after epoch {epoch}, whose generator would be published; lower the learning "
                "rate, or set base.precision to fp32"
            )
        training = Training(
            source=self._source,
            photographs=train,
            validation_photographs=valid,
            ab_mae=error,
            before=self.config.started_from,
        )
        return self.model.model_copy(update={"training": training})


def _means(position: Position, step: int) -> dict[str, float]:
    means = {name: value.item() / position.batches for name, value in position.sums.items()}
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise TrainingError(f"the {name} loss is {mean} by step {step}; {_ADVICE}")
    return means


def _speed(bar: tqdm[Tensor], batch_size: int) -> dict[str, str]:
    if bar.disable:
        return {}
    rate = (bar.n - bar.initial) * batch_size / max(bar.format_dict["elapsed"], 1e-9)
    return {"images/s": f"{rate:.1f}"}


def _best(epoch: int, bests: Mapping[str, Path]) -> Path:
    best = bests.get(f"{_BEST}{epoch:04d}")
    if best is None:
        raise TrainingError(
            f"the generator of epoch {epoch}, the best, has not been kept; `twotone states --clear`, and run again"
        )
    return best


def _say_that_none_is_better(kept: list[str]) -> None:
    tqdm.write(
        "WARNING: no epoch beats the saturation knob on the validation photographs: fine-tuning is worth less here "
        "than the colors that it began with, times a factor. The generator that it began with is published again"
        f"{''.join(f', beside it {name}' for name in kept)}; history.csv has the scores, and finetune.publish: last "
        "publishes the last epoch all the same."
    )


def _is_setting(column: str) -> bool:
    """Whether a column of the history says how the run was set up, and not how it went."""
    return column == "epoch" or column.startswith("lr_")
