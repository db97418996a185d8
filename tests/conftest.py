"""Fixtures: the parameters of quickstart, a folder of photographs, small projects under DVC, small models."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.color.tensors import ColorSpace
from pipeline.models.checkpoint import load_generator, save_model
from pipeline.models.config import ModelConfig
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params, read
from tests.helpers import QUICKSTART, ROOT, Project, environment, new_project, save_photo
from tests.nursery import Nursery

MakeModel = Callable[..., Path]

# What a user's run, experiment or edit changes in this checkout. A test that read it would fail where it is theirs.
USERS_OWN = tuple(
    str(ROOT / name)
    for name in (
        *(
            "params.yaml",
            "dvc.lock",
            "data",
            "reports",
            "logs",
            ".resume",
            "dvc_plots",
            ".dvc/cache",
            ".dvc/config.local",
        ),
        *("checkpoints/pretrain", "checkpoints/finetune", "checkpoints/export"),
    )
)
_read_of_users: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if path.startswith(USERS_OWN):
            _read_of_users.append(path)


sys.addaudithook(_watch)

# Test processes share the cores; one thread each is fastest in all.
torch.set_num_threads(1)

# A module goes to one process. The longest begin first (test_readme takes a quarter of an hour), and at the end no
# process waits for another; by itself, xdist begins with those of the most tests.
LONGEST = (
    *("test_readme", "test_anywhere", "test_experiments_howto", "test_benchmarks", "test_pipeline", "test_recipes"),
    *("test_remotes", "test_queues", "test_check", "test_interruptions", "test_seeds", "test_notebook", "test_merges"),
    *("test_hinting", "test_page", "test_going_on"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    # A stage sets it for its process; hypothesis cannot draw its floats under it.
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _nothing_of_the_user_is_read() -> Iterator[None]:
    _read_of_users.clear()
    yield
    assert not _read_of_users, "a user's own run, experiment or edit changes these files"


@pytest.fixture(scope="session")
def params() -> Params:
    return read(QUICKSTART)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def photo_folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Twelve colorful photographs of 40x48 below a folder and its sub-folder."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number in range(12):
        place = folder / "more" if number % 3 == 0 else folder
        save_photo(place / f"photo-{number:02d}.png", rng)
    return folder


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Project]]:
    """A fresh, tiny project with nothing run yet; at the end, nothing runs in it any more."""
    made = []

    def make(name: str) -> Project:
        made.append(new_project(tmp_path_factory.mktemp(name)))
        return made[-1]

    yield make
    for project in made:
        project.the_machine_dies()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Starts stages of this checkout in any project, without waiting for imports."""
    nursery = Nursery(ROOT, environment())
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory, params: Params) -> MakeModel:
    """A checkpoint of a small network that gives strong colors: make_model(noise="input", space="rgb")."""

    def make(architecture: str = "compact_unet", noise: str = "none", space: str = "lab") -> Path:
        chosen = params.generator.model_copy(update={"architecture": architecture, "noise": noise})
        network = build_generator(chosen, ColorSpace(space), 32, seed=4)  # type: ignore[arg-type]
        strengthen(network)
        folder = tmp_path_factory.mktemp("model")
        save_model(folder, {"generator": network}, ModelConfig.describe(chosen, space, 32))  # type: ignore[arg-type]
        return folder

    return make


@pytest.fixture(scope="session")
def model(make_model: MakeModel) -> Path:
    return make_model()


def tuned_pair(model: Path, folder: Path) -> Path:
    """folder/pretrain, a copy of a model, and folder/finetune, as if trained on from it; returns the latter."""
    shutil.copytree(model, folder / "pretrain")
    loaded = load_generator(folder / "pretrain")
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in loaded.network.parameters():
            parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in loaded.network.named_buffers():
            if name.endswith("running_var"):
                buffer.mul_(1.3)
    began_with = loaded.config.sha256["generator.safetensors"]
    config = loaded.config.model_copy(update={"began_with": began_with})
    save_model(folder / "finetune", {"generator": loaded.network}, config)
    return folder / "finetune"


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
