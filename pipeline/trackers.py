"""Trackers, such as TensorBoard, that get the numbers of each epoch through Accelerate: one run for each training."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from pipeline.errors import DeviceError, missing_extra
from pipeline.files import fresh_folder, write_json

# Digits of a training's fingerprint in the name of its run.
_DIGITS = 8
_SEEN = "reported.json"


def require_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are not installed.

    Raises:
        DeviceError: a tracker of base.trackers is not installed.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise DeviceError(missing_extra(f"base.trackers: {name} is not installed", name))


class Trackers:
    """Reports a training to the trackers that an accelerator was made with, each step once.

    A training that was interrupted goes on in its run. What it has reported before is not reported again: it would be
    the same.

    Args:
        folder: of all runs; in the main checkout, also when an experiment runs in a copy of it.
        stage, fingerprint: by which the run is known.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, stage: str, fingerprint: str):
        self._accelerator, self._all = accelerator, folder
        self._name = f"{stage}-{fingerprint[:_DIGITS]}"
        self.folder = folder / self._name
        # By what is reported: the last step of it.
        self._reported: dict[str, int] = {}
        self._run_id: str | None = None

    def start(self, *, begins: bool) -> None:
        """Start the run, or go on with it.

        Args:
            begins: whether the training has no step behind it.
        """
        if not self._accelerator.log_with:
            return
        if begins:
            fresh_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._recall()
        # Nothing leaves this machine unless its owner says so.
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_DIR", str(self._all))
        os.environ.setdefault("MLFLOW_TRACKING_URI", self._own_mlflow())
        self._accelerator.init_trackers(self._name, init_kwargs=self._options(begins=begins))  # type: ignore[no-untyped-call]
        for tracker in self._accelerator.trackers:
            if tracker.name == "mlflow":
                self._run_id = tracker.tracker.info.run_id
        self._remember("", 0)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Report numbers by name."""
        if self._is_new("numbers", step):
            self._accelerator.log(dict(row), step=step)  # type: ignore[no-untyped-call]
            self._remember("numbers", step)

    def show(self, files: Sequence[Path], step: int) -> None:
        """Report PNG files: by split and step, or as files where a tracker keeps files."""
        if not self._is_new("pictures", step):
            return
        for tracker in self._accelerator.trackers:
            for file in files:
                _show(tracker, file, step)
            if tracker.name == "tensorboard":
                tracker.tracker.flush()  # before it counts as reported
        self._remember("pictures", step)

    def finish(self) -> None:
        """End the run."""
        self._accelerator.end_training()

    def _own_mlflow(self) -> str:
        return f"sqlite:///{self._all}/mlflow.db"

    def _options(self, *, begins: bool) -> dict[str, dict[str, Any]]:
        # By itself ./mlruns, which for an experiment is a folder that is deleted. A server has a place of its own.
        ours = os.environ.get("MLFLOW_TRACKING_URI") == self._own_mlflow()
        pictures = (self._all / "mlflow").absolute().as_uri() if ours else None
        return {
            # dvclive would write into dvc.yaml, and save an experiment of its own beside that of `dvc exp run`.
            "dvclive": {"dir": str(self.folder), "save_dvc_exp": False, "dvcyaml": None, "resume": not begins},
            "wandb": {"id": self._name, "resume": "allow", "name": self._name},
            "mlflow": {"run_name": self._name, "run_id": self._run_id, "logging_dir": pictures},
        }

    def _is_new(self, what: str, step: int) -> bool:
        return bool(self._accelerator.log_with) and step > self._reported.get(what, 0)

    def _remember(self, what: str, step: int) -> None:
        if what:
            self._reported[what] = step
        write_json(self.folder / _SEEN, {"reported": self._reported, "run_id": self._run_id})

    def _recall(self) -> None:
        """Read what was reported; nothing where that is not known."""
        try:
            known = json.loads((self.folder / _SEEN).read_text(encoding="utf-8"))
            self._reported, self._run_id = dict(known["reported"]), known["run_id"]
        except (OSError, ValueError, KeyError, TypeError):
            self._reported, self._run_id = {}, None


def _show(tracker: Any, file: Path, step: int) -> None:
    split = file.stem.partition("-")[0]
    if tracker.name == "dvclive":
        tracker.tracker.log_image(file.name, file)
    elif tracker.name == "mlflow":
        tracker.log_artifact(str(file), "samples")
    else:
        layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        with Image.open(file) as image:
            tracker.log_images({f"samples/{split}": np.asarray(image)[None]}, step=step, **layout)
