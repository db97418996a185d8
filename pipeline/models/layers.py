"""Layers that several generators are made of."""

from __future__ import annotations

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
