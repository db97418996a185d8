"""ImageNet weights from installed packages: they see what is in a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import timm
import torch
from PIL import Image, ImageOps

from pipeline.errors import WeightsError
from pipeline.models.backbones import build_body
from pipeline.models.packaged_weights import PACKAGES, packaged_file, packaged_tensors
from pipeline.models.weights import imagenet_source

# Classes of ImageNet-1k.
ESPRESSO, CATS = {967}, {281, 282, 283, 284, 285}


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_coffee_is_coffee_and_a_cat_a_cat(name: str) -> None:
    path = packaged_file(name)
    assert path is not None
    network = timm.create_model(name).eval()
    missing = network.load_state_dict(packaged_tensors(name, path), strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    for picture, expected in ((skimage.data.coffee(), ESPRESSO), (skimage.data.chelsea(), CATS)):
        small = ImageOps.fit(Image.fromarray(picture), (224, 224), Image.Resampling.BICUBIC)
        x = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            chances = network(x).softmax(1)[0]
        assert float(chances[list(expected)].sum()) > 0.5


def test_they_reach_the_encoder_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.models.backbones.require_hub", lambda _: pytest.fail("the hub was asked"))
    name = "tf_efficientnet_lite0"
    path = packaged_file(name)
    assert path is not None
    published = packaged_tensors(name, path)
    body = build_body(name, 1, "imagenet")
    # Gray input to a network for RGB: the three channels' weights add up.
    torch.testing.assert_close(body[0].weight, published["conv_stem.weight"].sum(1, keepdim=True))
    same = build_body(f"{name}.in1k", 3, "imagenet")
    assert torch.equal(same[0].weight, published["conv_stem.weight"])
    assert imagenet_source(name) == "package"


def test_which_names_have_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert packaged_file("resnet18") is None
    assert packaged_file("tf_efficientnet_lite0.other") is None
    assert imagenet_source("resnet18") == "hub"
    assert imagenet_source("resnet19") == ""
    monkeypatch.setattr("pipeline.models.packaged_weights.find_spec", lambda _: None)
    assert packaged_file("tf_efficientnet_lite0") is None
    assert imagenet_source("tf_efficientnet_lite0") == "hub"


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    original = packaged_file("tf_efficientnet_lite0")
    assert original is not None
    content = bytearray(original.read_bytes())
    content[1000] ^= 1
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="not the weights that were published: its SHA-256 differs"):
        packaged_tensors("tf_efficientnet_lite0", tmp_path / "weights.pth")
