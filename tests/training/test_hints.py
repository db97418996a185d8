"""Simulated hints: true colors in squares, by each photograph's own seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.training.hints import simulated


@pytest.fixture
def ab() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((40, 2, 96, 96), generator=generator) - 0.5


def test_each_photographs_hints_are_its_own(ab: torch.Tensor) -> None:
    """However the batch is shared out."""
    whole = simulated(ab, range(40), 0.3)
    assert torch.equal(torch.cat([simulated(ab[:17], range(17), 0.3), simulated(ab[17:], range(17, 40), 0.3)]), whole)
    assert not torch.equal(simulated(ab, range(1, 41), 0.3), whole)


def test_they_are_the_true_mean_colors_of_squares(ab: torch.Tensor) -> None:
    hints = simulated(ab, range(40), 0.0)
    assert set(hints[:, 2].unique().tolist()) == {0.0, 1.0}
    assert not hints[:, :2][(hints[:, 2:] == 0).expand(-1, 2, -1, -1)].any()
    true = 0
    for number in range(40):
        where = hints[number, 2].bool()
        # Nearly all: some are off as people pick them, and some lie over others.
        difference = (hints[number, :2, where] - ab[number].mean((1, 2))[:, None]).abs()
        true += int((difference < 0.3).float().mean() > 0.9)
    assert true > 30


def test_how_many_and_how_large(ab: torch.Tensor) -> None:
    some = torch.rand((1, 2, 96, 96)).expand(600, -1, -1, -1)
    hints = simulated(some, range(600), 0.3)
    pixels = hints[:, 2].sum((1, 2))
    assert float((pixels == 0).float().mean()) == pytest.approx(0.3, abs=0.06)
    assert 0.001 < float((pixels == 96 * 96).float().mean()) < 0.03, "the whole truth of a few"
    shown = pixels[(pixels > 0) & (pixels < 96 * 96)]
    # 8 squares of 1 to 5 pixels a side, whose mean area is 11.
    assert float(shown.mean()) == pytest.approx(85, rel=0.2)
    middle = hints[:, 2, 32:64, 32:64].mean() / hints[:, 2].mean()
    assert 1.2 < float(middle) < 2.5, "more around the middle"
    assert ab.shape == (40, 2, 96, 96)


def test_without_any(ab: torch.Tensor) -> None:
    assert not simulated(ab, range(40), 1.0).any()
    assert np.isfinite(simulated(ab, range(40), 0.0).numpy()).all()
