"""What a training works with: its sample, its objective, and the places of its record and of its saved states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.checkpointing.fingerprint import Inputs, fingerprint, sharing, training_digest
from pipeline.checkpointing.finished import Finished
from pipeline.checkpointing.store import SavedStates
from pipeline.data.loader import LoaderConfig
from pipeline.data.shards import Photographs, sample_source
from pipeline.distributed.group import Group
from pipeline.errors import ParamsError
from pipeline.models.config import ModelConfig, Training
from pipeline.params.contradictions import unshareable
from pipeline.quality.validation import inference
from pipeline.trackers import Trackers
from pipeline.training.objectives import Objective
from pipeline.training.recorder import PreviewTimes, Recorder
from pipeline.training.selection import Selection


@dataclass(frozen=True)
class TrainConfig:
    stage: str
    epochs: int
    loader: LoaderConfig
    previews: PreviewTimes
    keep_epochs: tuple[int, ...] = ()
    """Epochs (from 1) whose generator is published beside the last one."""
    publish: Literal["best", "last"] = "last"
    """Which generator is published: selection.py says what is best."""
    scored: bool = False
    """Whether each epoch is scored against what the stage began with, for history.csv and the choice of the best."""
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
    trackers: Trackers
    selection: Selection | None = None
    """Scores the epochs of the second stage against what it began with; in the first process alone."""

    @property
    def choosing(self) -> Selection | None:
        """Where the best epoch is published: what it is chosen by."""
        return self.selection if self.config.publish == "best" else None

    @property
    def group(self) -> Group:
        """The processes that share this training."""
        return self.objective.group

    @property
    def steps_per_epoch(self) -> int:
        return self.config.loader.steps(len(self.splits["train"]))


def prepare(
    config: TrainConfig,
    objective: Objective,
    inputs: Inputs,
    model: ModelConfig,
    resume_folder: Path,
    trackers_folder: Path,
) -> TrainingRun:
    """Open the sample, and find the place of the run's record and of its saved states.

    Args:
        model: what will be published.
        resume_folder: where saved states are kept, by stage and fingerprint.
        trackers_folder: where trackers keep their runs.

    Raises:
        SampleError: the sample is absent, damaged or of another image size.
        ParamsError: the processes of this training cannot share a batch, or have different ones to do.
    """
    group = objective.group
    problems = unshareable(f"{config.stage}.batch_size", config.loader.batch_size, group.count)
    if config.epochs and problems:
        raise ParamsError(problems[0])
    splits = {split: Photographs(inputs.sample, split, model.image_size) for split in ("train", "valid")}
    accelerator = objective.accelerator
    training = training_digest(config.stage, inputs, accelerator)
    group.require_same(training)
    pinned = accelerator.device.type == "cuda"
    config = replace(config, loader=replace(config.loader, rank=group.rank, processes=group.count, pinned=pinned))
    steps = config.epochs * config.loader.steps(len(splits["train"]))
    recorder = Recorder(Path("logs", config.stage), objective.space, config.previews, steps, writes=group.first)
    key = fingerprint(training, accelerator)
    every = 60 * inputs.base.save_every_minutes
    described = {**inputs.params(), **sharing(accelerator), "training": training}
    states = SavedStates(resume_folder / config.stage / key, every, described)
    finished = Finished(recorder.folder, key, inputs.code)
    selection = None
    # The first process alone writes the history, and chooses.
    if config.scored and config.epochs and group.first:
        generator = objective.unwrapped()["generator"]
        with inference(generator):
            selection = Selection(generator, objective.space, splits["valid"], config.loader)
    trackers = Trackers(accelerator, trackers_folder, config.stage, key)
    source = sample_source(inputs.sample)
    return TrainingRun(config, objective, splits, source, recorder, states, finished, trackers, selection)
