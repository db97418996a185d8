"""The curve of hints: held against arithmetic, and against the photographs' own colors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from pipeline.color.tensors import ColorSpace
from pipeline.evaluation.hints import COLUMNS, COUNTS, hint_curve
from pipeline.models.checkpoint import load_generator, save_model
from pipeline.models.config import ModelConfig
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params
from tests.helpers import smooth_photos

CPU = torch.device("cpu")


def test_more_hints_are_worth_more(model: Path, rng: np.random.Generator) -> None:
    photographs = list(smooth_photos(rng, 4, 32))
    rows = hint_curve(load_generator(model), photographs, 7, CPU)
    assert [row["hints"] for row in rows] == list(COUNTS)
    assert all(list(row) == COLUMNS for row in rows)
    for name in ("alone", "generator"):
        errors = [row[f"{name}_ab_mae"] for row in rows]
        assert errors[-1] < 0.5 * errors[0]
        assert rows[-1][f"{name}_psnr_rgb"] > rows[0][f"{name}_psnr_rgb"] + 3
    # Without hints, hints alone are gray.
    gray = [np.abs(rgb2lab(one)[..., 1:]).mean() for one in photographs]
    assert rows[0]["alone_ab_mae"] == pytest.approx(np.mean(gray), abs=0.02)
    assert rows[0]["alone_ab_mae_low"] <= rows[0]["alone_ab_mae"] <= rows[0]["alone_ab_mae_high"]


def test_a_generator_that_takes_hints_sees_them(tmp_path: Path, params: Params, rng: np.random.Generator) -> None:
    chosen = params.generator.model_copy(update={"architecture": "compact_unet", "hints": True})
    save_model(
        tmp_path,
        {"generator": build_generator(chosen, ColorSpace("lab"), 32, seed=4)},
        ModelConfig.describe(chosen, "lab", 32),
    )
    loaded, photographs = load_generator(tmp_path), list(smooth_photos(rng, 2, 32))
    seeing = [row["generator_ab_mae"] for row in hint_curve(loaded, photographs, 7, CPU)]
    first = next(module for module in loaded.network.modules() if isinstance(module, torch.nn.Conv2d))
    assert first.in_channels == 4
    with torch.no_grad():
        first.weight[:, 1:] = 0
    blind = [row["generator_ab_mae"] for row in hint_curve(loaded, photographs, 7, CPU)]
    assert seeing[0] == pytest.approx(blind[0], rel=1e-5)
    assert seeing[3] != pytest.approx(blind[3], rel=1e-5)


def test_no_photographs_no_rows(model: Path) -> None:
    assert hint_curve(load_generator(model), [], 7, CPU) == []
