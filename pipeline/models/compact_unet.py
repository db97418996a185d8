"""The generator `compact_unet`: the small U-Net of docs/reference/references.md, S4."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.layers import KeptDropout

# Keras' own, with which the source is written; torch's are 0.1 and 1e-5.
_MOMENTUM, _EPSILON = 0.01, 1e-3


class CompactUnet(nn.Module):
    """Stride-2 encoder 64-128-256-512; each decoder block doubles, joins a skip and convolves twice; tanh.

    (N, in, H, W) -> (N, out, H, W) in [-1, 1]; H and W are multiples of 16. The last block joins the input itself.
    Paddings are Keras' "same", which pads at the right and the bottom first.
    """

    def __init__(self, in_channels: int, out_channels: int, *, noisy: bool = False):
        super().__init__()
        skips = [in_channels, 64, 128, 256]
        self.down = nn.ModuleList(_halve(*pair) for pair in zip(skips, [*skips[1:], 512], strict=True))
        self.noise = KeptDropout() if noisy else nn.Identity()
        self.up, self.refine = nn.ModuleList(), nn.ModuleList()
        width = 512
        for skip, narrower in zip(reversed(skips), (256, 128, 64, out_channels), strict=True):
            self.up.append(nn.ConvTranspose2d(width, narrower, 3, 2))
            self.refine.append(_refine(narrower + skip, narrower, last=skip == in_channels))
            width = narrower
        self.apply(_init_keras)
        first = self.down[0].get_submodule("1")
        assert isinstance(first, nn.Conv2d)
        nn.init.kaiming_normal_(first.weight)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        x = self.noise(x)
        for up, refine in zip(self.up, self.refine, strict=True):
            # A stride of 2 gives 2n + 1 pixels, of which "same" keeps the first 2n.
            x = refine(torch.cat([up(x)[..., :-1, :-1], skips.pop()], 1))
        return torch.tanh(x)


def _halve(in_channels: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, width, 3, 2, bias=False)
    norm = nn.BatchNorm2d(width, eps=_EPSILON, momentum=_MOMENTUM)
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv, norm, nn.LeakyReLU(0.2))


def _refine(in_channels: int, width: int, *, last: bool) -> nn.Sequential:
    layers = [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
    # The source has a ReLU before its tanh, too, and so can never give a negative a or b.
    return nn.Sequential(*layers, *([] if last else [nn.ReLU()]))


def _init_keras(module: nn.Module) -> None:
    """Keras' default: Glorot uniform weights, zero biases."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
