"""Gradients of depthwise convolutions and dense gradients of batch normalization, against torch's own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from timm.layers import Conv2dSame
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params
from pipeline.training.depthwise import Depthwise, speed_up_depthwise
from pipeline.training.objectives import ContentObjective
from pipeline.training.on_cpu import one_loop_for_adam, speed_up_on_cpu

# Kernel, stride and padding, and the height and width of what it sees.
USUAL = {
    "3x3": (3, 1, 1, (7, 6)),
    "3x3 by two": (3, 2, 1, (8, 7)),
    "5x5": (5, 1, 2, (6, 7)),
    "5x5 over less than itself": (5, 1, 2, (3, 2)),
    "5x5 by two, with a rest": (5, 2, 0, (10, 9)),
    "7x7": (7, 1, 3, (8, 8)),
    "7x7 by three": (7, 3, 2, (11, 14)),
    "4x4": (4, 2, 1, (8, 8)),
}
OTHERS = {
    "apart": {"kernel_size": 5, "dilation": 2, "padding": 4},
    "as far as it is large": {"kernel_size": 4, "stride": 4},
    "a row": {"kernel_size": (1, 11), "padding": (0, 5)},
    "steps of two lengths": {"kernel_size": 3, "stride": (1, 2)},
    "two kernels for each channel": {"kernel_size": 3, "out_channels": 16},
    "padded by name": {"kernel_size": 3, "padding": "same"},
    "mirrored": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
}


@pytest.mark.parametrize("layer", USUAL)
def test_gradients_are_those_of_finite_differences(layer: str) -> None:
    kernel, stride, padding, size = USUAL[layer]
    torch.manual_seed(0)
    shapes = ((2, 3, *size), (3, 1, kernel, kernel), (3,))
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    assert torch.autograd.gradcheck(lambda *tensors: Depthwise.apply(*tensors, stride, padding), given)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer", USUAL)
def test_a_layer_computes_what_it_did(layer: str, bias: bool, precision: torch.dtype) -> None:
    kernel, stride, padding, size = USUAL[layer]
    torch.manual_seed(0)
    own = nn.Conv2d(8, 8, kernel, stride, padding, groups=8, bias=bias).to(memory_format=torch.channels_last)

    _assert_same(own, torch.randn(4, 8, *size), precision, "DepthwiseBackward")


@pytest.mark.parametrize("layer", OTHERS)
def test_so_does_an_unusual_one(layer: str) -> None:
    torch.manual_seed(0)
    own = nn.Conv2d(**{"in_channels": 8, "out_channels": 8, "groups": 8, **OTHERS[layer]})

    _assert_same(own, torch.randn(4, 8, 12, 15), torch.bfloat16, "ToCopyBackward0")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [12, 13])
def test_padding_as_tensorflow_does_it(stride: int, size: int) -> None:
    torch.manual_seed(0)
    own = Conv2dSame(8, 8, 5, stride, groups=8, bias=False)

    _assert_same(own, torch.randn(4, 8, size, size), torch.bfloat16, "DepthwiseBackward")


def test_other_convolutions_are_left_alone() -> None:
    layers = nn.ModuleList([nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(1, 8, 3, groups=1)])

    speed_up_depthwise(layers)

    assert not any("forward" in vars(layer) for layer in layers)


def test_a_batch_normalization_of_ones_own_may_give_what_it_likes() -> None:
    class Both(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Any:
            return x, super().forward(x)

    norm = Both(8)
    speed_up_on_cpu(norm)

    assert len(norm(torch.randn(2, 8, 4, 4))) == 2


def test_adam_goes_its_own_way_over_weights_with_gaps() -> None:
    """Fused, it would change what lies in between."""
    cpu, usual, cut = torch.device("cpu"), nn.Conv2d(4, 4, 3), nn.Linear(16, 4)
    cut.weight = nn.Parameter(cut.weight[:, :8])
    usual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    assert one_loop_for_adam(usual, cpu) is True
    assert one_loop_for_adam(cut, cpu) is None
    assert one_loop_for_adam(nn.Linear(4, 4, dtype=torch.complex64), cpu) is None
    assert one_loop_for_adam(usual, torch.device("cuda")) is None


def test_a_skip_gets_the_same_gradients_where_they_are_made_dense() -> None:
    torch.manual_seed(0)
    own = _Skip().to(memory_format=torch.channels_last)

    _assert_same(own, torch.randn(4, 8, 12, 12), torch.float32)


@pytest.fixture
def narrow() -> Iterator[Accelerator]:
    """One that trains in bf16; accelerate would keep that for the tests that follow."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=True, mixed_precision="bf16")
    AcceleratorState._reset_state(reset_partial_state=True)


def test_training_uses_it(narrow: Accelerator) -> None:
    params, lab = Params(), ColorSpace("lab")
    block = params.generator.model_copy(update={"backbone": "tf_efficientnet_lite0", "decoder": "halved"})
    generator = build_generator(block, lab, 32, 0).train()
    objective = ContentObjective(generator, params.pretrain, lab, narrow)
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


def _assert_same(own: nn.Module, features: Tensor, precision: torch.dtype, kind: str = "") -> None:
    """Compare output and gradients of a network that is made faster with those of the network, in fp32.

    Args:
        kind: what its gradients should be taken by in bf16.
    """
    fast, narrow = copy.deepcopy(own), precision == torch.bfloat16
    speed_up_on_cpu(fast)
    found = []
    for network in (own, fast):
        seen = features.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow and network is fast):
            output = network(seen)
        (output.float() * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum().backward()
        found.append([output.float(), seen.grad, *(parameter.grad for parameter in network.parameters())])
    assert not (kind and narrow) or type(output.grad_fn).__name__ == kind
    # Of bf16 seven binary digits remain, and sums are taken in another order.
    for expected, actual in zip(*found, strict=True):
        assert actual.dtype == expected.dtype
        assert (actual - expected).norm() <= (1e-2 if narrow else 1e-5) * expected.norm()
