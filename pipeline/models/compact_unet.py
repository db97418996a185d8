"""The generator `compact_unet`: a small U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.layers import KeptDropout, conv3


class CompactUnet(nn.Module):
    """3x3 stride-2 encoder 64-128-256-512, two 3x3 convolutions a level in the decoder, tanh.

    (N, in, H, W) -> (N, out, H, W) in [-1, 1]; H and W are multiples of 16.
    """

    def __init__(self, in_channels: int, out_channels: int, *, noisy: bool = False):
        super().__init__()
        widths = [64, 128, 256, 512]
        self.down = nn.ModuleList()
        for width in widths:
            conv = nn.Conv2d(in_channels, width, 3, 2, 1, bias=False)
            self.down.append(nn.Sequential(conv, nn.BatchNorm2d(width), nn.LeakyReLU(0.2)))
            in_channels = width
        for first in self.down[0].children():
            if isinstance(first, nn.Conv2d):
                nn.init.kaiming_normal_(first.weight, a=0.2)
        self.noise = KeptDropout() if noisy else nn.Identity()
        self.up, self.refine = nn.ModuleList(), nn.ModuleList()
        for width, skip in ((256, 256), (128, 128), (64, 64), (64, 0)):
            self.up.append(nn.ConvTranspose2d(in_channels, width, 2, 2))
            self.refine.append(nn.Sequential(*conv3(width + skip, width), *conv3(width, width)))
            in_channels = width
        self.last = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = self.noise(skips.pop())
        for up, refine in zip(self.up, self.refine, strict=True):
            x = up(x)
            # At full resolution the encoder has no level to join.
            x = refine(torch.cat([x, skips.pop()], 1) if skips else x)
        colors: Tensor = self.last(x)
        return colors
