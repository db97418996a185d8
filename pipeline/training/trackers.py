"""Trackers, such as TensorBoard, that get the numbers of each epoch through Accelerate."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from PIL import Image

from pipeline.errors import DeviceError, missing_extra

FOLDER = Path("logs/trackers")


def require_trackers(names: Sequence[str]) -> None:
    """Raises:
    DeviceError: a tracker of base.trackers is not installed.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise DeviceError(missing_extra(f"base.trackers: {name} is not installed", name))


def log_pictures(accelerator: Accelerator, files: Sequence[Path], step: int) -> None:
    """Show PNG files to every tracker: by split and step, or as files where a tracker keeps files."""
    for tracker in accelerator.trackers:
        for file in files:
            split = file.stem.partition("-")[0]
            if tracker.name == "dvclive":
                tracker.tracker.log_image(file.name, file)
            elif tracker.name == "mlflow":
                tracker.log_artifact(str(file), "samples")
            else:
                layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                with Image.open(file) as image:
                    tracker.log_images({f"samples/{split}": np.asarray(image)[None]}, step=step, **layout)


def start_trackers(accelerator: Accelerator, stage: str) -> None:
    """Start the trackers that the accelerator was made with; all write below logs/trackers/."""
    # Nothing leaves this machine unless its owner says so.
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_DIR", str(FOLDER))
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{FOLDER}/mlflow.db")
    # dvclive would write into dvc.yaml, and save an experiment of its own beside that of `dvc exp run`.
    live = {"dir": f"{FOLDER}/dvclive-{stage}", "save_dvc_exp": False, "dvcyaml": None}
    FOLDER.mkdir(parents=True, exist_ok=True)
    accelerator.init_trackers(f"twotone-{stage}", init_kwargs={"dvclive": live})
