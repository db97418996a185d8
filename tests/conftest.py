"""Fixtures: the committed params, a folder of photographs, and a small project under DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from pipeline.params import Params, read

ROOT = Path(__file__).parents[1]

# The real architecture, losses and stages on next to nothing: a stage takes seconds.
TINY = {
    "base": {"image_size": 32, "device": "cpu", "precision": "fp32"},
    "sample": {"train": 8, "valid": 3, "test": 3},
    # Decoders grow with the last feature map, and saved states with the decoder.
    "generator": {"max_width": 64},
    "pretrain": {"epochs": 1, "batch_size": 4, "sample_epochs": [1]},
    "discriminator": {"channels": 8},
    "finetune": {"epochs": 1, "batch_size": 4, "sample_epochs": [1]},
    "evaluate": {"columns": 3},
}


# Test processes share the cores; one thread each is fastest in all.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    # A stage sets it for its process; hypothesis cannot draw its floats under it.
    torch.set_flush_denormal(False)


@pytest.fixture
def params() -> Params:
    return read(ROOT / "params.yaml")


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


def save_photo(path: Path, rng: np.random.Generator, size: tuple[int, int] = (48, 40)) -> None:
    """Smooth random colors, (width, height)."""
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)


class Project:
    """A copy of this project in a repository of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    def run(
        self, *command: str, ok: bool = True, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={**_environment(), **env},
            capture_output=True,
            text=True,
            timeout=600,
        )
        if ok:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def dvc(
        self, *command: str, ok: bool = True, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", *command, ok=ok, env=env)

    def git(self, *command: str) -> None:
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *who, *command], cwd=self.folder, check=True, capture_output=True)

    def change(self, **blocks: dict[str, Any]) -> None:
        """Set keys of params.yaml: change(finetune={"epochs": 2})."""
        path, yaml = self.folder / "params.yaml", YAML()
        tree = yaml.load(path.read_text())
        for block, keys in blocks.items():
            tree[block].update(keys)
        with path.open("w") as file:
            yaml.dump(tree, file)

    def outs(self) -> dict[str, bytes]:
        """The content of every file that a stage publishes."""
        places = [self.folder / name for name in ("data", "checkpoints", "reports")]
        files = [file for place in places for file in sorted(place.rglob("*")) if file.is_file()]
        return {file.relative_to(self.folder).as_posix(): file.read_bytes() for file in files}


def _environment() -> dict[str, str]:
    # A path to this checkout would win over the copy's own modules.
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DVC_ROOT")}
    return {**kept, "DVC_NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": _path()}


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """A fresh, tiny project with nothing run yet."""

    def make(name: str) -> Project:
        folder = tmp_path_factory.mktemp(name)
        for part in ("pipeline", "stages", "recipes"):
            if (ROOT / part).exists():
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
            shutil.copy(ROOT / file, folder / file)
        project = Project(folder)
        project.change(**TINY)
        project.git("init", "-q", "-b", "main")
        project.dvc("init", "-q")
        shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
        project.git("add", "-A")
        project.git("commit", "-q", "-m", "start")
        return project

    return make
