from __future__ import annotations

import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.color.tensors import ColorSpace
from pipeline.errors import BackboneError, WeightsError
from pipeline.experiments.backbones import survey
from pipeline.models.backbones import TESTED, build_body, levels
from pipeline.models.config import Generator
from pipeline.models.generators import build_generator
from pipeline.models.pix2pix_unet import Pix2PixUnet
from pipeline.params.schema import Params

LAB = ColorSpace("lab")


def with_decoder(params: Params, decoder: str) -> Generator:
    return params.generator.model_copy(update={"decoder": decoder})


@pytest.mark.parametrize("decoder", ["fastai", "halved"])
def test_shapes_at_other_sizes_than_the_one_it_was_built_for(params: Params, decoder: str) -> None:
    net = build_generator(with_decoder(params, decoder), LAB, 64, seed=0).eval()
    with torch.no_grad():
        for height, width in ((64, 64), (32, 96)):
            output = net(torch.zeros(1, 1, height, width))
            assert output.shape == (1, 2, height, width)
            assert type(output) is torch.Tensor


@pytest.mark.parametrize(("decoder", "name"), [("fastai", "UnetBlock"), ("halved", "HalvedBlock")])
def test_every_skip_is_used(params: Params, decoder: str, name: str) -> None:
    """Each block joins its level of the encoder; the fifth doubling has no level beside it."""
    net = build_generator(with_decoder(params, decoder), LAB, 64, seed=0).eval()
    blocks = [m for m in net.modules() if type(m).__name__ == name]
    joined: list[int] = []
    for block in blocks:
        norm = block.bn if decoder == "fastai" else block.norm
        norm.register_forward_hook(lambda _m, inputs, _out: joined.append(inputs[0].shape[-1]))
    with torch.no_grad():
        net(torch.rand(1, 1, 64, 64))
    assert joined == [4, 8, 16, 32]


def test_halved_blocks_are_a_third_of_the_work(params: Params) -> None:
    with torch.device("meta"):
        fastai, halved = (
            build_generator(with_decoder(params, decoder), LAB, 64, seed=0) for decoder in ("fastai", "halved")
        )
    assert operations(halved) < 0.4 * operations(fastai)


def operations(net: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, 1, 64, 64, device="meta"))
    return counter.get_total_flops()


def test_weights_follow_the_seed_and_leave_the_global_one(params: Params) -> None:
    torch.manual_seed(5)
    one = build_generator(params.generator, LAB, 64, seed=1).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    same = build_generator(params.generator, LAB, 64, seed=1).state_dict()
    other = build_generator(params.generator, LAB, 64, seed=2).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


# fastai's decoder is large behind wide bodies.
# One of each way in which layers are taken from a backbone. The others are slow, as is fastai's decoder, which is large
# behind wide ones.
SMALL = ("resnet18", "regnety_004", "mobilenetv3_large_100", "convnextv2_atto", "tf_efficientnet_lite0")


@pytest.mark.parametrize(
    ("name", "decoder"),
    [pytest.param(name, "halved", marks=[] if name in SMALL else pytest.mark.slow) for name in TESTED]
    + [pytest.param(name, "fastai", marks=[] if name == "resnet18" else pytest.mark.slow) for name in TESTED],
)
def test_a_working_backbone_keeps_every_skip_and_trains(name: str, decoder: str, params: Params) -> None:
    body = build_body(name, 1, "none", max_width=512)
    assert [reduction for reduction, _ in levels(body.eval(), 1)] == [2, 4, 8, 16, 32]
    assert levels(body, 1)[-1][1] <= 512
    chosen = params.generator.model_copy(update={"backbone": name, "decoder": decoder})
    net = build_generator(chosen, LAB, 64, seed=0).train()
    blocks = [m for m in net.modules() if type(m).__name__ in ("UnetBlock", "HalvedBlock")]
    assert len(blocks) >= 4
    net(torch.rand(2, 1, 64, 64) * 2 - 1).abs().mean().backward()
    silent = [key for key, p in net.named_parameters() if p.grad is None]
    assert not silent


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet19", "timm has no model of that name; similar ones that can: resnet18"),
        (
            "vit_tiny_patch16_224",
            r"reduced by \[16, 16, 16\], a U-Net needs \[2, 4, 8, 16, 32\]; similar ones that can",
        ),
        ("swin_tiny_patch4_window7_224", r"channels last \(NHWC\); similar ones that can: convnext_tiny"),
        ("hrnet_w18", "its layers are no plain sequence"),
    ],
)
def test_backbones_that_would_lose_skips_are_refused(name: str, reason: str) -> None:
    with pytest.raises(BackboneError, match=reason):
        build_body(name, 1, "none")


