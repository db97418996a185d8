"""The generators: (N, in_channels, H, W) -> (N, out_channels, H, W).

H and W are multiples of 32 for dynamic_unet, of 16 for compact_unet, and of 2 to the number of its levels
(256 at most) for pix2pix_unet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.color import ColorSpace
from pipeline.models.layers import KeptDropout, conv3
from pipeline.params import Generator


def build_generator(params: Generator, space: ColorSpace, image_size: int, seed: int) -> nn.Module:
    """A generator with weights drawn by seed.

    Raises:
        BackboneError: the backbone cannot be the encoder of a U-Net.
        WeightsError: the encoder's weights cannot be had.
    """
    in_channels = space.in_channels + (params.noise == "input")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _build(params, in_channels, space.out_channels, image_size)
    return NoiseBeside(network) if params.noise == "input" else network


def _build(params: Generator, in_channels: int, out_channels: int, image_size: int) -> nn.Module:
    noisy = params.noise == "dropout"
    if params.architecture == "pix2pix_unet":
        return Pix2PixUnet(in_channels, out_channels, image_size, noisy=noisy)
    if params.architecture == "compact_unet":
        return CompactUnet(in_channels, out_channels, noisy=noisy)
    # fastai and timm take five seconds to import, which the others need not wait for.
    from pipeline.models.dynamic_unet import build_dynamic_unet

    return build_dynamic_unet(params, in_channels, out_channels, image_size)


class NoiseBeside(nn.Module):
    """Gives the network a channel of Gaussian noise beside its input; torch.manual_seed decides it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        colors: Tensor = self.network(torch.cat([x, torch.randn_like(x[:, :1])], 1))
        return colors


class Pix2PixUnet(nn.Module):
    """The U-Net of Isola et al. 2017, section 6.1.1.

    Encoder C64-C128-C256-C512-C512-C512-C512-C512, decoder CD512-CD512-CD512-C512-C256-C128-C64, at 256 pixels;
    smaller images are halved as often as they can be, and the innermost blocks fall away.
    """

    def __init__(self, in_channels: int, out_channels: int, image_size: int, *, noisy: bool = False):
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
            dropout: list[nn.Module] = [KeptDropout() if noisy else nn.Dropout(0.5)] if i < 3 else []
            conv_up = nn.ConvTranspose2d(in_channels, width, 4, 2, 1, bias=False)
            self.up.append(nn.Sequential(nn.ReLU(), conv_up, nn.BatchNorm2d(width), *dropout))
            in_channels = 2 * width
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1), nn.Tanh())
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


class CompactUnet(nn.Module):
    """A small U-Net: 3x3 stride-2 encoder 64-128-256-512, two 3x3 convolutions a level on the way up, tanh."""

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
            # At full resolution there is no encoder level beside it.
            x = refine(torch.cat([x, skips.pop()], 1) if skips else x)
        colors: Tensor = self.last(x)
        return colors


def _init_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
