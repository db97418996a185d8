"""The starter model, as a checkout brings it: photographs that it has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab
from skimage.data import astronaut, chelsea, coffee, rocket

from pipeline.coloring.model_choice import choose_model, label
from pipeline.inference import Colorizer
from pipeline.inference.starter import starter_folder
from pipeline.models.checkpoint import load_generator
from pipeline.models.config import read_config
from tests.helpers import ROOT, twotone


def gray_and_ab(rgb: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The photograph in gray of the same lightness, and its true a and b."""
    lab = rgb2lab(rgb)
    return Image.fromarray(rgb).convert("L"), lab[..., 1:]


def test_it_is_small_and_says_what_it_is() -> None:
    folder = starter_folder()
    assert folder == ROOT / "checkpoints/starter"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 24 * 10**6
    config = read_config(folder)
    assert config.training is not None
    assert config.scores is not None
    assert config.scores.ab_mae < config.scores.lightness_table_ab_mae
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "MiniPlaces" in card
    assert "/" + "tmp" not in card


def test_it_is_nearer_to_the_truth_than_gray() -> None:
    """On photographs inside installed packages, none of which it was trained on."""
    colorizer, ours, gray = Colorizer.load(), [], []
    for rgb in (astronaut(), chelsea(), coffee(), rocket()):
        given, true = gray_and_ab(rgb)
        found = rgb2lab(np.asarray(colorizer(given)))[..., 1:]
        ours.append(np.abs(found - true).mean())
        gray.append(np.abs(true).mean())
    assert np.mean(ours) < 0.97 * np.mean(gray)


def test_it_colors_where_no_model_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_model(None, tmp_path) == starter_folder()
    assert capsys.readouterr().err.startswith("model starter: cautious colors")
    choose_model(None, tmp_path, verbose=True)
    assert "dynamic_unet on tf_efficientnet_lite0" in capsys.readouterr().err
    given, _ = gray_and_ab(coffee())
    given.save(tmp_path / "coffee.png")
    done = twotone(tmp_path, "colorize", "coffee.png", "-o", "colored.png")
    assert done.returncode == 0, done.stderr
    assert "model starter" in done.stderr + done.stdout
    with Image.open(tmp_path / "colored.png") as picture:
        assert np.ptp(np.asarray(picture.convert("RGB")).astype(int), axis=2).mean() > 5


def test_it_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = choose_model(Path("starter"))
    assert label(path) == "starter"
    (tmp_path / "starter").mkdir()
    (tmp_path / "starter/model.json").write_text((path / "model.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert label(choose_model(Path("starter"))) == "starter"
    assert choose_model(Path("starter")) == Path("starter")


def test_training_can_go_on_from_it() -> None:
    folder = starter_folder()
    assert folder is not None
    loaded = load_generator(folder)
    light = np.linspace(0, 100, 96 * 96, dtype=np.float32).reshape(96, 96)
    by_onnx = Colorizer.load(folder).ab(light)
    import torch

    with torch.no_grad():
        by_torch = loaded.space.ab(loaded.network(torch.from_numpy(light)[None, None] / 50 - 1))[0].numpy()
    # The file is fp16; what ONNX Runtime rounds on the way is less than a Lab unit.
    assert np.abs(by_onnx - by_torch).mean() < 0.2
