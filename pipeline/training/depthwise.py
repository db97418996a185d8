"""Depthwise convolutions in bf16 that learn as fast as a CPU can: oneDNN is slow with some of their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Convolve = Callable[[Tensor], Tensor]
"""A layer's own forward method: (N, C, H, W) -> (N, C, H, W)."""

# The side of the largest kernel whose gradient oneDNN has fast code for.
_FAST = 3


def speed_up_depthwise(network: nn.Module) -> None:
    """Let the depthwise convolutions of a network, which is on a CPU, learn faster where they compute in bf16."""
    layers: list[Any] = [module for module in network.modules() if _is_depthwise(module)]
    if not layers:
        return
    from timm.layers import Conv2dSame, pad_same  # not above: it takes a second

    for layer in layers:
        same = type(layer) is Conv2dSame
        if (same or type(layer) is nn.Conv2d) and _is_usual(layer):
            layer.forward = partial(_in_bf16, layer, layer.forward, pad_same if same else None)
        else:
            layer.forward = partial(_in_fp32, layer.forward)


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def _is_usual(layer: nn.Conv2d) -> bool:
    """Whether it has what `Depthwise` knows: a kernel for each channel, square, and larger than its step."""
    alike = all(len(set(pair)) == 1 for pair in (layer.kernel_size, layer.stride, layer.padding))
    plain = layer.padding_mode == "zeros" and layer.dilation == (1, 1) and layer.out_channels == layer.in_channels
    return alike and plain and layer.stride[0] < layer.kernel_size[0]


def _in_fp32(own: Convolve, features: Tensor) -> Tensor:
    """Call a layer's own forward method outside of autocast, and round what it gives to bf16."""
    if not torch.is_autocast_enabled("cpu"):
        return own(features)
    with torch.autocast("cpu", enabled=False):
        result = own(features.float())
    return result.to(torch.get_autocast_dtype("cpu"))


def _in_bf16(layer: Any, own: Convolve, pad: Callable[..., Tensor] | None, features: Tensor) -> Tensor:
    """Do what a layer's own forward method does in autocast, with faster gradients.

    Args:
        pad: for layers that pad as TensorFlow does.
    """
    if not torch.is_autocast_enabled("cpu"):
        return own(features)
    padding = layer.padding[0]
    if pad:
        features, padding = pad(features, layer.kernel_size, layer.stride, layer.dilation), 0
    narrow = (
        None if x is None else x.to(torch.get_autocast_dtype("cpu")) for x in (features, layer.weight, layer.bias)
    )
    result: Tensor = Depthwise.apply(*narrow, layer.stride[0], padding)  # type: ignore[no-untyped-call]
    return result


class Depthwise(torch.autograd.Function):
    """torch.conv2d with a square kernel for each channel, and its gradients in a faster way.

    Numbers are those of torch.conv2d but for rounding. It can be differentiated once.
    """

    @staticmethod
    def forward(
        context: Any, features: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:  # fmt: skip
        context.save_for_backward(features, weight)
        context.stride, context.padding = stride, padding
        return torch.conv2d(features, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = context.saved_tensors
        by_features = by_weight = by_bias = None
        if context.needs_input_grad[0]:
            by_features = _features_gradient(gradient, features, weight, context.stride, context.padding)
        if context.needs_input_grad[1]:
            by_weight = _weight_gradient(gradient, features, weight, context.stride, context.padding)
        if context.needs_input_grad[2]:
            by_bias = gradient.sum((0, 2, 3))
        return by_features, by_weight, by_bias, None, None


def _features_gradient(gradient: Tensor, features: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Let the kernel move by one pixel over a gradient with zeros in between, where it moves by more.

    That is the same sum. As it is, oneDNN takes 30 times as long for it in bf16.
    """
    if stride > 1:
        height, width = (side + 2 * padding - weight.shape[2] + 1 for side in features.shape[2:])
        shape = (*gradient.shape[:2], height, width)
        spread = torch.empty(shape, dtype=gradient.dtype, memory_format=torch.channels_last).zero_()
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    return _gradient(0, gradient, features, weight, 1, padding)


def _weight_gradient(gradient: Tensor, features: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Put the gradient of a large kernel together from those of 3x3 pieces: a tenth to a third of the time.

    A piece of a kernel is a kernel of its own, which sees the features from where the piece begins.
    """
    side = weight.shape[2]
    if side <= _FAST:
        return _gradient(1, gradient, features, weight, stride, padding)
    padded = F.pad(features, (padding, padding, padding, padding))
    height, width = ((count - 1) * stride + _FAST for count in gradient.shape[2:])
    # Where three does not divide a side, the last piece overlaps: 5 is 0 to 3 and 2 to 5.
    starts = [*range(0, side - _FAST, _FAST), side - _FAST]
    result = torch.empty_like(weight)
    for top in starts:
        for left in starts:
            piece = (..., slice(top, top + _FAST), slice(left, left + _FAST))
            seen = padded[:, :, top : top + height, left : left + width]
            result[piece] = _gradient(1, gradient, seen, weight[piece], stride, 0)
    return result


def _gradient(which: int, gradient: Tensor, features: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return a gradient of torch.conv2d by torch itself: of the features (0) or the weight (1)."""
    strides, paddings, wanted = [stride, stride], [padding, padding], [which == 0, which == 1, False]
    both = torch.ops.aten.convolution_backward(
        gradient, features, weight, None, strides, paddings, [1, 1], False, [0, 0], len(weight), wanted
    )
    result: Tensor = both[which]
    return result
