"""PatchGAN by receptive field (Isola et al. 2017, section 6.1.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from pipeline.color import ColorSpace
from pipeline.params import Discriminator

# Multiples of the first width, as published: C64-C128, C64-C128, C64-C128-C256-C512, and two more C512.
_WIDTHS = {1: (1, 2), 16: (1, 2), 70: (1, 2, 4, 8), 286: (1, 2, 4, 8, 8, 8)}


class PatchGAN(nn.Module):
    """Judges each patch of a colored photograph by itself."""

    def __init__(self, in_channels: int, receptive_field: int, channels: int, norm: str, *, conditional: bool):
        super().__init__()
        self.conditional = conditional
        widths = [channels * multiple for multiple in _WIDTHS[receptive_field]]
        kernel = 1 if receptive_field == 1 else 4
        layers: list[nn.Module] = []
        for number, width in enumerate(widths):
            # The last hidden layer and the one that answers do not shrink the picture.
            stride = 1 if kernel == 1 or number == len(widths) - 1 else 2
            layers += _layer(in_channels, width, kernel, stride, norm if number else "none")
            in_channels = width
        last = nn.Conv2d(in_channels, 1, kernel, padding=kernel // 3)
        self.layers = nn.Sequential(*layers, spectral_norm(last) if norm == "spectral" else last)

    def forward(self, condition: Tensor, colors: Tensor) -> Tensor:
        """(N, C, H, W) what the generator saw and (N, K, H, W) colors -> (N, 1, h, w) logits: is it real?"""
        seen = torch.cat([condition, colors], 1) if self.conditional else colors
        logits: Tensor = self.layers(seen)
        return logits


def build_discriminator(params: Discriminator, space: ColorSpace, seed: int) -> PatchGAN:
    """A discriminator with weights drawn by seed from normal(0, 0.02), as in the paper."""
    in_channels = space.out_channels + (space.in_channels if params.conditional else 0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = PatchGAN(
            in_channels, params.receptive_field, params.channels, params.norm, conditional=params.conditional
        )
        net.apply(_init)
    return net


def _layer(in_channels: int, width: int, kernel: int, stride: int, norm: str) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 3, bias=norm != "batch")
    if norm == "spectral":
        conv = spectral_norm(conv)
    normed: list[nn.Module] = [nn.BatchNorm2d(width)] if norm == "batch" else []
    return [conv, *normed, nn.LeakyReLU(0.2, inplace=True)]


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        weight = module.weight_orig if hasattr(module, "weight_orig") else module.weight
        nn.init.normal_(weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
