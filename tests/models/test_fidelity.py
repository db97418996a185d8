"""Each network against the one that its source describes, written plainly here: same weights, outputs and gradients.

docs/reference/references.md says which source is which.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.models.compact_unet import CompactUnet
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import build_generator
from pipeline.models.pix2pix_unet import Pix2PixUnet
from pipeline.params.schema import Params

LAB = ColorSpace("lab")


def images(channels: int, size: int) -> Tensor:
    return torch.rand(2, channels, size, size, dtype=torch.float64) * 2 - 1


def require_same(ours: nn.Module, theirs: nn.Module, x: Tensor, tolerance: float = 1e-9) -> None:
    """Both in training mode, on the same input, with the same random numbers for dropout."""
    results = []
    for network in (ours, theirs):
        given = x.clone().requires_grad_()
        torch.manual_seed(1)
        output = network.train()(given)
        slope = torch.linspace(-1, 1, output.numel(), dtype=x.dtype).view_as(output)
        (torch.as_tensor(output) * slope).sum().backward()
        weights = [parameter.grad for parameter in network.parameters() if parameter.dim() > 1]
        results.append([torch.as_tensor(output.detach()), given.grad, *weights])
    for ours_one, theirs_one in zip(*results, strict=True):
        assert ours_one is not None
        assert theirs_one is not None
        assert ours_one.abs().max() > 0
        torch.testing.assert_close(ours_one, theirs_one, rtol=1e-6, atol=tolerance, check_dtype=False)


def copy_in_order(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy every weight into the plain network: convolutions in their order, and normalizations in theirs."""
    for kinds in ((nn.Conv2d, nn.ConvTranspose2d), (nn.BatchNorm2d,)):
        pairs = zip(*([m for m in net.modules() if isinstance(m, kinds)] for net in (ours, theirs)), strict=True)
        for one, other in pairs:
            assert one.weight.shape == other.weight.shape
            other.weight.data.copy_(one.weight.data)
            # Where only one of them has a bias it is zero: so it starts, or a normalization follows that takes it away.
            for absent, bias in ((one.bias, other.bias), (other.bias, one.bias)):
                if absent is None and bias is not None:
                    bias.data.zero_()
            if one.bias is not None and other.bias is not None:
                other.bias.data.copy_(one.bias.data)


def drawn(network: nn.Module) -> nn.Module:
    """In double precision, with biases and normalizations that are not trivial."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.rand_like(parameter)
    return network.double()


class PaperUnet(nn.Module):
    """Isola et al. 2017, 6.1.1 and its figure: all ReLUs in the encoder leaky; skips join before the decoder's ReLU."""

    def __init__(self) -> None:
        super().__init__()
        encoder, decoder = [1, 64, 128, 256, 512, 512, 512, 512, 512], [512, 512, 512, 512, 256, 128, 64, 2]
        self.down = nn.ModuleList(nn.Conv2d(encoder[i], encoder[i + 1], 4, 2, 1) for i in range(8))
        self.down_norm = nn.ModuleList(nn.BatchNorm2d(encoder[i + 1]) for i in range(1, 7))
        sources = [512, 1024, 1024, 1024, 1024, 512, 256, 128]
        self.up = nn.ModuleList(nn.ConvTranspose2d(sources[i], decoder[i], 4, 2, 1) for i in range(8))
        self.up_norm = nn.ModuleList(nn.BatchNorm2d(width) for width in decoder[:7])

    def into_decoder(self, skip: Tensor) -> Tensor:
        return F.relu(skip)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.down[0](x)]
        for level in range(1, 8):
            x = self.down[level](F.leaky_relu(features[-1], 0.2))
            features.append(x if level == 7 else self.down_norm[level - 1](x))
        x = self.into_decoder(features[7])
        for level in range(7):
            x = self.up_norm[level](self.up[level](x))
            x = F.dropout(x, 0.5, training=True) if level < 3 else x
            x = torch.cat([F.relu(x), self.into_decoder(features[6 - level])], 1)
        return torch.tanh(self.up[7](x))


class NotebookUnet(PaperUnet):
    """S0: each block of the encoder ends in LeakyReLU, and what it gives joins the decoder as it is."""

    def into_decoder(self, skip: Tensor) -> Tensor:
        return F.leaky_relu(skip, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("leaky", "plain"), [(False, PaperUnet), (True, NotebookUnet)])
def test_the_pix2pix_unets_are_those_of_paper_and_notebook(leaky: bool, plain: Callable[[], nn.Module]) -> None:
    ours, theirs = drawn(Pix2PixUnet(1, 2, 256, leaky=leaky)), plain().double()
    copy_in_order(ours, theirs)
    require_same(ours, theirs, images(1, 256))


