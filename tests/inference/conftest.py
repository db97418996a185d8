from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.color import ColorSpace
from pipeline.models.artifact import save_model
from pipeline.models.generators import build_generator
from pipeline.params import Params, read
from tests.conftest import ROOT

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """A checkpoint of a small network that gives strong colors: make_model(noise="input", space="rgb")."""

    def make(architecture: str = "compact_unet", noise: str = "none", space: str = "lab") -> Path:
        params: Params = read(ROOT / "params.yaml")
        chosen = params.generator.model_copy(update={"architecture": architecture, "noise": noise})
        network = build_generator(chosen, ColorSpace(space), 32, seed=4)  # type: ignore[arg-type]
        strengthen(network)
        folder = tmp_path_factory.mktemp("model")
        save_model(folder, {"generator": network}, chosen, ColorSpace(space), 32)  # type: ignore[arg-type]
        return folder

    return make


@pytest.fixture(scope="session")
def model(make_model: MakeModel) -> Path:
    return make_model()


def strengthen(network: nn.Module) -> None:
    """Random weights give nearly gray: the last layer is made louder."""
    last = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)][-1]
    seen: list[torch.Tensor] = []
    handle = last.register_forward_hook(lambda _m, _inputs, output: seen.append(output))
    channels = next(m for m in network.modules() if isinstance(m, nn.Conv2d)).in_channels
    with torch.no_grad():
        network.eval()(torch.rand(1, channels - hasattr(network, "network"), 64, 64) * 2 - 1)
        last.weight *= 0.3 / seen[0].abs().mean()
    handle.remove()
