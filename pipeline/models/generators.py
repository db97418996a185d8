"""The generators by their names in params.yaml: (N, in_channels, H, W) -> (N, out_channels, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.models.compact_unet import CompactUnet
from pipeline.models.config import HINT_CHANNELS, Generator
from pipeline.models.hints import HintChannels, Hinted, without_hints
from pipeline.models.layers import FromNoise
from pipeline.models.own_networks import own_generator
from pipeline.models.pix2pix_unet import Pix2PixUnet


@dataclass(frozen=True)
class Shape:
    in_channels: int
    out_channels: int
    image_size: int
    """Side of the training photographs, pixels."""


def _dynamic_unet(params: Generator, shape: Shape) -> nn.Module:
    # timm and fastai take seconds to import: the other generators do not wait for them.
    from pipeline.models.dynamic_unet import build_dynamic_unet

    return build_dynamic_unet(params, shape.in_channels, shape.out_channels, shape.image_size)


def _pix2pix_unet(params: Generator, shape: Shape) -> nn.Module:
    noisy = params.noise == "dropout"
    return Pix2PixUnet(shape.in_channels, shape.out_channels, shape.image_size, noisy=noisy)


def _pix2pix_unet_leaky(params: Generator, shape: Shape) -> nn.Module:
    noisy = params.noise == "dropout"
    return Pix2PixUnet(shape.in_channels, shape.out_channels, shape.image_size, noisy=noisy, leaky=True)


def _compact_unet(params: Generator, shape: Shape) -> nn.Module:
    return CompactUnet(shape.in_channels, shape.out_channels, noisy=params.noise == "dropout")


GENERATORS: dict[str, Callable[[Generator, Shape], nn.Module]] = {
    "dynamic_unet": _dynamic_unet,
    "pix2pix_unet": _pix2pix_unet,
    "pix2pix_unet_leaky": _pix2pix_unet_leaky,
    "compact_unet": _compact_unet,
}
"""(block `generator`, shape) -> network, its weights drawn from torch's global random numbers.

H and W of its input must be multiples of 32, unless models/config.py says otherwise.
"""


def build_generator(params: Generator, space: ColorSpace, image_size: int, seed: int) -> nn.Module:
    """Build a generator with weights drawn by seed.

    Raises:
        BackboneError: the backbone cannot be the encoder of a U-Net.
        ParamsError: a network of one's own cannot be used.
        WeightsError: the encoder's weights are missing or do not fit.
    """
    noise_channels = 1 if params.noise == "input" else 0
    own_hints = params.architecture == "dynamic_unet"
    # The CPU's random numbers alone: the others' would open every GPU of the machine in every process.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        seen = space.in_channels + noise_channels + (HINT_CHANNELS if params.hints and not own_hints else 0)
        network = (
            own_generator(params.part, seen, space.out_channels, image_size)
            if params.own
            else GENERATORS[params.architecture](params, Shape(seen, space.out_channels, image_size))
        )
    if params.hints and not own_hints:
        return HintChannels(network)
    return NoiseInput(network) if noise_channels else network


def takes_hints(network: nn.Module) -> bool:
    """Whether a generator sees hints beside the lightness."""
    return isinstance(network, Hinted | HintChannels)


def backbone_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Those of a dynamic_unet's backbone, without the layers that this project adds to it; none for the others."""
    inner = without_hints(network.network if isinstance(network, NoiseInput) else network)
    if not getattr(inner, "has_backbone", False):
        return []
    layers = getattr(inner, "layers", None)  # fastai's DynamicUnet
    body = layers[0] if isinstance(layers, nn.ModuleList) else getattr(inner, "encoder", None)
    assert body is not None
    added = {id(p) for part in body.modules() if not getattr(part, "pretrained", True) for p in part.parameters()}
    return [parameter for parameter in body.parameters() if id(parameter) not in added]


def with_noise_given(network: nn.Module, space: ColorSpace) -> FromNoise:
    """Return a generator in evaluation mode that draws no noise itself: all of it is given."""
    noisy = isinstance(network, NoiseInput)
    inner = network.network if isinstance(network, NoiseInput) else network
    hints = HINT_CHANNELS if takes_hints(inner) else 0
    return FromNoise(inner.eval(), space.in_channels + noisy + hints)


class NoiseInput(nn.Module):
    """Adds a channel of Gaussian noise to the network's input, drawn from torch's global random numbers."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        colors: Tensor = self.network(torch.cat([x, torch.randn_like(x[:, :1])], 1))
        return colors
