from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.color.tensors import ColorSpace
from pipeline.models.config import Discriminator
from pipeline.models.discriminators import PatchGAN, build_discriminator
from pipeline.params.schema import Params


def seen_by_the_middle(field: int, size: int) -> tuple[int, int]:
    """Height and width of the input area whose gradient reaches one output."""
    params = Discriminator(receptive_field=field, channels=4, norm="spectral", conditional=True)  # type: ignore[arg-type]
    net = PatchGAN(params, 3).eval()
    for module in net.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 1.0  # a dead unit would hide part of the field
    condition, colors = torch.rand(1, 1, size, size), torch.rand(1, 2, size, size, requires_grad=True)
    logits = net(condition, colors)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()  # type: ignore[no-untyped-call]
    assert colors.grad is not None
    rows, columns = colors.grad.abs().sum((0, 1)).nonzero(as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(("field", "size"), [(1, 32), (16, 64), (70, 192), (286, 640)])
def test_the_receptive_field_is_what_its_name_says(field: int, size: int) -> None:
    assert seen_by_the_middle(field, size) == (field, field)


def widths(net: nn.Module) -> list[tuple[int, int, int]]:
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    return [(conv.out_channels, conv.kernel_size[0], conv.stride[0]) for conv in convs]


def test_the_70_pixel_architecture_is_the_published_one(params: Params) -> None:
    net = build_discriminator(params.discriminator, ColorSpace("lab"), seed=0)
    assert widths(net) == [(64, 4, 2), (128, 4, 2), (256, 4, 2), (512, 4, 1), (1, 4, 1)]
    norms = [type(m).__name__ for m in net.layers if not isinstance(m, nn.Conv2d)]
    assert norms == ["LeakyReLU", *["BatchNorm2d", "LeakyReLU"] * 3]


def test_conditional_or_not(params: Params) -> None:
    space = ColorSpace("lab")
    alone = params.discriminator.model_copy(update={"conditional": False, "channels": 4})
    net = build_discriminator(alone, space, seed=0)
    colors = torch.rand(2, 2, 64, 64)
    assert torch.equal(net(torch.zeros(2, 1, 64, 64), colors), net(torch.ones(2, 1, 64, 64), colors))


def test_weights_follow_the_seed(params: Params) -> None:
    small = params.discriminator.model_copy(update={"channels": 4})
    one, same, other = (build_discriminator(small, ColorSpace("lab"), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["layers.0.weight"], other["layers.0.weight"])
