"""Device, precision and determinism of a run."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from accelerate import Accelerator

from pipeline.distributed.group import join
from pipeline.distributed.world import world_size
from pipeline.errors import DeviceError
from pipeline.params.schema import Base, DeviceName, Precision
from pipeline.trackers import require_trackers


def start(base: Base, trackers_folder: Path | None = None) -> Accelerator:
    """Set up determinism, device, mixed precision and, for a stage that trains, trackers.

    Args:
        trackers_folder: where the runs of trackers are; None for a stage that trains nothing.

    Raises:
        DeviceError: base.device is not available or cannot compute in base.precision, or a tracker is not installed.
    """
    device = choose_device(base.device, base.deterministic)
    if base.deterministic:
        # cuBLAS reads it at its first call; NVIDIA advises 8 buffers of 4 MiB.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Does what torch.use_deterministic_algorithms does, which also imports torch's compiler for two seconds.
    torch.set_deterministic_debug_mode("error" if base.deterministic else "default")
    # Denormal numbers slow some CPUs down a hundredfold and teach nothing.
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = not base.deterministic
    # Determinism alone would fill every new tensor with NaN first.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(base.seed)
    require_devices(device, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    join(world_size(), device)
    precision = choose_precision(base.precision, device)
    # On its own torch lets CUDA round the inputs of convolutions to TF32's 10 bits.
    torch.backends.cudnn.conv.fp32_precision = "tf32" if precision == "tf32" else "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    trackers = list(base.trackers) if trackers_folder else []
    require_trackers(trackers)
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="no" if precision in ("fp32", "tf32") else precision,
        dynamo_backend="no",
        log_with=list(trackers) or None,
        project_dir=str(trackers_folder) if trackers else None,
    )


def require_devices(device: str, processes: int) -> None:
    """Refuse more processes than this machine has GPUs.

    Raises:
        DeviceError: several processes of this machine would share one GPU, which neither NCCL nor MPS allows.
    """
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, processes)
    if processes > most:
        raise DeviceError(
            f"{processes} processes cannot share {most} {device} device(s); set base.processes to at most {most}, or "
            "base.device to cpu"
        )


def choose_device(asked: DeviceName, deterministic: bool) -> str:
    """cuda, mps or cpu; auto takes the first that is available and, where that is asked for, deterministic."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        # MPS has no deterministic backward pass of max pooling, which nearly every backbone has.
        return next(name for name, yes in available.items() if yes and not (name == "mps" and deterministic))
    if not available[asked]:
        names = ", ".join(name for name, yes in available.items() if yes)
        raise DeviceError(f"base.device {asked} is not available here; allowed: auto, {names}")
    return asked


def choose_precision(asked: Precision, device: str) -> str:
    """Choose bf16 for auto on GPUs since Ampere and on CPUs with AMX or AVX512-BF16, and fp32 elsewhere.

    Without those instructions bf16 works but is slower than fp32.

    Raises:
        DeviceError: the device cannot compute in this precision.
    """
    if asked == "fp16" and device == "cpu":
        raise DeviceError("base.precision fp16 needs a GPU; on a CPU set auto, fp32 or bf16")
    if asked == "tf32" and device != "cuda":
        raise DeviceError(f"base.precision tf32 needs an NVIDIA GPU; on {device} set auto, fp32 or bf16")
    if asked != "auto":
        return asked
    if device == "cuda":
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp32"
    if device == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return "bf16"
    return "fp32"
