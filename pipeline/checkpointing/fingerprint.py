"""The fingerprint of a training: a hash of all that must be equal for its saved state to be continued."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from pipeline.checkpointing.digests import code_digest, files_digest
from pipeline.models.config import Block
from pipeline.params.schema import Base

_PACKAGES = ("accelerate", "fastai", "numpy", "timm", "torch")
# Parameters that change no bit of what is trained; processes count as they have been started.
_WITHOUT_EFFECT = {"num_workers", "processes", "trackers", "save_every_minutes", "states"}


@dataclass(frozen=True)
class Inputs:
    """What a training stage reads."""

    base: Base
    blocks: tuple[Block, ...]
    """The blocks of params.yaml that decide what it trains."""
    sample: Path
    """The folder that the sample stage publishes."""
    start: tuple[Path, ...]
    """What it starts from: a checkpoint folder, a file of weights, or nothing."""
    code: tuple[Path, ...]
    """The project's own files that can change its result."""
    watched: tuple[Path, ...] = ()
    """All files of code for whose change dvc starts the stage, also those that its result does not depend on."""

    def params(self) -> dict[str, Any]:
        """Return the parameters that matter, by block."""
        blocks = {type(block).__name__.lower(): block.model_dump(mode="json") for block in self.blocks}
        return {"base": self.base.model_dump(mode="json", exclude=_WITHOUT_EFFECT), **blocks}


def training_digest(stage: str, inputs: Inputs, accelerator: Accelerator) -> str:
    """By what a training is known, however many threads and processes share it: 64 hexadecimal digits.

    It reads the whole sample.
    """
    device = accelerator.device
    on_cuda = device.type == "cuda"
    training = {
        "stage": stage,
        "params": inputs.params(),
        "inputs": [files_digest(_files(path)) for path in (inputs.sample, *inputs.start)],
        "code": code_digest(inputs.code),
        "environment": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "device": torch.cuda.get_device_name(device) if on_cuda else device.type,
        "cuda": [torch.version.cuda, torch.backends.cudnn.version(), torch.cuda.nccl.version()] if on_cuda else None,  # type: ignore[no-untyped-call]
        "precision": accelerator.mixed_precision,
    }
    return _hash(training)


def fingerprint(training: str, accelerator: Accelerator) -> str:
    """Of a training with these threads and processes: 64 hexadecimal digits.

    The order of a sum over threads or processes depends on their number, and so does its rounding.
    """
    return _hash({"training": training, **sharing(accelerator)})


def sharing(accelerator: Accelerator) -> dict[str, int]:
    """How many threads and processes share a training."""
    return {"threads": torch.get_num_threads(), "processes": accelerator.num_processes}


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
