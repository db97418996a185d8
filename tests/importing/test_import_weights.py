"""`twotone import` on files that these tests save in the shapes in which the sources' code saves them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import TwotoneError
from pipeline.importing.import_weights import Request, import_weights
from pipeline.inference import Colorizer
from pipeline.models.checkpoint import load_generator
from pipeline.models.compact_unet import CompactUnet
from tests.helpers import noisy_photo, twotone

SIZE = 64


class Block(nn.Module):
    """S0's block: names and all."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool, up: bool):
        super().__init__()
        kind = nn.ConvTranspose2d if up else nn.Conv2d
        self.block1 = nn.Sequential(kind(in_channels, out_channels, 4, 2, 1, bias=False))
        if norm:
            self.block2 = nn.BatchNorm2d(out_channels)
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)
        x = self.block2(x) if hasattr(self, "block2") else x
        return F.relu(x) if self.up else F.leaky_relu(x, 0.2)


class S0Generator(nn.Module):
    """At 256 px; its dropout is off at inference."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 64, 128, 256, 512, 512, 512, 512]
        for i in range(1, 8):
            setattr(self, f"d{i}", Block(widths[i - 1], widths[i], norm=i > 1, up=False))
        self.bottom = nn.Sequential(nn.Conv2d(512, 512, 4, 2, 1), nn.LeakyReLU(0.2))
        for i, (width, new) in enumerate(
            [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64)], 1
        ):
            setattr(self, f"u{i}", Block(width, new, norm=True, up=True))
        self.up = nn.Sequential(nn.ConvTranspose2d(128, 2, 4, 2, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        down = []
        for i in range(1, 8):
            x = getattr(self, f"d{i}")(x)
            down.append(x)
        x = self.bottom(x)
        for i in range(1, 8):
            x = torch.cat([getattr(self, f"u{i}")(x), down[7 - i]], 1)
        colors: Tensor = self.up(x)
        return colors


class Nested(nn.Module):
    """The pix2pix U-Net as block within block, the skip first: S1's and the usual notebook's."""

    def __init__(self, outer: int, inner: int, within: nn.Module | None, input_channels: int | None = None):
        super().__init__()
        self.outermost = input_channels is not None
        down = nn.Conv2d(input_channels or outer, inner, 4, 2, 1, bias=False)
        width = 2 * inner if within else inner
        if self.outermost:
            layers = [down, within, nn.ReLU(), nn.ConvTranspose2d(width, outer, 4, 2, 1), nn.Tanh()]
        else:
            up = [nn.ReLU(), nn.ConvTranspose2d(width, outer, 4, 2, 1, bias=False), nn.BatchNorm2d(outer)]
            norm = [nn.BatchNorm2d(inner)] if within else []
            layers = [nn.LeakyReLU(0.2), down, *norm, *([within] if within else []), *up]
        self.model = nn.Sequential(*layers)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.model(x)
        return result if self.outermost else torch.cat([x, result], 1)


class NestedUnet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        block = Nested(512, 512, None)
        for _ in range(3):
            block = Nested(512, 512, block)
        for outer, inner in ((256, 512), (128, 256), (64, 128)):
            block = Nested(outer, inner, block)
        self.model = Nested(2, 64, block, input_channels=1)

    def forward(self, x: Tensor) -> Tensor:
        colors: Tensor = self.model(x)
        return colors


class NestedPatchGAN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        pairs = [(64, 128, 2), (128, 256, 2), (256, 512, 1)]
        middle = [
            nn.Sequential(nn.Conv2d(a, b, 4, stride, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))
            for a, b, stride in pairs
        ]
        first, last = (
            nn.Sequential(nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Conv2d(512, 1, 4, 1, 1)),
        )
        self.model = nn.Sequential(first, *middle, last)


class MainModel(nn.Module):
    """Both networks in one, as the usual notebook saves them."""

    def __init__(self) -> None:
        super().__init__()
        self.net_G, self.net_D = NestedUnet(), NestedPatchGAN()


def lively(network: nn.Module) -> nn.Module:
    """Normalizations that have seen photographs, so that every tensor matters."""
    torch.manual_seed(0)
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer += 0.1 * torch.rand_like(buffer) if name.endswith("var") else 0.1 * torch.randn_like(buffer)
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def require_same_colors(network: nn.Module, folder: Path, size: int) -> None:
    imported = load_generator(folder).network
    x = torch.rand(1, 1, size, size) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(imported(x), torch.as_tensor(network(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_checkpoint_of_s0(tmp_path: Path) -> None:
    network = lively(S0Generator())
    optimizer = torch.optim.Adam(network.parameters(), 2e-4)
    losses = [torch.tensor(0.5, requires_grad=True) * 2]
    content = {"state_dict": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 20}
    torch.save({**content, "DISC_LOSS": losses, "GEN_LOSS": losses}, tmp_path / "gen.pth.tar")
    judge = lively(NestedPatchGAN())
    torch.save({"state_dict": judge.state_dict(), "epoch": 20}, tmp_path / "disc.pth.tar")
    done = twotone(tmp_path, "import", "gen.pth.tar", "-o", "model", "--discriminator", "disc.pth.tar")
    assert done.returncode == 0, done.stderr
    assert "generator: pix2pix_unet_leaky, 83 tensors matched by order; zero, since the file" in done.stdout
    assert "discriminator: 70-pixel PatchGAN" in done.stdout
    require_same_colors(network, tmp_path / "model", 256)
    described = json.loads((tmp_path / "model/model.json").read_text(encoding="utf-8"))
    paper = {"architecture": "patchgan", "channels": 64, "conditional": True, "norm": "batch", "receptive_field": 70}
    assert described["discriminator"] == paper
    rgb = Colorizer.load(tmp_path / "model")(noisy_photo(np.random.default_rng(0)))
    assert rgb.shape == (90, 121, 3)


@pytest.mark.slow
def test_both_networks_of_the_usual_notebook(tmp_path: Path) -> None:
    model = lively(MainModel())
    labels = {"GANcriterion.real_label": torch.tensor(1.0), "GANcriterion.fake_label": torch.tensor(0.0)}
    torch.save({**model.state_dict(), **labels}, tmp_path / "model.pt")
    done = twotone(tmp_path, "import", "model.pt", "-o", "model")
    assert done.returncode == 0, done.stderr
    assert "generator: pix2pix_unet, " in done.stdout
    assert "left out, since they are of neither network: " + ", ".join(labels) in done.stdout
    assert "start_from: NAME, once it is copied to checkpoints/NAME" in done.stdout
    require_same_colors(model.get_submodule("net_G"), tmp_path / "model", 256)
    assert (tmp_path / "model/discriminator.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("last_cross", [True, False])
def test_the_dynamic_unet_of_s1(tmp_path: Path, last_cross: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastai.vision.learner import create_body
        from fastai.vision.models.unet import DynamicUnet
        from torchvision.models.resnet import resnet18

        body = create_body(resnet18(), n_in=1, pretrained=False, cut=-2)
        network = lively(DynamicUnet(body, 2, (SIZE, SIZE), last_cross=last_cross))
    torch.save(network.state_dict(), tmp_path / "res18-unet.pt")
    done = twotone(tmp_path, "import", "res18-unet.pt", "-o", "model", "--image-size", "64")
    assert done.returncode == 0, done.stderr
    assert "generator: dynamic_unet, " in done.stdout
    assert "matched by name" in done.stdout
    require_same_colors(network, tmp_path / "model", SIZE)


@pytest.mark.slow
def test_several_gpus_leave_no_trace(tmp_path: Path) -> None:
    network = lively(CompactUnet(1, 2))
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "c.pth")
    done = twotone(tmp_path, "import", "c.pth", "-o", "checkpoints/mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("start_from: mine\n")
    require_same_colors(network, tmp_path / "checkpoints/mine", SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("names", [("generator", "discriminator"), ("net_G", "net_D")])
def test_two_networks_in_one_file_and_what_lies_beside_them(tmp_path: Path, names: tuple[str, str]) -> None:
    networks = lively(CompactUnet(1, 2)), lively(NestedPatchGAN())
    content = {name: network.state_dict() for name, network in zip(names, networks, strict=True)}
    torch.save({**content, "best": torch.tensor(0.3), "epoch": 7}, tmp_path / "both.pth")
    done = twotone(tmp_path, "import", "both.pth", "-o", "model")
    assert done.returncode == 0, done.stderr
    assert "discriminator: 70-pixel PatchGAN" in done.stdout
    require_same_colors(networks[0], tmp_path / "model", SIZE)
    assert (tmp_path / "model/discriminator.safetensors").exists()


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch trapped",)


def test_what_does_not_fit_is_refused_and_listed(tmp_path: Path) -> None:
    def refusal(content: object, architecture: str | None = None) -> str:
        torch.save(content, tmp_path / "weights.pt")
        with pytest.raises(TwotoneError) as error:
            import_weights(Request(tmp_path / "weights.pt", tmp_path / "model", architecture, 256, None))
        assert not (tmp_path / "model").exists()
        return str(error.value)

    state = CompactUnet(1, 2).state_dict()
    said = refusal({**state, "extra.weight": torch.zeros(3, 3, 3, 3)})
    assert "fits no generator of this project" in said
    assert "extra: a convolution that has no place here" in said
    short = {name: value for name, value in state.items() if not name.startswith("refine.3.2")}
    assert "nothing for the convolution refine.3.2" in refusal(short)
    wide = {**state, "down.1.1.weight": torch.zeros(128, 65, 3, 3)}
    assert "down.1.1.weight is 128x65x3x3, down.1.1.weight is 128x64x3x3" in refusal(wide)
    nowhere = {**state, "down.1.1.weight": torch.full((128, 64, 3, 3), torch.nan)}
    assert "down.1.1.weight holds weights that are NaN or infinite" in refusal(nowhere)
    assert "no weights in it" in refusal({"epoch": 3})
    assert "takes 1 channel (L) or 3 (RGB)" in refusal({"a.weight": torch.zeros(4, 7, 3, 3)})
    assert "--architecture must be one of" in refusal(state, "unet")
    assert "which could run code and so is not loaded" in refusal({"state_dict": state, "more": Trap()})
    assert not (tmp_path / "trapped").exists()
    unnamed = {
        f"layer{i}.{name.rsplit('.', 1)[-1]}": v for i, (name, v) in enumerate(S0Generator().state_dict().items())
    }
    assert "say which by --architecture" in refusal(grouped(unnamed))
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF")
    assert "a file of Keras" in twotone(tmp_path, "import", "keras.h5", "-o", "model").stderr
    (tmp_path / "junk.pth").write_bytes(b"junk")
    assert "no file of weights" in twotone(tmp_path, "import", "junk.pth", "-o", "model").stderr
    (tmp_path / "there").mkdir()
    assert "there exists" in twotone(tmp_path, "import", "weights.pt", "-o", "there").stderr


def grouped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """S0's tensors under names that say nothing of their program."""
    renamed: dict[str, Tensor] = {}
    number, last = -1, ""
    for name, value in S0Generator().state_dict().items():
        layer, _, part = name.rpartition(".")
        number += layer != last
        last = layer
        renamed[f"layer{number:02d}.{part}"] = value
    assert len(renamed) == len(state)
    return renamed
