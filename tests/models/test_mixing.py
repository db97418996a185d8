from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models.checkpoint import load_generator
from pipeline.models.mixing import load_mixed, mixed, why_no_dial
from tests.conftest import tuned_pair


def test_between_two_linear_layers() -> None:
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    x, share = torch.randn(5, 2), 0.3
    between = torch.nn.Linear(2, 2)
    between.load_state_dict(mixed(one, other, share))
    torch.testing.assert_close(between(x), 0.7 * one(x) + 0.3 * other(x))


def test_the_ends_are_the_two_generators(tmp_path: Path, model: Path) -> None:
    finetuned = tuned_pair(model, tmp_path)
    faithful, vivid = load_generator(tmp_path / "pretrain").network, load_generator(finetuned).network
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        ends = [load_mixed(finetuned, share).network(x) for share in (0.0, 1.0)]
        assert torch.equal(ends[0], faithful(x))
        assert torch.equal(ends[1], vivid(x))
        middle = load_mixed(finetuned, 0.5).network(x)
    assert not torch.equal(ends[0], ends[1])
    assert (middle - ends[0]).abs().mean() < (ends[1] - ends[0]).abs().mean()


def test_without_the_generator_that_it_began_with_there_is_no_dial(tmp_path: Path, model: Path) -> None:
    finetuned = tuned_pair(model, tmp_path)
    assert why_no_dial(finetuned) == ""
    assert "needs a generator that finetune has made" in why_no_dial(tmp_path / "pretrain")
    shutil.move(tmp_path / "pretrain", tmp_path / "away")
    with pytest.raises(ModelError, match=r"finetune: the dial needs .*pretrain is missing"):
        load_mixed(finetuned, 0.5)
    shutil.copytree(finetuned, tmp_path / "pretrain")
    with pytest.raises(ModelError, match="pretrain is another one"):
        load_mixed(finetuned, 0.5)
