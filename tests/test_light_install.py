"""The distribution without extras, built and installed apart: small, and it colors without torch and dvc."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from pipeline.data.shards import Photographs, ShardWriter
from pipeline.export.onnx_export import write_onnx
from pipeline.models.checkpoint import load_generator
from tests.conftest import MakeModel
from tests.helpers import QUICKSTART, ROOT, noisy_photo

MOST_MEGABYTES = 250


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the built wheel and all that it asks for, copied from this one: tests have no network."""
    folder = tmp_path_factory.mktemp("light")
    subprocess.run(["uv", "build", "--wheel", "--offline", "-q", "-o", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    subprocess.run(["uv", "venv", "-q", "--offline", "--python", sys.executable, environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    python = environment / "bin/python"
    subprocess.run(["uv", "pip", "install", "-q", "--offline", "--no-deps", "--python", python, wheel], check=True)
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    for found in closure([line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist:")]):
        copy(found, packages)
    return environment


def closure(requirements: list[str]) -> Iterator[Distribution]:
    """The distributions that they ask for, and those that these ask for, on this machine and without extras."""
    waiting, seen = [(text, "") for text in requirements], set()
    while waiting:
        text, extra = waiting.pop()
        wanted = Requirement(text)
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        found = distribution(name)
        for asked in ("", *wanted.extras):
            if (name, asked) not in seen:
                seen.add((name, asked))
                waiting += [(line, asked) for line in found.requires or []]
                if not asked:
                    yield found


def copy(found: Distribution, packages: Path) -> None:
    for file in found.files or []:
        source, target = Path(str(found.locate_file(file))), packages / str(file)
        if ".." not in file.parts and source.is_file() and source.suffix != ".pyc":
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def twotone(environment: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment / "bin/twotone", *words],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        env={"PATH": "/usr/bin:/bin"},
    )


@pytest.mark.slow
def test_it_is_small(installed: Path) -> None:
    size = sum(file.stat().st_size for file in installed.rglob("*") if file.is_file() and not file.is_symlink())
    names = {path.name for path in next(installed.glob("lib/python*/site-packages")).iterdir()}
    assert {"onnxruntime", "numpy", "PIL", "pipeline"} <= names
    assert not {"torch", "dvc", "fastai", "scipy", "gradio", "av"} & names
    assert size < MOST_MEGABYTES * 10**6


@pytest.mark.slow
def test_it_colors(installed: Path, make_model: MakeModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    writer = ShardWriter(tmp_path, "train")
    writer.add(noisy_photo(rng, 32, 32))
    writer.close()
    model = make_model()
    write_onnx(load_generator(model), tmp_path / "export", "fp32", Photographs(tmp_path, "train", 32))
    Image.fromarray(noisy_photo(rng, 90, 120)).convert("L").save(tmp_path / "street.png")
    done = twotone(installed, tmp_path, "colorize", "street.png", "-o", "colored.png", "--model", "export")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "colored.png") as picture:
        assert picture.size == (120, 90)
        assert np.ptp(np.asarray(picture).astype(int), axis=2).max() > 5
    # And by the starter model, which the wheel brings.
    done = twotone(installed, tmp_path, "colorize", "street.png", "-o", "started.png")
    assert done.returncode == 0, done.stderr
    assert "model starter" in done.stderr
    # What needs an extra says which.
    (tmp_path / "params.yaml").write_text(QUICKSTART.read_text(encoding="utf-8"), encoding="utf-8")
    for words, extra in (
        (("inspect",), "train"),
        (("serve",), "serve"),
        (("colorize", "street.png", "-o", "other.png", "--model", str(model)), "train"),
    ):
        refused = twotone(installed, tmp_path, *words)
        assert refused.returncode == 2
        assert refused.stderr.count("error:") == 1, refused.stderr
        assert f'`pip install ".[{extra}]"`' in refused.stderr
    Image.fromarray(rng.integers(0, 65536, (80, 80), dtype=np.uint16)).save(tmp_path / "deep.tif")
    refused = twotone(installed, tmp_path, "colorize", "deep.tif", "-o", "deep.png", "--model", "export")
    assert refused.returncode == 1
    sentence = "deep.tif: 16-bit color and rare kinds of TIFF need imagecodecs; install the extra sixteen-bit"
    assert sentence in refused.stdout
