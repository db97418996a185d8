"""Discriminators: PatchGAN by receptive field (Isola et al. 2017, section 6.1.2), or one's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from pipeline.color.tensors import ColorSpace
from pipeline.models.config import Discriminator
from pipeline.models.own_networks import own_discriminator

# Multiples of the first width, as published: C64-C128, C64-C128, C64-C128-C256-C512, and two more C512.
_WIDTHS = {1: (1, 2), 16: (1, 2), 70: (1, 2, 4, 8), 286: (1, 2, 4, 8, 8, 8)}


class PatchGAN(nn.Module):
    """Judges each patch of a colored photograph by itself."""

    def __init__(self, params: Discriminator, in_channels: int):
        super().__init__()
        self.conditional, norm = params.conditional, params.norm
        widths = [params.channels * multiple for multiple in _WIDTHS[params.receptive_field]]
        kernel = 1 if params.receptive_field == 1 else 4
        layers: list[nn.Module] = []
        for number, width in enumerate(widths):
            # The last hidden layer and the output layer do not shrink the picture.
            stride = 1 if kernel == 1 or number == len(widths) - 1 else 2
            # The paper does not batch-normalize the first layer; spectral normalization must bound every layer.
            layers += _layer(in_channels, width, kernel, stride, "none" if norm == "batch" and not number else norm)
            in_channels = width
        layers.append(_conv(in_channels, 1, kernel, 1, norm))
        self.layers = nn.Sequential(*layers)

    def forward(self, condition: Tensor, colors: Tensor) -> Tensor:
        """Judge condition (N, C, H, W), colors (N, K, H, W) -> (N, 1, h, w) logits, high where the patch looks real."""
        seen = torch.cat([condition, colors], 1) if self.conditional else colors
        logits: Tensor = self.layers(seen)
        return logits


def build_discriminator(params: Discriminator, space: ColorSpace, seed: int, image_size: int = 256) -> nn.Module:
    """Build a discriminator with weights drawn by seed: condition, colors -> logits.

    Args:
        image_size: side of the training photographs, pixels; one's own is tried on such.

    Raises:
        ParamsError: a network of one's own cannot be used.
    """
    in_channels = space.out_channels + (space.in_channels if params.conditional else 0)
    # The CPU's random numbers alone: the others' would open every GPU of the machine in every process.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if params.part:
            return own_discriminator(params.part, space.in_channels, space.out_channels, image_size)
        return PatchGAN(params, in_channels)


def _layer(in_channels: int, width: int, kernel: int, stride: int, norm: str) -> list[nn.Module]:
    layers = [_conv(in_channels, width, kernel, stride, norm)]
    if norm == "batch":
        batch_norm = nn.BatchNorm2d(width)
        nn.init.normal_(batch_norm.weight, 1.0, 0.02)
        layers.append(batch_norm)
    return [*layers, nn.LeakyReLU(0.2, inplace=True)]


def _conv(in_channels: int, width: int, kernel: int, stride: int, norm: str) -> nn.Module:
    """Build a convolution padded so that stride alone shrinks the picture; weights from normal(0, 0.02), as in the
    paper.
    """
    conv = nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 3)
    nn.init.normal_(conv.weight, 0.0, 0.02)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return spectral_norm(conv) if norm == "spectral" else conv
