"""The generator `dynamic_unet`: a U-Net on a timm backbone, with fastai's decoder or the halved one."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.backbones import build_body, levels
from pipeline.models.config import Generator
from pipeline.models.hints import Hinted
from pipeline.models.layers import KeptDropout, conv3, pixel_shuffle_up


def build_dynamic_unet(params: Generator, in_channels: int, out_channels: int, image_size: int) -> nn.Module:
    """Build a U-Net on params.backbone: (N, in, H, W) -> (N, out, H, W); H and W are multiples of 32.

    With params.hints, further channels of its input are hints (models/hints.py).

    Its weights are drawn from torch's global random numbers.

    Raises:
        BackboneError: the backbone cannot be the encoder of a U-Net.
        WeightsError: the encoder's weights are missing or do not fit.
    """
    noisy = params.noise == "dropout"
    body = build_body(params.backbone, in_channels, params.weights, params.max_width)

    def build() -> nn.Module:
        if params.decoder == "halved":
            unet: nn.Module = HalvedUnet(body, in_channels, out_channels, noisy=noisy)
        else:
            unet = _fastai_unet(body, params, out_channels, image_size)
        unet.has_backbone = True  # type: ignore[assignment]
        return unet

    return Hinted(build, body) if params.hints else build()


def _fastai_unet(body: nn.Sequential, params: Generator, out_channels: int, image_size: int) -> nn.Module:
    """Build fastai's DynamicUnet on the body, giving plain tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fastai still decorates with torch.jit.script
        from fastai.vision.models.unet import DynamicUnet

    unet: Any = DynamicUnet(body, out_channels, (image_size, image_size), last_cross=params.last_cross)
    # Its last layer wraps tensors in a fastai class, which slows every operation after it.
    unet.layers = unet.layers[:-1]
    if params.noise == "dropout":
        # The middle convolutions, from where noise reaches every pixel.
        unet.layers[3] = nn.Sequential(unet.layers[3], KeptDropout())
    return cast(nn.Module, unet)


class HalvedUnet(nn.Module):
    """DynamicUnet with a narrow decoder: each block halves the number of channels that it joins.

    As in the U-Net of Ronneberger et al. 2015, where fastai's blocks keep all channels; on a resnet18 it takes a third
    of the work. Batch normalization throughout; the last layer starts near zero, which is gray.
    """

    def __init__(self, body: nn.Sequential, in_channels: int, out_channels: int, *, noisy: bool = False):
        super().__init__()
        self.encoder = body
        *skips, (_, width) = levels(body, in_channels)
        noise: list[nn.Module] = [KeptDropout()] if noisy else []
        self.middle = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), *conv3(width, width), *noise)
        self.decoder = nn.ModuleList()
        for _, skip in reversed(skips):
            self.decoder.append(HalvedBlock(width, skip))
            width = (width // 2 + skip) // 2
        last = nn.Conv2d(width, out_channels, 1, bias=False)
        nn.init.normal_(last.weight, 0.0, 0.01)
        self.last = nn.Sequential(pixel_shuffle_up(width, width), last)

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
        self.up = pixel_shuffle_up(width, width // 2)
        self.norm = nn.BatchNorm2d(skip)
        self.refine = nn.Sequential(*conv3(joined, joined // 2), *conv3(joined // 2, joined // 2))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        refined: Tensor = self.refine(F.relu(torch.cat([self.up(x), self.norm(skip)], 1)))
        return refined
