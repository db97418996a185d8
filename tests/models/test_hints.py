"""A generator that takes hints is the same as one that takes none, as long as none is given or nothing was learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.color.tensors import ColorSpace
from pipeline.errors import ModelError
from pipeline.models.checkpoint import load_generator, load_start, save_model
from pipeline.models.config import Generator, ModelConfig
from pipeline.models.generators import backbone_parameters, build_generator, takes_hints
from pipeline.models.hints import Hinted, summary, without_hints

LAB = ColorSpace("lab")
NETWORKS = [
    {"backbone": "test_efficientnet", "decoder": "halved"},
    {"backbone": "test_efficientnet", "max_width": 64},
    {"architecture": "compact_unet"},
]


def one_hint(color: tuple[float, float] = (0.5, -0.25), top: int = 20, left: int = 40, side: int = 3) -> Tensor:
    hints = torch.zeros(1, 3, 64, 64)
    hints[0, :2, top : top + side, left : left + side] = torch.tensor(color)[:, None, None]
    hints[0, 2, top : top + side, left : left + side] = 1
    return hints


@pytest.mark.parametrize("keys", NETWORKS, ids=lambda keys: "-".join(keys))
def test_without_a_hint_it_is_the_network_alone(keys: dict[str, str]) -> None:
    network = build_generator(Generator.model_validate({**keys, "hints": True}), LAB, 64, 0).eval()
    assert takes_hints(network)
    light, none = torch.randn(2, 1, 64, 64), torch.zeros(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(light), network(torch.cat([light, none], 1)))


@pytest.mark.parametrize("keys", NETWORKS[:2], ids=lambda keys: "-".join(keys))
def test_it_begins_as_one_that_takes_none(keys: dict[str, str]) -> None:
    plain = build_generator(Generator.model_validate(keys), LAB, 64, 3).eval()
    hinted = build_generator(Generator.model_validate({**keys, "hints": True}), LAB, 64, 4).eval()
    without_hints(hinted).load_state_dict(plain.state_dict())
    assert len(backbone_parameters(hinted)) == len(backbone_parameters(plain))
    light = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(hinted(torch.cat([light, one_hint()], 1)), plain(light))


@pytest.mark.parametrize("keys", NETWORKS, ids=lambda keys: "-".join(keys))
def test_a_training_may_go_on_from_one_that_takes_none(keys: dict[str, str], tmp_path: Path) -> None:
    """Its answer is the same at first, and the same with a hint: nothing was learnt yet."""
    plain = build_generator(Generator.model_validate(keys), LAB, 64, 3).eval()
    config = ModelConfig.describe(Generator.model_validate(keys), "lab", 64)
    save_model(tmp_path, {"generator": plain}, config)
    asked = ModelConfig.describe(Generator.model_validate({**keys, "hints": True}), "lab", 64)
    loaded = load_start(tmp_path, asked, "pretrain.start_from", seed=4)
    assert loaded.config.generator.hints
    light = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.allclose(loaded.network(torch.cat([light, one_hint()], 1)), plain(light), atol=1e-6)
    save_model(tmp_path, {"generator": loaded.network}, loaded.config)
    if isinstance(loaded.network, Hinted):  # which is the network without hints, and more beside it
        back = load_start(tmp_path, config, "pretrain.start_from", seed=4)
        assert not back.config.generator.hints
        assert back.network.state_dict().keys() == plain.state_dict().keys()
        with torch.no_grad():
            assert torch.allclose(back.network(light), plain(light), atol=1e-6)
        return
    with pytest.raises(ModelError, match=r"generator\.hints is False here and True there"):
        load_start(tmp_path, config, "pretrain.start_from", seed=4)


@pytest.mark.parametrize("keys", NETWORKS, ids=lambda keys: "-".join(keys))
def test_a_hint_is_seen_at_every_scale(keys: dict[str, str]) -> None:
    network = build_generator(Generator.model_validate({**keys, "hints": True}), LAB, 64, 0).eval()
    for projection in getattr(network, "added", []):
        torch.nn.init.normal_(projection.last.weight)
    light = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        change = (network(torch.cat([light, one_hint()], 1)) - network(light)).abs().sum(1)[0]
    assert change[20:23, 40:43].min() > 0
    if keys.get("architecture") != "compact_unet":
        assert change.min() > 0, "from the bottleneck it reaches everything"


def test_what_is_said_within_a_cell() -> None:
    reduced = summary(one_hint(top=30, left=40, side=4), 8)
    assert reduced.shape == (1, 4, 8, 8)
    # Rows 30 to 33 lie in two cells, columns 40 to 43 in one: 8 of 64 pixels each.
    for row in (3, 4):
        assert reduced[0, :, row, 5].tolist() == pytest.approx([0.5, -0.25, 1, 8 / 64])
    reduced[0, :, 3:5, 5] = 0
    assert not reduced.any()


def test_it_comes_back_from_disk(tmp_path: Path, rng: np.random.Generator) -> None:
    block = Generator.model_validate({**NETWORKS[0], "hints": True})
    network = build_generator(block, LAB, 64, 0).eval()
    torch.nn.init.normal_(network.added[0].last.weight)  # type: ignore[union-attr]
    save_model(tmp_path, {"generator": network}, ModelConfig.describe(block, "lab", 64))
    seen = torch.cat([torch.from_numpy(rng.random((1, 1, 64, 64), np.float32)), one_hint()], 1)
    with torch.no_grad():
        assert torch.equal(load_generator(tmp_path).network(seen), network(seen))
