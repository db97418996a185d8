"""What must be equal for saved state to be continued: parameters, data, parent, code, environment, device."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from pipeline.params import Base, Block
from pipeline.training.resume import digest

_PACKAGES = ("accelerate", "fastai", "numpy", "timm", "torch")
_ROOT = Path(__file__).parents[2]


def identity(
    stage: str, base: Base, blocks: Sequence[Block], inputs: Sequence[Path], accelerator: Accelerator
) -> dict[str, Any]:
    """Plain values, to be hashed by `resume.fingerprint`.

    Args:
        blocks: the blocks of params.yaml that decide what this stage trains.
        inputs: folders and files it reads: the sample, the checkpoint it starts from, weights.
    """
    # Neither changes a single bit of what is trained.
    watched = base.model_dump(mode="json", exclude={"num_workers", "trackers", "save_every_minutes"})
    device = accelerator.device
    return {
        "stage": stage,
        "params": [watched, *(block.model_dump(mode="json") for block in blocks)],
        "inputs": [digest(_files(path)) for path in inputs],
        "code": digest(_loaded_code()),
        "environment": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": accelerator.mixed_precision,
        # Sums over threads round by how many there are.
        "threads": torch.get_num_threads(),
    }


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _loaded_code() -> list[Path]:
    """The project's own modules in this process, the stage's script among them."""
    found = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
    places = (_ROOT / "pipeline", _ROOT / "stages")
    return [file for file in map(Path, found) if any(place in file.parents for place in places)]
