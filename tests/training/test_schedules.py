from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from pipeline.training.schedules import lr_factor


def test_one_cycle_is_torchs() -> None:
    total = 41
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = OneCycleLR(optimizer, max_lr=1.0, total_steps=total, pct_start=0.25, div_factor=25, final_div_factor=4000)
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    got = [lr_factor("one_cycle", step, total) for step in range(total)]
    # torch counts its warm-up to pct_start * total - 1, we to a quarter of the way: a step apart at most.
    assert max(got) == pytest.approx(1.0)
    assert got[0] == pytest.approx(expected[0])
    assert got[-1] == pytest.approx(expected[-1], abs=1e-6)
    assert got == pytest.approx(expected, abs=0.13)


def test_linear_decay_is_constant_then_falls_to_nothing() -> None:
    got = [lr_factor("linear_decay", step, 100) for step in range(100)]
    assert got[:51] == [1.0] * 51
    assert got[75] == pytest.approx(0.5)
    assert 0 < got[99] < 0.021


def test_constant_and_a_single_step() -> None:
    assert {lr_factor("constant", step, 7) for step in range(7)} == {1.0}
    assert 0 < lr_factor("one_cycle", 0, 1) <= 1


def test_cosine_is_torchs() -> None:
    total = 40
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = CosineAnnealingLR(optimizer, total)
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    assert [lr_factor("cosine", step, total) for step in range(total)] == pytest.approx(expected)


def test_a_cosine_after_a_straight_warm_up() -> None:
    got = [lr_factor("warmup_cosine", step, 100) for step in range(100)]
    assert got[:6] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])
    assert got[5:] == pytest.approx([lr_factor("cosine", step, 95) for step in range(95)])
    assert 0 < lr_factor("warmup_cosine", 0, 1) <= 1