def test_the_width_cap_keeps_wide_bodies_in_bounds(params: Params) -> None:
    free, capped = (survey("resnet50", with_width(params, width)).parameters for width in (0, 512))
    assert 330e6 < free < 340e6
    assert capped < free / 3
    # The default leaves the default backbone alone.
    assert survey("resnet18", with_width(params, 512)) == survey("resnet18", with_width(params, 0))


def with_width(params: Params, width: int) -> Params:
    chosen = with_decoder(params, "fastai").model_copy(update={"max_width": width})
    return params.model_copy(update={"generator": chosen})


def test_pix2pix_is_the_published_unet() -> None:
    # The authors' unet_256 and unet_128, 3 channels to 3, report 54.414 M and 41.829 M parameters.
    assert parameters(Pix2PixUnet(3, 3, 256)) // 1000 == 54_414
    assert parameters(Pix2PixUnet(3, 3, 128)) // 1000 == 41_829
    net = Pix2PixUnet(1, 2, 256)
    encoder = [m for m in net.down.modules() if isinstance(m, nn.Conv2d)]
    decoder = [m for m in net.up.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [conv.out_channels for conv in encoder] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [conv.out_channels for conv in decoder] == [512, 512, 512, 512, 256, 128, 64]
    norms = [any(isinstance(m, nn.BatchNorm2d) for m in block) for block in net.down]
    assert norms == [False, *[True] * 6, False]
    dropouts = [any(isinstance(m, nn.Dropout) and m.p == 0.5 for m in block) for block in net.up]
    assert dropouts == [True] * 3 + [False] * 4
    assert float(encoder[3].weight.detach().std()) == pytest.approx(0.02, rel=0.02)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("architecture", ["pix2pix_unet", "compact_unet", "dynamic_unet"])
@pytest.mark.parametrize("noise", ["none", "dropout", "input"])
def test_noise_gives_several_colorings_by_seed(params: Params, architecture: str, noise: str) -> None:
    chosen = params.generator.model_copy(update={"architecture": architecture, "noise": noise})
    net = build_generator(chosen, LAB, 64, seed=0).eval()
    gray = torch.rand(1, 1, 64, 64)

    def colors(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return net(gray)  # type: ignore[no-any-return]

    assert colors(1).shape == (1, 2, 64, 64)
    assert torch.equal(colors(1), colors(1))
    assert torch.equal(colors(1), colors(2)) == (noise == "none")


def test_weights_from_a_file_reach_the_encoder(tmp_path: Path) -> None:
    model = timm.create_model("resnet18", num_classes=3)
    save_file(model.state_dict(), tmp_path / "body.safetensors")
    body = build_body("resnet18", 1, str(tmp_path / "body.safetensors"))
    state = model.state_dict()
    # Gray input to a network for RGB: the three channels' weights add up.
    torch.testing.assert_close(body[0].weight, state["conv1.weight"].sum(1, keepdim=True))
    assert torch.equal(body[4][0].conv1.weight, state["layer1.0.conv1.weight"])


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match="no such file; set none, imagenet, or a path"):
        build_body("resnet18", 1, str(path))
    path.write_bytes(b"not tensors")
    with pytest.raises(WeightsError, match="no safetensors file"):
        build_body("resnet18", 1, str(path))
    save_file(timm.create_model("resnet34", num_classes=3).state_dict(), path)
    build_body("resnet34", 1, str(path))
    with pytest.raises(WeightsError, match="tensors of the backbone are missing or of another shape"):
        build_body("resnet50", 1, str(path))


def test_imagenet_weights_without_a_network_fail_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"set generator\.weights to none, or to the path"):
        build_body("resnet18", 1, "imagenet")
    assert time.monotonic() - started < 15  # a promise to users, not a measurement
