"""Networks of one's own: built by a function in parts/ or in a package, and tried before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.parts import load_part, where

_PHOTOGRAPHS = 2
# Sides of a generator's input are multiples of it, and those of a photograph that is colored are two.
_MULTIPLE = 32


def own_generator(part: str, in_channels: int, out_channels: int, image_size: int) -> nn.Module:
    """Build a generator: (N, in_channels, H, W) -> (N, out_channels, H, W), about [-1, 1].

    Its weights are drawn from torch's global random numbers.

    Args:
        part: module:function.
        image_size: side of the training photographs, pixels.

    Raises:
        ParamsError: it cannot be imported or built, or gives something else.
    """
    key = "generator.architecture"
    network = _built(key, part, in_channels=in_channels, out_channels=out_channels)
    for width in (image_size, image_size + _MULTIPLE):
        wanted = (_PHOTOGRAPHS, out_channels, image_size, width)
        seen = torch.zeros(_PHOTOGRAPHS, in_channels, image_size, width)
        given = _answer(key, part, network, seen)
        if not isinstance(given, Tensor) or tuple(given.shape) != wanted or not given.is_floating_point():
            raise ParamsError(f"{key}: {part} must give floating-point colors of shape {wanted}, got {_said(given)}")
        if not given.requires_grad:
            raise ParamsError(f"{key}: {part}: its colors have no gradient, so nothing learns: use torch's functions")
    return network


def own_discriminator(part: str, condition_channels: int, color_channels: int, image_size: int) -> nn.Module:
    """Build a discriminator: condition (N, C, H, W) and colors (N, K, H, W) -> logits (N, ...), high where real.

    Its weights are drawn from torch's global random numbers.

    Args:
        part: module:function.
        image_size: side of the training photographs, pixels.

    Raises:
        ParamsError: it cannot be imported or built, or gives something else.
    """
    key = "discriminator.architecture"
    network = _built(key, part, condition_channels=condition_channels, color_channels=color_channels)
    condition, colors = (
        torch.zeros(_PHOTOGRAPHS, count, image_size, image_size) for count in (condition_channels, color_channels)
    )
    given = _answer(key, part, network, condition, colors.requires_grad_())
    if not isinstance(given, Tensor) or not given.is_floating_point() or given.shape[:1] != (_PHOTOGRAPHS,):
        raise ParamsError(
            f"{key}: {part} must give floating-point logits of {_PHOTOGRAPHS} photographs, got {_said(given)}"
        )
    learns = given.requires_grad and torch.autograd.grad(given.sum(), colors, allow_unused=True)[0] is not None
    if not learns:
        raise ParamsError(f"{key}: {part}: its logits have no gradient of the colors, so the generator learns nothing")
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
    try:
        save({name: value.detach().contiguous() for name, value in network.state_dict().items()})
    except Exception as error:  # tensors that share memory, or what is no tensor
        said = " ".join(str(error).split())[:300]
        raise ParamsError(f"{key}: {part}: its weights cannot be saved as safetensors: {said}") from error
    return network


def _answer(key: str, part: str, network: nn.Module, *inputs: Tensor) -> Any:
    """Let a network look at zeros: a wrong shape would come out as a broadcast, or in the middle of a training.

    Raises:
        ParamsError: it cannot.
    """
    modes = {layer: layer.training for layer in network.modules()}
    try:
        return network.eval()(*inputs)
    except Exception as error:  # what somebody else's network may raise is anything
        shapes, said = " and ".join(str(tuple(one.shape)) for one in inputs), " ".join(str(error).split())[:300]
        raise ParamsError(f"{key}: {part} fails on inputs of shape {shapes}: {type(error).__name__}: {said}") from error
    finally:
        for layer, training in modes.items():
            layer.training = training


def _said(given: Any) -> str:
    return f"a {given.dtype} of shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"{given!r:.100}"
