from __future__ import annotations

import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.color import ColorSpace
from pipeline.models.backbones import BackboneError, build_body
from pipeline.models.generators import build_generator
from pipeline.models.weights import WeightsError
from pipeline.params import Params

LAB = ColorSpace("lab")


def test_shapes_at_other_sizes_than_the_one_it_was_built_for(params: Params) -> None:
    net = build_generator(params.generator, LAB, 64, seed=0).eval()
    with torch.no_grad():
        for height, width in ((64, 64), (32, 96)):
            output = net(torch.zeros(1, 1, height, width))
            assert output.shape == (1, 2, height, width)
            assert type(output) is torch.Tensor


def test_every_skip_is_used(params: Params) -> None:
    """Five halvings, five blocks; cutting any encoder level's skip changes the output."""
    net = build_generator(params.generator, LAB, 64, seed=0).eval()
    blocks = [m for m in net.modules() if type(m).__name__ == "UnetBlock"]
    assert len(blocks) == 4  # the fifth doubling, to full resolution, has no encoder level beside it
    assert {block.hook.stored is not None for block in blocks} <= {True, False}
    sizes = []
    with torch.no_grad():
        net(torch.rand(1, 1, 64, 64))
        sizes = [block.hook.stored.shape[-1] for block in blocks]
    assert sizes == [4, 8, 16, 32]


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


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "vgg11_bn", "densenet121", "regnety_004"])
def test_bodies_that_work(name: str) -> None:
    assert len(build_body(name, 1, "none")) > 4


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet19", "is no timm model; near: resnet18"),
        ("vit_tiny_patch16_224", r"reduced by \[16, 16, 16\], a U-Net needs \[2, 4, 8, 16, 32\]"),
        ("convnext_tiny", r"reduced by \[4, 8, 16, 32\]"),
        ("efficientnet_b0", "only 2 of its 5 halvings lie between layers that can be hooked"),
    ],
)
def test_bodies_that_would_lose_skips_are_refused(name: str, reason: str) -> None:
    with pytest.raises(BackboneError, match=reason):
        build_body(name, 1, "none")


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
