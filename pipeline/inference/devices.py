"""What a model colors on: a provider of ONNX Runtime, or a device of torch."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import ModelError

CPU, AUTO = "cpu", "auto"
# By the names that people give; in the order in which auto takes them.
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    CPU: "CPUExecutionProvider",
}
NAMES = (AUTO, *PROVIDERS, "mps")


def onnx_devices(asked: str, available: Sequence[str]) -> list[str]:
    """Return the devices to try, in this order, for an exported model.

    Args:
        asked: one of NAMES.
        available: the providers that the installed onnxruntime offers.

    Raises:
        ModelError: what was asked for is not among them.
    """
    there = [name for name, provider in PROVIDERS.items() if provider in available]
    return _chosen(asked, there, "the installed onnxruntime")


def torch_devices(asked: str) -> list[str]:
    """Return the devices to try, in this order, for a checkpoint.

    Raises:
        ModelError: what was asked for is not here.
    """
    import torch

    there = [name for name, found in (("cuda", torch.cuda.is_available()), ("mps", torch.mps.is_available())) if found]
    return _chosen(asked, [*there, CPU], "torch")


def _chosen(asked: str, there: list[str], whose: str) -> list[str]:
    if asked == AUTO:
        return there
    if asked not in NAMES:
        raise ModelError(f"device must be one of {', '.join(NAMES)}, got {asked!r}")
    if asked not in there:
        raise ModelError(
            f"device {asked}: {whose} has {', '.join(there)} here; leave the device out, or name one of them"
        )
    return [asked]
