from __future__ import annotations

import shutil
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers import Project
from tests.nursery import Nursery


def test_losses_and_pictures_reach_tensorboard(make_project: Callable[[str], Project], nursery: Nursery) -> None:
    project = make_project("tensorboard")
    project.change(base={"trackers": ["tensorboard"]}, generator={"architecture": "compact_unet"})
    project.change(pretrain={"epochs": 2, "sample_epochs": [], "sample_steps": 3})
    for stage in ("sample", "pretrain"):
        nursery.run(project.folder, stage)
    events = events_of(project, "pretrain")
    # Two steps an epoch: losses after each epoch, pictures after the third step and the last epoch.
    assert [event.step for event in events.Scalars("content")] == [2, 4]
    shown = events.Images("samples/valid")
    assert [event.step for event in shown] == [3, 4]
    for event, name in zip(shown, ("valid-step-0000003.png", "valid-epoch-0002.png"), strict=True):
        picture = Image.open(BytesIO(event.encoded_image_string))
        with Image.open(project.folder / "reports/pretrain/samples" / name) as file:
            assert np.array_equal(np.asarray(picture), np.asarray(file))


def events_of(project: Project, stage: str) -> EventAccumulator:
    """Those of the only run of a stage."""
    (folder,) = (project.folder / "logs/trackers").glob(f"{stage}-*")
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return events


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_training_is_one_run_however_often_it_is_interrupted(
    make_project: Callable[[str], Project], nursery: Nursery, elsewhere: bool
) -> None:
    """Killed after the second epoch was reported and before the third was: no step twice, none missing.

    Nor where it goes on without what was reported, as on another machine; pictures are not kept with the state.
    """
    project = make_project("interrupted")
    project.change(base={"trackers": ["tensorboard"], "save_every_minutes": 0.0001})
    project.change(generator={"architecture": "compact_unet"}, pretrain={"epochs": 4, "sample_epochs": [1, 2, 3, 4]})
    nursery.run(project.folder, "sample")
    fault = """
from pipeline import trackers
before(trackers.Trackers, "log", when=lambda _self, row, _step: row["epoch"] == 3)
"""
    assert nursery.start(project.folder, "pretrain", fault).wait().returncode == -9
    if elsewhere:
        shutil.rmtree(project.folder / "logs/trackers")
    # And once more right after it was reported, before that is saved.
    fault = """
from pipeline.training.trainer import Trainer
before(Trainer, "_agreed", when=lambda one, _stop: one.recorder.history and one.recorder.history[-1]["epoch"] == 3)
"""
    assert nursery.start(project.folder, "pretrain", fault).wait().returncode == -9
    nursery.run(project.folder, "pretrain")
    events = events_of(project, "pretrain")
    assert [event.step for event in events.Scalars("valid_ab_mae")] == [2, 4, 6, 8]
    assert [event.step for event in events.Images("samples/valid")] == ([6, 8] if elsewhere else [2, 4, 6, 8])


@pytest.mark.slow
def test_runs_of_experiments_are_kept_in_the_main_checkout(make_project: Callable[[str], Project]) -> None:
    project = make_project("experiments")
    project.change(base={"trackers": ["tensorboard"]}, generator={"architecture": "compact_unet"})
    project.git("commit", "-q", "-a", "-m", "tracked")
    project.dvc("exp", "run", "--temp", "-S", "base.seed=1")
    project.dvc("exp", "run", "--queue", "-S", "base.seed=2")
    project.dvc("queue", "start")
    project.wait_for_the_queue()
    for stage in ("pretrain", "finetune"):
        folders = list((project.folder / "logs/trackers").glob(f"{stage}-*"))
        assert len(folders) == 2
        assert all(list(folder.glob("events.*")) for folder in folders)
