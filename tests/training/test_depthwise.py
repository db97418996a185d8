"""Gradients of depthwise convolutions and dense gradients of batch normalization, against torch's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from timm.layers import Conv2dSame
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params
from pipeline.training.depthwise import Depthwise, speed_up_depthwise
from pipeline.training.objectives import ContentObjective
from pipeline.training.on_cpu import speed_up_on_cpu

# Kernel, stride, padding and dilation, and the height and width of what it sees.
LAYERS = {
    "3x3": ((3, 3), (1, 1), (1, 1), (1, 1), (7, 6)),
    "3x3 by two": ((3, 3), (2, 2), (1, 1), (1, 1), (8, 7)),
    "5x5": ((5, 5), (1, 1), (2, 2), (1, 1), (6, 7)),
    "5x5 over less than itself": ((5, 5), (1, 1), (2, 2), (1, 1), (3, 2)),
    "5x5 by two, with a rest": ((5, 5), (2, 2), (0, 0), (1, 1), (10, 9)),
    "7x7": ((7, 7), (1, 1), (3, 3), (1, 1), (8, 8)),
    "7x7 by three": ((7, 7), (3, 3), (2, 2), (1, 1), (11, 14)),
    "apart": ((5, 5), (2, 1), (4, 3), (2, 3), (12, 15)),
    "4x4": ((4, 4), (2, 2), (1, 1), (1, 1), (8, 8)),
    "1x11": ((1, 11), (1, 1), (0, 5), (1, 1), (5, 12)),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_are_those_of_finite_differences(layer: str) -> None:
    kernel, stride, padding, dilation, size = LAYERS[layer]
    torch.manual_seed(0)
    features = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 1, *kernel, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda x, w: Depthwise.apply(x, w, stride, padding, dilation), (features, weight))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_computes_what_it_did(layer: str, precision: torch.dtype) -> None:
    kernel, stride, padding, dilation, size = LAYERS[layer]
    torch.manual_seed(0)
    own = nn.Conv2d(8, 16, kernel, stride, padding, dilation, groups=8).to(memory_format=torch.channels_last)

    _assert_same(own, torch.randn(4, 8, *size), precision)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [12, 13])
def test_padding_as_tensorflow_does_it(stride: int, size: int) -> None:
    torch.manual_seed(0)

    _assert_same(Conv2dSame(8, 8, 5, stride, groups=8, bias=False), torch.randn(4, 8, size, size), torch.bfloat16)


def test_other_convolutions_are_left_alone() -> None:
    layers = nn.ModuleList([
        nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(1, 8, 3, groups=1),
        nn.Conv2d(8, 8, 3, groups=8, padding="same"), nn.Conv2d(8, 8, 3, groups=8, padding_mode="reflect"),
    ])  # fmt: skip

    speed_up_depthwise(layers)

    assert not any("forward" in vars(layer) for layer in layers)


def test_a_skip_gets_the_same_gradients_where_they_are_made_dense() -> None:
    torch.manual_seed(0)
    own = _Skip().to(memory_format=torch.channels_last)

    _assert_same(own, torch.randn(4, 8, 12, 12), torch.float32)


def test_training_uses_it() -> None:
    params, lab = Params(), ColorSpace("lab")
    block = params.generator.model_copy(update={"backbone": "tf_efficientnet_lite0", "decoder": "halved"})
    generator = build_generator(block, lab, 32, 0).train()
    objective = ContentObjective(generator, params.pretrain, lab, Accelerator(cpu=True))
    dense, depthwise = [], set()

    def watch(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        if isinstance(layer, nn.BatchNorm2d):
            output.register_hook(lambda x: dense.append(x.is_contiguous(memory_format=torch.channels_last)))
        elif getattr(layer, "groups", 1) > 1:
            depthwise.add(type(output.grad_fn).__name__)

    for layer in generator.modules():
        layer.register_forward_hook(watch)

    objective.step(*lab.encode(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)), 0)

    assert len(dense) > 60
    assert all(dense)
    assert depthwise == {"DepthwiseBackward"}


class _Skip(nn.Module):
    """A batch normalization whose gradient is a part of another one, as in the decoder of a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.BatchNorm2d(8), nn.Conv2d(16, 4, 1)

    def forward(self, features: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([features, self.norm(features)], 1))
        return mixed


def _assert_same(own: nn.Module, features: Tensor, precision: torch.dtype) -> None:
    """Compare outputs and gradients of a network with those of its copy that is made faster."""
    fast = copy.deepcopy(own)
    speed_up_on_cpu(fast)
    found = []
    for network in (own, fast):
        seen = features.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            output = network(seen)
        (output.float() * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum().backward()
        found.append([output.float(), seen.grad, *(parameter.grad for parameter in network.parameters())])
    # Of bf16 seven binary digits remain, and sums are taken in another order.
    for expected, actual in zip(*found, strict=True):
        assert actual.dtype == expected.dtype
        assert (actual - expected).norm() <= (2e-2 if precision == torch.bfloat16 else 1e-5) * expected.norm()
