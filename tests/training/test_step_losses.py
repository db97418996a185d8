from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.training.recorder import StepLosses

CPU = torch.device("cpu")


def given(step: int) -> dict[str, torch.Tensor]:
    return {"content": torch.tensor(float(step)), "adversarial": torch.tensor(1 / (step + 1))}


@pytest.mark.parametrize("steps", [1, 7, 1000, 1001, 70_000])
def test_the_table_is_bounded_and_holds_the_means(steps: int) -> None:
    record = StepLosses(steps)
    for step in range(steps):
        record.add(given(step))
    table = record.table()
    assert len(table) <= 1000
    stride = record.stride
    assert [row["step"] for row in table] == list(range(stride, steps + 1, stride))
    expected = [np.arange(first, first + stride).mean() for first in range(0, steps - stride + 1, stride)]
    assert [row["content"] for row in table] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("interrupted_after", [0, 1, 2, 3, 2500])
def test_an_interruption_changes_nothing(interrupted_after: int) -> None:
    whole, first, second = StepLosses(3000), StepLosses(3000), StepLosses(3000)
    for step in range(3000):
        whole.add(given(step))
        (first if step < interrupted_after else second).add(given(step)) if step != interrupted_after else None
        if step == interrupted_after:
            second.load_state_dict(first.state_dict(), CPU)
            second.add(given(step))
    assert second.table() == whole.table()
