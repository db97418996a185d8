"""What lets a network learn faster on a CPU, to the same numbers but for rounding (docs/explanation/speed.md)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.training.depthwise import speed_up_depthwise


def speed_up_on_cpu(network: nn.Module) -> None:
    """Change how a network computes its gradients, in place; weights and their names stay as they are."""
    speed_up_depthwise(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(_ask_for_dense_gradient)


def one_loop_for_adam(network: nn.Module, device: torch.device) -> bool | None:
    """Return Adam's `fused` for a network: true on a CPU, where one loop is faster; None leaves it to torch.

    That loop takes for granted that weights are real numbers without gaps in memory.
    """
    weights = network.parameters()
    dense = all(x.is_floating_point() and torch.empty_like(x).stride() == x.stride() for x in weights)
    return True if device.type == "cpu" and dense else None


def _ask_for_dense_gradient(_layer: nn.Module, _inputs: Any, output: Any) -> None:
    """Let a batch normalization's gradient lie in memory as its output does.

    A skip's gradient is a part of what torch.cat passes back. From such a part torch takes 4 to 60 times as long.
    """
    if not isinstance(output, Tensor):  # as a layer of one's own may give
        return
    if output.requires_grad and output.is_contiguous(memory_format=torch.channels_last):
        output.register_hook(_dense)  # type: ignore[no-untyped-call]


def _dense(gradient: Tensor) -> Tensor:
    """Copy it where it has gaps: (N, C, H, W)."""
    return gradient.contiguous(memory_format=torch.channels_last)
