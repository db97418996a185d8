"""The generators: (N, in_channels, H, W) -> (N, out_channels, H, W).

H and W are multiples of 32 for dynamic_unet, of 16 for compact_unet, and of 2 to the number of its levels
(256 at most) for pix2pix_unet.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fastai still decorates with torch.jit.script
    from fastai.layers import PixelShuffle_ICNR
    from fastai.vision.models.unet import DynamicUnet

from pipeline.color import ColorSpace
from pipeline.models.backbones import build_body, levels
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
    body = build_body(params.backbone, in_channels, params.weights, params.max_width)
    if params.decoder == "halved":
        return HalvedUnet(body, in_channels, out_channels, noisy=noisy)
    return _fastai_unet(body, out_channels, image_size, last_cross=params.last_cross, noisy=noisy)


def _fastai_unet(
    body: nn.Sequential, out_channels: int, image_size: int, *, last_cross: bool, noisy: bool
) -> nn.Module:
    """fastai's DynamicUnet on the body, giving plain tensors."""
    unet: Any = DynamicUnet(body, out_channels, (image_size, image_size), last_cross=last_cross)
    # Its last layer wraps tensors in a fastai class, which slows every operation after it.
    unet.layers = unet.layers[:-1]
    if noisy:
        # The middle convolutions: from here noise reaches every pixel.
        unet.layers[3] = nn.Sequential(unet.layers[3], KeptDropout())
    return cast(nn.Module, unet)


class HalvedUnet(nn.Module):
    """DynamicUnet with a narrow decoder: each block gives half of the channels it joins.

    So the U-Net of Ronneberger et al. 2015, where fastai's blocks keep all they join; a third of its work on a
    resnet18. Batch normalization throughout; the last layer starts near zero, which is gray.
    """

    def __init__(self, body: nn.Sequential, in_channels: int, out_channels: int, *, noisy: bool = False):
        super().__init__()
        self.encoder = body
        *skips, (_, width) = levels(body, in_channels)
        noise: list[nn.Module] = [KeptDropout()] if noisy else []
        self.middle = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), *_conv3(width, width), *noise)
        self.decoder = nn.ModuleList()
        for _, skip in reversed(skips):
            self.decoder.append(HalvedBlock(width, skip))
            width = (width // 2 + skip) // 2
        last = nn.Conv2d(width, out_channels, 1, bias=False)
        nn.init.normal_(last.weight, 0.0, 0.01)
        self.last = nn.Sequential(PixelShuffle_ICNR(width, norm_type=None), last)

    def forward(self, x: Tensor) -> Tensor:
        skips, full = [], x.shape[-1]
        for layer in self.encoder:
            before, x = x, layer(x)
            if x.shape[-1] != before.shape[-1] and before.shape[-1] != full:
                skips.append(before)
        x = self.middle(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        colors: Tensor = self.last(x)
        return colors


class HalvedBlock(nn.Module):
    """Doubles the resolution and joins a skip: (N, C, H, W), (N, S, 2H, 2W) -> (N, (C / 2 + S) / 2, 2H, 2W)."""

    def __init__(self, width: int, skip: int):
        super().__init__()
        joined = width // 2 + skip
        self.up = PixelShuffle_ICNR(width, width // 2, norm_type=None)
        self.norm = nn.BatchNorm2d(skip)
        self.refine = nn.Sequential(*_conv3(joined, joined // 2), *_conv3(joined // 2, joined // 2))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        refined: Tensor = self.refine(F.relu(torch.cat([self.up(x), self.norm(skip)], 1)))
        return refined


class KeptDropout(nn.Module):
    """Dropout that stays on at inference, as the noise z of Isola et al. 2017."""

    kept = True

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=True) if self.kept else x


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
            self.refine.append(nn.Sequential(*_conv3(width + skip, width), *_conv3(width, width)))
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


def _conv3(in_channels: int, width: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]


def _init_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
