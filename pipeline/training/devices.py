"""Where and in which precision to train."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from pipeline.params import Base, DeviceName, Precision


class DeviceError(Exception):
    """The device asked for is not here; the message says which are."""


def start(base: Base, stage: str | None = None) -> Accelerator:
    """Set up determinism, device, mixed precision and, for a stage that trains, trackers.

    Raises:
        DeviceError: base.device is not available, or cannot compute in base.precision, or a tracker of
            base.trackers is not installed.
    """
    device = choose_device(base.device)
    if base.deterministic:
        # cuBLAS reads it at its first call; 8 buffers of 4 MiB is NVIDIA's own advice.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(base.deterministic)
    # Denormal numbers slow some CPUs down a hundredfold and teach nothing.
    torch.set_flush_denormal(True)
    torch.manual_seed(base.seed)
    precision = choose_precision(base.precision, device)
    mixed = "no" if precision == "fp32" else precision
    trackers = list(base.trackers) if stage else []
    _require_trackers(trackers)
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision=mixed,
        dynamo_backend="no",
        log_with=list(trackers) or None,
        project_dir="logs/trackers" if trackers else None,
    )
    if trackers:
        # Nothing leaves this machine unless its owner says so.
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_DIR", "logs/trackers")
        os.environ.setdefault("MLFLOW_TRACKING_URI", "sqlite:///logs/trackers/mlflow.db")
        # dvclive would write into dvc.yaml, and save an experiment of its own beside that of `dvc exp run`.
        live = {"dir": f"logs/trackers/dvclive-{stage}", "save_dvc_exp": False, "dvcyaml": None}
        Path("logs/trackers").mkdir(parents=True, exist_ok=True)
        accelerator.init_trackers(f"twotone-{stage}", init_kwargs={"dvclive": live})
    return accelerator


def choose_device(asked: DeviceName) -> str:
    """cuda, mps or cpu; auto takes the first that is here."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(name for name, available in here.items() if available)
    if not here[asked]:
        available = ", ".join(name for name, yes in here.items() if yes)
        raise DeviceError(f"base.device {asked} is not available here; allowed: auto, {available}")
    return asked


def choose_precision(asked: Precision, device: str) -> str:
    """auto is bf16 on GPUs since Ampere and on CPUs with AMX or AVX512-BF16, fp32 elsewhere.

    Without those instructions bf16 works but is slower than fp32.
    """
    if asked == "fp16" and device == "cpu":
        raise DeviceError("base.precision fp16 needs a GPU; on a CPU take auto, fp32 or bf16")
    if asked != "auto":
        return asked
    if device == "cuda":
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp32"
    if device == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return "bf16"
    return "fp32"


def _require_trackers(trackers: Sequence[str]) -> None:
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise DeviceError(f"base.trackers: {name} is not installed; install the extra twotone[{name}]")
