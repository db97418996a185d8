"""Hints: colors that somebody has said for places, which a generator sees beside the lightness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.backbones import hooked_layers
from pipeline.models.config import HINT_CHANNELS

_SUMMARY, _WIDTH = 4, 32


class Hinted(nn.Module):
    """A generator that takes hints: (N, 1 + 3, H, W), or (N, 1, H, W) for none, -> (N, 2, H, W).

    Each feature map of the encoder that the decoder joins gets a share of what is said within each of its cells, by two
    1x1 convolutions without biases. So a hint is seen at once at each scale, from 1/2 to 1/32, and a photograph without
    hints is colored exactly as by the network alone. The second convolutions begin at zero: weights of a generator
    without hints can be started from.

    Args:
        network: takes the lightness alone.
        encoder: its layers, before a hook on them has been set for the decoder.
    """

    def __init__(self, network: Callable[[], nn.Module], encoder: nn.Sequential):
        super().__init__()
        self._hints: Tensor | None = None
        self.added = nn.ModuleList()
        for number, reduction, width in hooked_layers(encoder, in_channels=1):
            self.added.append(_Projection(width, reduction))
            encoder[number].register_forward_hook(self._adding(len(self.added) - 1))
        self.network = network()

    def forward(self, x: Tensor) -> Tensor:
        self._hints = x[:, 1:] if x.shape[1] > 1 else None
        colors: Tensor = self.network(x[:, :1])
        self._hints = None
        return colors

    def _adding(self, number: int) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
        def add(_layer: nn.Module, _given: Any, features: Tensor) -> Tensor | None:
            if self._hints is None:
                return None
            added: Tensor = self.added[number](self._hints)
            return features + added.to(features.dtype)

        return add


class HintChannels(nn.Module):
    """A generator that takes hints as further channels of its input: (N, 1 + 3, H, W), or (N, 1, H, W) for none."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        none = torch.zeros_like(x).repeat(1, HINT_CHANNELS, 1, 1) if x.shape[1] == 1 else x[:, :0]
        colors: Tensor = self.network(torch.cat([x, none], 1))
        return colors


class _Projection(nn.Module):
    """What is said within each cell of a feature map, as its channels: (N, 3, H, W) -> (N, width, H / r, W / r)."""

    pretrained = False  # so that it learns at the full rate

    def __init__(self, width: int, reduction: int):
        super().__init__()
        self._reduction = reduction
        self.first = nn.Conv2d(_SUMMARY, _WIDTH, 1, bias=False)
        self.last = nn.Conv2d(_WIDTH, width, 1, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, hints: Tensor) -> Tensor:
        added: Tensor = self.last(F.relu(self.first(summary(hints, self._reduction))))
        return added


def summary(hints: Tensor, reduction: int) -> Tensor:
    """Reduce hints: (N, 3, H, W) -> (N, 4, H / r, W / r): mean a* and b*, whether any, and the share of its pixels.

    All are 0 in a cell where nothing is said.
    """
    means = F.avg_pool2d(hints, reduction)
    share = means[:, 2:]
    colors = means[:, :2] / share.clamp(min=1e-6)
    return torch.cat([colors, (share > 0).to(hints.dtype), share], 1)


def begin_without_hints(hinted: nn.Module, plain: nn.Module) -> None:
    """Give a generator with hints the weights of the same one without; its answer is the same at first.

    A convolution that sees hints as further channels gets zeros for them.
    """
    own, given = hinted.state_dict(), plain.state_dict()
    for name, tensor in given.items():
        target = own[f"network.{name}"]
        if target.shape != tensor.shape:
            target.zero_()
            target[:, : tensor.shape[1]] = tensor
        else:
            target.copy_(tensor)


def without_hints(network: nn.Module) -> nn.Module:
    """Return the network that a generator with hints is built on; itself where it takes none."""
    return network.network if isinstance(network, Hinted | HintChannels) else network
