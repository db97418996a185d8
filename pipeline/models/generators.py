"""The generators: (N, in_channels, H, W) -> (N, out_channels, H, W), H and W multiples of 32."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fastai still decorates with torch.jit.script
    from fastai.vision.models.unet import DynamicUnet

from pipeline.color import ColorSpace
from pipeline.models.backbones import build_body
from pipeline.params import Generator


def build_generator(params: Generator, space: ColorSpace, image_size: int, seed: int) -> nn.Module:
    """A generator with weights drawn by seed.

    Raises:
        BackboneError: the backbone cannot be the encoder of a U-Net.
        WeightsError: the encoder's weights cannot be had.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = build_body(params.backbone, space.in_channels, params.weights)
        return dynamic_unet(body, space.out_channels, image_size, last_cross=params.last_cross)


def dynamic_unet(body: nn.Sequential, out_channels: int, image_size: int, *, last_cross: bool) -> nn.Module:
    """fastai's DynamicUnet on the body, giving plain tensors."""
    unet: Any = DynamicUnet(body, out_channels, (image_size, image_size), last_cross=last_cross)
    # Its last layer wraps tensors in a fastai class, which slows every operation after it.
    unet.layers = unet.layers[:-1]
    return cast(nn.Module, unet)
