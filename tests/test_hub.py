"""docs/how-to/hub.md, as typed, with the hub's own program and a hub on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.inference.starter import starter_folder
from tests.helpers import ROOT, environment, save_photo, serving

UPLOAD, GET = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs/how-to/hub.md").read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "hub").mkdir()
    with serving("tests/hub_server.py", tmp_path / "hub") as folder:
        yield (folder / "address").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_model_goes_to_a_hub_and_comes_back(hub: str, tmp_path: Path) -> None:
    exported, place = starter_folder(), tmp_path / "elsewhere"
    assert exported is not None
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/export").symlink_to(exported)
    place.mkdir()
    save_photo(place / "street.jpg", np.random.default_rng(0), (120, 90))
    offline = {name: value for name, value in environment().items() if not name.startswith("HF_")}
    own = {"HF_ENDPOINT": hub, "HF_TOKEN": "hf_test", "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block, folder in ((UPLOAD.replace("uv run ", ""), tmp_path), (GET, place)):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=folder,
            env={**offline, **own, "PATH": path},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    for name in ("generator.onnx", "model.json", "README.md"):
        assert (place / "colorizer" / name).read_bytes() == (exported / name).read_bytes()
    assert (place / "street-in-color.jpg").exists()


def test_the_card_begins_with_what_the_hub_reads() -> None:
    from huggingface_hub import ModelCard

    exported = starter_folder()
    assert exported is not None
    card = ModelCard((exported / "README.md").read_text(encoding="utf-8"))
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "onnx")
    assert card.data.pipeline_tag == "image-to-image"