def keras_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """Convolution with padding="same": ceil(n / stride) outputs, what is odd of the padding at the right and bottom."""
    kernel, total = weight.shape[-1], []
    for n in (x.shape[3], x.shape[2]):
        padding = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        total += [padding // 2, padding - padding // 2]
    return F.conv2d(F.pad(x, total), weight, bias, stride)


def keras_conv_transpose(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """By its definition: the gradient of the convolution, stride 2 and padding="same", in the other direction."""
    n, _, height, width = x.shape
    zeros = torch.zeros(n, weight.shape[1], 2 * height, 2 * width, dtype=x.dtype, requires_grad=True)
    (up,) = torch.autograd.grad(keras_conv(zeros, weight, stride=2), zeros, x, create_graph=True)
    return up + bias[:, None, None]


class KerasUnet(nn.Module):
    """S4, but for the ReLU before its tanh."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 64, 128, 256, 512]
        self.down = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 3, bias=False) for i in range(4))
        self.norm = nn.ModuleList(nn.BatchNorm2d(width, eps=1e-3) for width in widths[1:])
        ups = [(512, 256, 256), (256, 128, 128), (128, 64, 64), (64, 2, 1)]
        self.up = nn.ModuleList(nn.ConvTranspose2d(width, new, 3) for width, new, _ in ups)
        pairs = [nn.ModuleList([nn.Conv2d(new + skip, new, 3), nn.Conv2d(new, new, 3)]) for _, new, skip in ups]
        self.refine = nn.ModuleList(pairs)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for conv, norm in zip(self.down, self.norm, strict=True):
            skips.append(x)
            x = F.leaky_relu(norm(keras_conv(x, conv.weight, stride=2)), 0.2)
        for level in range(4):
            x = keras_conv_transpose(x, self.up[level].weight, self.up[level].bias)
            first, second = self.refine[level]
            x = F.relu(keras_conv(torch.cat([x, skips.pop()], 1), first.weight, first.bias))
            x = keras_conv(x, second.weight, second.bias)
            x = F.relu(x) if level < 3 else torch.tanh(x)
        return x


def test_the_compact_unet_is_that_of_the_article() -> None:
    ours = CompactUnet(1, 2)
    # What the source's model.summary() counts, weights and moving averages apart from these.
    assert sum(parameter.numel() for parameter in ours.parameters()) == 5_424_096
    ours, theirs = drawn(ours), KerasUnet().double()
    copy_in_order(ours, theirs)
    require_same(ours, theirs, images(1, 64))


class NotebookPatchGAN(nn.Module):
    """S0 and the paper: C64-C128-C256-C512 and one output; the first layer without normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 64, 4), nn.Conv2d(64, 128, 4), nn.Conv2d(128, 256, 4)
        self.fourth, self.last = nn.Conv2d(256, 512, 4), nn.Conv2d(512, 1, 4)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (128, 256, 512))

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(F.conv2d(x, self.first.weight, self.first.bias, 2, 1), 0.2)
        for conv, norm, stride in zip((self.second, self.third, self.fourth), self.norms, (2, 2, 1), strict=True):
            # S0's have no bias: before a normalization it changes nothing.
            x = F.leaky_relu(norm(F.conv2d(x, conv.weight, None, stride, 1)), 0.2)
        return F.conv2d(x, self.last.weight, self.last.bias, 1, 1)


class Joined(nn.Module):
    """Our discriminator on a picture with its lightness."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x[:, :1], x[:, 1:])
        return logits


def test_the_discriminator_is_the_70_pixel_patchgan(params: Params) -> None:
    ours, theirs = drawn(Joined(build_discriminator(params.discriminator, LAB, 0))), NotebookPatchGAN().double()
    copy_in_order(ours, theirs)
    require_same(ours, theirs, images(3, 128))


@pytest.mark.parametrize("last_cross", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_dynamic_unet_is_fastais_on_torchvisions_resnet18(params: Params, last_cross: bool) -> None:
    """S1: create_body(resnet18, n_in=1, cut=-2) under DynamicUnet(body, 2, (size, size))."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastai.vision.learner import create_body
        from fastai.vision.models.unet import DynamicUnet
        from torchvision.models.resnet import resnet18

        body = create_body(resnet18(), n_in=1, pretrained=False, cut=-2)
        theirs = DynamicUnet(body, 2, (64, 64), last_cross=last_cross).double()
    chosen = params.generator.model_copy(update={"decoder": "fastai", "last_cross": last_cross})
    ours = drawn(build_generator(chosen, LAB, 64, seed=0))
    theirs.load_state_dict(ours.state_dict())
    # What fastai returns is in single precision.
    require_same(ours, theirs, images(1, 64), tolerance=1e-5)
