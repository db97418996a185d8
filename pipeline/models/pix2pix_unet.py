"""The generators `pix2pix_unet`, the U-Net of pix2pix, and `pix2pix_unet_leaky`.

The latter is that of S0 in docs/reference/references.md.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.layers import KeptDropout


class Pix2PixUnet(nn.Module):
    """The U-Net of Isola et al. 2017, section 6.1.1: (N, in, H, W) -> (N, out, H, W) in [-1, 1].

    Encoder C64-C128-C256-C512-C512-C512-C512-C512, decoder CD512-CD512-CD512-C512-C256-C128-C64, at 256 pixels;
    smaller images are halved as often as possible, and the innermost blocks fall away.

    Args:
        leaky: S0's form. Its skips, and the innermost block, pass through LeakyReLU instead of ReLU on their way into
            the decoder, and its weights start as torch draws them instead of from normal(0, 0.02).
    """

    def __init__(
        self, in_channels: int, out_channels: int, image_size: int, *, noisy: bool = False, leaky: bool = False
    ):
        super().__init__()
        # The lowest set bit says how often a size can be halved.
        halvings = min(8, (image_size & -image_size).bit_length() - 1)
        widths = [64, 128, 256, 512, 512, 512, 512, 512][:halvings]
        self.down = nn.ModuleList()
        for i, width in enumerate(widths):
            activation = [nn.LeakyReLU(0.2)] if i else []
            # Neither the first nor, at a single pixel, the innermost block is normalized.
            norm = [nn.BatchNorm2d(width)] if 0 < i < halvings - 1 else []
            conv = nn.Conv2d(in_channels, width, 4, 2, 1, bias=not norm)
            self.down.append(nn.Sequential(*activation, conv, *norm))
            in_channels = width
        self.up = nn.ModuleList()
        for i, width in enumerate(reversed(widths[:-1])):
            # The innermost block comes from the encoder, as skips do.
            activated = _LeakySkip(in_channels // 2 if i else 0) if leaky else nn.ReLU()
            dropout: list[nn.Module] = [KeptDropout() if noisy else nn.Dropout(0.5)] if i < 3 else []
            conv_up = nn.ConvTranspose2d(in_channels, width, 4, 2, 1, bias=False)
            self.up.append(nn.Sequential(activated, conv_up, nn.BatchNorm2d(width), *dropout))
            in_channels = 2 * width
        activated = _LeakySkip(in_channels // 2) if leaky else nn.ReLU()
        self.last = nn.Sequential(activated, nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1), nn.Tanh())
        if not leaky:
            self.apply(_init_normal)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = torch.cat([block(x), skip], 1)
        colors: Tensor = self.last(x)
        return colors


class _LeakySkip(nn.Module):
    """ReLU on the first channels, which come from the decoder, and LeakyReLU on the others, which come from a skip."""

    def __init__(self, decoder_channels: int):
        super().__init__()
        self._decoder_channels = decoder_channels

    def forward(self, x: Tensor) -> Tensor:
        decoder, skip = x[:, : self._decoder_channels], x[:, self._decoder_channels :]
        return torch.cat([F.relu(decoder), F.leaky_relu(skip, 0.2)], 1)


def _init_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
