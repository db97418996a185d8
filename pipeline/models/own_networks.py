"""Networks of one's own: built by a function in parts/ or in a package, and tried before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.parts import load_part, where

# What a network is tried on: photographs, and pixels of a side, a multiple of 32 as all are.
_PHOTOGRAPHS, _SIDE = 2, 64


def own_generator(part: str, in_channels: int, out_channels: int) -> nn.Module:
    """Build a generator: (N, in_channels, H, W) -> (N, out_channels, H, W), about [-1, 1].

    Its weights are drawn from torch's global random numbers.

    Args:
        part: module:function.

    Raises:
        ParamsError: it cannot be imported or built, or gives something else.
    """
    key = "generator.architecture"
    network = _built(key, part, in_channels=in_channels, out_channels=out_channels)
    wanted = (_PHOTOGRAPHS, out_channels, _SIDE, _SIDE)
    _try(key, part, network, (in_channels,), f"floating-point colors of shape {wanted}", wanted)
    return network


def own_discriminator(part: str, condition_channels: int, color_channels: int) -> nn.Module:
    """Build a discriminator: condition (N, C, H, W) and colors (N, K, H, W) -> logits (N, ...), high where real.

    Its weights are drawn from torch's global random numbers.

    Args:
        part: module:function.

    Raises:
        ParamsError: it cannot be imported or built, or gives something else.
    """
    key = "discriminator.architecture"
    network = _built(key, part, condition_channels=condition_channels, color_channels=color_channels)
    wanted = f"floating-point logits of {_PHOTOGRAPHS} photographs"
    _try(key, part, network, (condition_channels, color_channels), wanted, None)
    return network


def _built(key: str, part: str, **channels: int) -> nn.Module:
    function = load_part(key, part, *channels)
    try:
        network = function(*channels.values())
    except Exception as error:  # what somebody else's function may raise is anything
        raise ParamsError(f"{key}: {part} fails: {where(error, function)}") from error
    if not isinstance(network, nn.Module):
        raise ParamsError(f"{key}: {part} must return a torch.nn.Module, got {network!r:.100}")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ParamsError(f"{key}: {part} has no parameter that learns; allowed: a network with one at least")
    return network


def _try(
    key: str, part: str, network: nn.Module, channels: tuple[int, ...], wanted: str, shape: tuple[int, ...] | None
) -> None:
    """Let a network look at zeros: a wrong shape would come out as a broadcast, or in the middle of a training.

    Args:
        channels: of each of its inputs.
        wanted: what it must give, in words.
        shape: of that; None where the number of photographs is enough.

    Raises:
        ParamsError: it cannot, or gives something else.
    """
    modes = {layer: layer.training for layer in network.modules()}
    inputs = [torch.zeros(_PHOTOGRAPHS, count, _SIDE, _SIDE) for count in channels]
    try:
        with torch.no_grad():
            given: Any = network.eval()(*inputs)
    except Exception as error:  # what somebody else's network may raise is anything
        shapes = " and ".join(str(tuple(one.shape)) for one in inputs)
        said = " ".join(str(error).split())[:300]
        raise ParamsError(f"{key}: {part} fails on inputs of shape {shapes}: {type(error).__name__}: {said}") from error
    finally:
        for layer, training in modes.items():
            layer.training = training
    is_tensor = isinstance(given, Tensor) and given.is_floating_point() and given.dim() > 0
    if not is_tensor or (tuple(given.shape) != shape if shape else given.shape[0] != _PHOTOGRAPHS):
        got = f"a {given.dtype} of shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"{given!r:.100}"
        raise ParamsError(f"{key}: {part} must give {wanted}, got {got}")
