"""Depthwise convolutions in fp32 among layers in bf16: on a processor they are several times faster so."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn


def speed_up_depthwise(network: nn.Module, accelerator: Accelerator) -> None:
    """Let the depthwise convolutions of a network compute in fp32 where training is in bf16 on a processor.

    oneDNN has no fast backward pass for them in bf16. A step of EfficientNet-Lite0's U-Net takes half the time
    (docs/explanation/speed.md). What they give is rounded to bf16 again, so that memory stays as small.
    """
    if accelerator.device.type != "cpu" or accelerator.mixed_precision != "bf16":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = partial(_in_fp32, module.forward)  # type: ignore[method-assign]


def _in_fp32(convolve: Any, features: Tensor) -> Tensor:
    """Call a layer's own forward method outside of autocast; (N, C, H, W) -> (N, C, H, W)."""
    if not torch.is_autocast_enabled("cpu"):
        return convolve(features)  # type: ignore[no-any-return]
    with torch.autocast("cpu", enabled=False):
        result: Tensor = convolve(features.float())
    return result.to(torch.get_autocast_dtype("cpu"))
