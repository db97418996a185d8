"""Layers that several generators share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeptDropout(nn.Module):
    """Dropout that stays on at inference, as the noise z of Isola et al. 2017."""

    kept = True

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=True) if self.kept else x


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
