"""What the card says of trainings that were none, and of photographs that chose the epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.export.model_card import write_card
from pipeline.models.config import ModelConfig, Scores
from pipeline.params.schema import Params

SCORES = {name: {"ab_mae": 8.0, "psnr_rgb": 20.0} for name in ("lightness_table", "pretrain", "finetune")}
EXPORTED: dict[str, Any] = {"parity": {"64": 1e-5}, "fp32": {"ab_mae": 8.0, "bytes": 2**20}}


def card(tmp_path: Path, params: Params, **blocks: dict[str, Any]) -> str:
    tree = params.model_dump()
    changed = Params.model_validate({name: {**values, **blocks.get(name, {})} for name, values in tree.items()})
    config = ModelConfig.describe(changed.generator, changed.base.color_space, changed.base.image_size)
    write_card(tmp_path / "README.md", changed, config, SCORES, EXPORTED)
    return " ".join((tmp_path / "README.md").read_text(encoding="utf-8").split())


NOTHING: dict[str, Any] = {"epochs": 0, "sample_epochs": [], "keep_epochs": []}


def test_stages_without_epochs_are_no_training(tmp_path: Path, params: Params) -> None:
    text = card(tmp_path, params, pretrain=NOTHING, finetune=NOTHING)
    assert "in two stages: none of the first: weights that were drawn, then none of the second: published" in text
    assert "- patchgan" not in text
    text = card(tmp_path, params, finetune=NOTHING)
    assert "of 1 l1 alone, then none of the second: published as it began" in text
    assert "- patchgan" in card(tmp_path, params)


def test_values_that_a_generator_does_not_have_are_not_shown(tmp_path: Path, params: Params) -> None:
    assert "backbone: " in card(tmp_path, params)
    assert "backbone: " not in card(tmp_path, params, generator={"architecture": "compact_unet"})


def test_photographs_that_chose_the_epoch_are_not_called_unseen(tmp_path: Path, params: Params) -> None:
    folder = {"source": "folder", "path": "photos", "test": 0}
    chosen = card(tmp_path, params, sample=folder, finetune={"publish": "best"})
    assert "photographs of the validation split, none of which were trained on, and by which the published" in chosen
    first = card(tmp_path, params, sample=folder, pretrain={"publish": "best", "patience": 3}, finetune=NOTHING)
    assert "none of which were trained on, and by which the published" in first
    assert "up to 10 epochs of 1 l1 alone, of which the best is published" in first
    last = card(tmp_path, params, sample=folder, finetune=NOTHING)
    assert "and by which the published" not in last
    config = ModelConfig.describe(params.generator, "lab", 32)
    scores = Scores(photographs=6, ab_mae=8.0, lightness_table_ab_mae=9.0, validation=True)
    assert "on 6 validation photographs" in config.model_copy(update={"scores": scores}).summary()


@pytest.mark.parametrize("path", ["pipeline/sampling/bundled.csv", "two.csv"])
def test_bundled_photographs_are_not_counted(tmp_path: Path, params: Params, path: str) -> None:
    assert "other regions of the same photographs" in card(tmp_path, params, sample={"path": path})
