"""Depthwise convolutions that learn as fast as a CPU can: oneDNN has no fast code for some of their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Pair = tuple[int, int]

# The side of the largest kernel whose gradient oneDNN has fast code for.
_FAST = 3


def speed_up_depthwise(network: nn.Module) -> None:
    """Let the depthwise convolutions of a network, which is on a CPU, take their gradients by `Depthwise`."""
    layers: list[Any] = [module for module in network.modules() if _is_depthwise(module)]
    if not layers:
        return
    from timm.layers import Conv2dSame, pad_same  # not above: it takes a second

    for layer in layers:
        if type(layer) in (nn.Conv2d, Conv2dSame):
            layer.forward = partial(_convolve, layer, pad_same if isinstance(layer, Conv2dSame) else None)


def _is_depthwise(module: nn.Module) -> bool:
    """Whether it is a convolution with a group for each channel, and zeros around what it sees."""
    if not isinstance(module, nn.Conv2d) or isinstance(module.padding, str):
        return False
    return module.groups == module.in_channels > 1 and module.padding_mode == "zeros"


def _convolve(layer: Any, pad: Callable[..., Tensor] | None, features: Tensor) -> Tensor:
    """Return what the layer's own forward method does: (N, C, H, W) -> (N, C or a multiple, H, W).

    Args:
        pad: for layers that pad as TensorFlow does.
    """
    weight, bias, padding = layer.weight, layer.bias, layer.padding
    if pad:
        features, padding = pad(features, layer.kernel_size, layer.stride, layer.dilation), (0, 0)
    if torch.is_autocast_enabled("cpu"):
        features, weight = (x.to(torch.get_autocast_dtype("cpu")) for x in (features, weight))
    result: Tensor = Depthwise.apply(features, weight, layer.stride, padding, layer.dilation)  # type: ignore[no-untyped-call]
    return result if bias is None else result + bias.to(result.dtype)[:, None, None]


class Depthwise(torch.autograd.Function):
    """torch.conv2d with as many groups as channels, and its gradients in a faster way.

    Numbers are those of torch.conv2d but for rounding. It can be differentiated once.
    """

    @staticmethod
    def forward(
        context: Any, features: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair
    ) -> Tensor:  # fmt: skip
        context.save_for_backward(features, weight)
        context.places = stride, padding, dilation
        return torch.conv2d(features, weight, None, stride, padding, dilation, features.shape[1])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = context.saved_tensors
        by_features = by_weight = None
        if context.needs_input_grad[0]:
            by_features = _features_gradient(gradient, features, weight, *context.places)
        if context.needs_input_grad[1]:
            by_weight = _weight_gradient(gradient, features, weight, *context.places)
        return by_features, by_weight, None, None, None


def _features_gradient(
    gradient: Tensor, features: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """Let the kernel move by one pixel over a gradient with zeros in between, where it moves by more.

    That is the same sum. As it is, oneDNN takes 30 times as long for it in bf16.
    """
    if max(stride) == 1 or gradient.dtype == torch.float32:
        return _gradient(gradient, features, weight, stride, padding, dilation, of_features=True)
    sides = zip(features.shape[2:], padding, dilation, weight.shape[2:], strict=True)
    height, width = (side + 2 * around - apart * (taps - 1) for side, around, apart, taps in sides)
    shape = (*gradient.shape[:2], height, width)
    spread = torch.empty(shape, dtype=gradient.dtype, memory_format=torch.channels_last).zero_()
    spread[:, :, :: stride[0], :: stride[1]] = gradient
    return _gradient(spread, features, weight, (1, 1), padding, dilation, of_features=True)


def _weight_gradient(
    gradient: Tensor, features: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """Put the gradient of a large kernel together from those of 3x3 pieces, which take up to a tenth of the time.

    A piece of a kernel is a kernel of its own, which sees the features from where the piece begins.
    """
    height, width = weight.shape[2:]
    if max(height, width) <= _FAST:
        return _gradient(gradient, features, weight, stride, padding, dilation, of_features=False)
    padded = F.pad(features, (padding[1], padding[1], padding[0], padding[0]))
    result = torch.empty_like(weight)
    for rows in _pieces(height):
        for columns in _pieces(width):
            seen = padded[:, :, _seen(rows, gradient.shape[2], stride[0], dilation[0]),
                          _seen(columns, gradient.shape[3], stride[1], dilation[1])]  # fmt: skip
            piece = weight[:, :, rows, columns]
            result[:, :, rows, columns] = _gradient(gradient, seen, piece, stride, (0, 0), dilation, of_features=False)
    return result


def _pieces(side: int) -> list[slice]:
    """Cut a kernel's side in pieces of at most three; the last may overlap: 5 -> 0:3, 2:5."""
    starts = (*range(0, side - _FAST, _FAST), max(0, side - _FAST))
    return [slice(start, min(start + _FAST, side)) for start in starts]


def _seen(piece: slice, count: int, stride: int, dilation: int) -> slice:
    """Return which of the padded features a piece of the kernel sees for so many results."""
    return slice(piece.start * dilation, (piece.stop - 1) * dilation + (count - 1) * stride + 1)


def _gradient(
    gradient: Tensor,
    features: Tensor,
    weight: Tensor,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    *,
    of_features: bool,
) -> Tensor:
    """Return one of the two gradients of torch.conv2d with a group for each channel, by torch itself."""
    wanted = [of_features, not of_features, False]
    both = torch.ops.aten.convolution_backward(
        gradient, features, weight, None, stride, padding, dilation, False, (0, 0), features.shape[1], wanted
    )
    result: Tensor = both[0 if of_features else 1]
    return result
