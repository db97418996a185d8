from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
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
    events = EventAccumulator(str(project.folder / "logs/trackers/twotone-pretrain"), size_guidance={"images": 0})
    events.Reload()
    # Two steps an epoch: losses after each epoch, pictures after the third step and the last epoch.
    assert [event.step for event in events.Scalars("content")] == [2, 4]
    shown = events.Images("samples/valid")
    assert [event.step for event in shown] == [3, 4]
    for event, name in zip(shown, ("valid-step-0000003.png", "valid-epoch-0002.png"), strict=True):
        picture = Image.open(BytesIO(event.encoded_image_string))
        with Image.open(project.folder / "reports/pretrain/samples" / name) as file:
            assert np.array_equal(np.asarray(picture), np.asarray(file))
