"""Layers that several generators share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeptDropout(nn.Module):
    """Dropout that stays on at inference, as the noise z of Isola et al. 2017."""

    uniform: Tensor | None = None
    """Numbers in [0, 1) of the shape of the input, by which values are dropped; None: torch draws them."""

    def forward(self, x: Tensor) -> Tensor:
        if self.uniform is None:
            return F.dropout(x, 0.5, training=True)
        return x * (self.uniform >= 0.5).to(x.dtype) * 2


class FromNoise(nn.Module):
    """A generator as a function of its input and of all its noise: the numbers of each KeptDropout, in their order.

    Their shapes, without N: (C, H / d, W / d) for (C, d) in `shapes`.
    """

    def __init__(self, network: nn.Module, in_channels: int):
        super().__init__()
        self.network, self.in_channels = network, in_channels
        self.dropouts = [module for module in network.modules() if isinstance(module, KeptDropout)]
        self.shapes = _input_shapes(network, self.dropouts, in_channels)

    def forward(self, x: Tensor, *uniforms: Tensor) -> Tensor:
        for dropout, uniform in zip(self.dropouts, uniforms, strict=True):
            dropout.uniform = uniform
        colors: Tensor = self.network(x)
        for dropout in self.dropouts:
            dropout.uniform = None
        return colors


_PROBE = 256


def _input_shapes(network: nn.Module, modules: list[KeptDropout], in_channels: int) -> tuple[tuple[int, int], ...]:
    """(channels, how many times smaller than the picture) of what each module is given."""
    shapes: list[tuple[int, int]] = []

    def note(_module: nn.Module, given: tuple[Tensor], _output: Tensor) -> None:
        shapes.append((given[0].shape[1], _PROBE // given[0].shape[2]))

    handles = [module.register_forward_hook(note) for module in modules]
    if modules:
        with torch.no_grad():
            network.eval()(torch.zeros(1, in_channels, _PROBE, _PROBE))
    for handle in handles:
        handle.remove()
    return tuple(shapes)


def conv3(in_channels: int, width: int) -> list[nn.Module]:
    """3x3 convolution, batch normalization, LeakyReLU."""
    conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]


def pixel_shuffle_up(in_channels: int, width: int) -> nn.Sequential:
    """Double the resolution by a 1x1 convolution and a pixel shuffle: (N, C, H, W) -> (N, width, 2H, 2W), >= 0.

    ICNR (Aitken et al. 2017, https://arxiv.org/abs/1707.02937): the four pixels of a block start with equal weights,
    so that the first outputs have no checkerboard. The same layer as fastai's PixelShuffle_ICNR, whose import takes
    two seconds.
    """
    conv = nn.Conv2d(in_channels, 4 * width, 1)
    with torch.no_grad():
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        # fastai draws twice; drawing as often gives the layers built after this one the same random numbers.
        nn.init.kaiming_uniform_(conv.weight)
        one_of_four = nn.init.kaiming_normal_(torch.empty(width, in_channels, 1, 1))
        conv.weight.copy_(one_of_four.repeat_interleave(4, 0))
    return nn.Sequential(nn.Sequential(conv, nn.ReLU()), nn.PixelShuffle(2))
