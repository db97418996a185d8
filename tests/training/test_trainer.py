"""The trainer, on a network small enough to follow."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.checkpointing.fingerprint import Inputs
from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import LoaderConfig, plain_batches
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.errors import SampleError, TrainingError
from pipeline.files import StageFolders, write_json
from pipeline.models.config import ModelConfig, read_config
from pipeline.params.schema import Params, read
from pipeline.quality.validation import ab_mae, inference
from pipeline.training.ema import Ema
from pipeline.training.objectives import ContentObjective
from pipeline.training.recorder import PreviewTimes
from pipeline.training.trainer import TrainConfig, Trainer
from tests.helpers import QUICKSTART

LAB = ColorSpace("lab")
MODEL = ModelConfig.describe(read(QUICKSTART).generator, "lab", 32)


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.calls = nn.Conv2d(1, 2, 3, padding=1), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        colors: Tensor = self.conv(x)
        return colors


@pytest.fixture
def photographs(tmp_path: Path, rng: np.random.Generator) -> Photographs:
    """Orange, of every lightness: what a network can learn from lightness alone."""
    folder = tmp_path / "sample"
    folder.mkdir()
    shades = rng.integers(40, 255, (8, 32, 32, 1))
    for split in ("train", "valid"):
        writer = ShardWriter(folder, split)
        for shade in shades:
            writer.add((shade * np.array([1, 0.6, 0.2])).astype(np.uint8))
        writer.close()
    write_json(folder / "sample.json", {"source": "orange"})
    return Photographs(folder, "train", 32)


@pytest.fixture
def trainer(params: Params, photographs: Photographs, tmp_path: Path) -> Callable[..., Trainer]:
    """Make a trainer of two epochs of two steps."""
    assert len(photographs) == 8

    def make(**changes: Any) -> Trainer:
        block = params.pretrain.model_copy(update={"lr": 0.1})
        objective = ContentObjective(Conv(), block, LAB, Accelerator(cpu=True))
        config = TrainConfig(
            "pretrain", 2, LoaderConfig(batch_size=4, seed=1, flip=True), PreviewTimes((), last_epoch=2, steps=3), (1,)
        )
        inputs = Inputs(params.base, (params.generator, block), tmp_path / "sample", (), ())
        folders = StageFolders(*(tmp_path / name for name in ("log", "reports", "checkpoint", "states", "trackers")))
        made = Trainer(replace(config, **changes), objective, inputs, MODEL, folders)
        made.recorder.begin()
        return made

    return make


def conv(trained: Trainer) -> Conv:
    network = trained.objective.generator
    assert isinstance(network, Conv)
    return network


def error(network: nn.Module, photographs: Photographs) -> float:
    with inference(network):
        return ab_mae(network, plain_batches(photographs, 3), LAB)


def test_training_learns_and_leaves_a_history(
    trainer: Callable[..., Trainer], photographs: Photographs, tmp_path: Path
) -> None:
    run = trainer()
    before = error(conv(run), photographs)
    run.train()
    assert conv(run).calls == 4
    with (tmp_path / "log/history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["valid_ab_mae"]) < before
    assert sorted(path.name for path in (tmp_path / "log/samples").iterdir()) == [
        "train-epoch-0002.png",
        "train-step-0000003.png",
        "valid-epoch-0002.png",
        "valid-step-0000003.png",
    ]
    with (tmp_path / "log/steps.csv").open(encoding="utf-8") as file:
        steps = list(csv.DictReader(file))
    assert [row["step"] for row in steps] == ["1", "2", "3", "4"]
    for epoch, row in enumerate(rows):
        own = [float(step["content"]) for step in steps[2 * epoch : 2 * epoch + 2]]
        assert float(row["content"]) == pytest.approx(np.mean(own), rel=1e-4)


def test_the_generator_of_an_epoch_is_kept_as_it_was(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.train()
    kept = run.states.kept()
    assert list(kept) == ["epoch-0001"]
    first, last = load_file(kept["epoch-0001"] / "generator.safetensors"), conv(run).state_dict()
    assert not torch.equal(first["conv.weight"], last["conv.weight"])
    described = read_config(kept["epoch-0001"]).training
    assert described is not None
    assert described.ab_mae == pytest.approx(run.recorder.history[0]["valid_ab_mae"], rel=1e-5)
    run.states.clear()
    assert not run.states.kept()


def test_no_epochs_still_validates(trainer: Callable[..., Trainer]) -> None:
    run = trainer(epochs=0)
    run.train()
    (row,) = run.recorder.history
    assert row["epoch"] == 0
    assert row["valid_ab_mae"] > 0


def test_a_sample_smaller_than_a_batch_is_refused(trainer: Callable[..., Trainer]) -> None:
    large = LoaderConfig(batch_size=16, seed=1, flip=True)
    with pytest.raises(SampleError, match=r"has 8 photographs, fewer than pretrain\.batch_size 16"):
        trainer(loader=large)
    assert trainer(loader=large, epochs=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_training(trainer: Callable[..., Trainer], value: float) -> None:
    run = trainer()
    bias = conv(run).conv.bias
    assert bias is not None
    nn.init.constant_(bias, value)
    with pytest.raises(TrainingError, match=r"the content loss is (nan|inf) by step"):
        run.train()


def test_a_generator_that_gives_no_numbers_is_not_published(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights and losses may be finite all the same: evaluation normalizes by other means."""
    run = trainer(keep_epochs=(2,))
    monkeypatch.setattr(run, "validate", lambda: float("nan"))
    with pytest.raises(TrainingError, match="valid_ab_mae is nan after epoch 2, whose generator would be published"):
        run.train()
    assert not run.states.kept()


def test_too_little_memory_is_a_sentence(trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(_network: nn.Module, _x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Conv, "forward", forward)
    with pytest.raises(TrainingError, match=r"not enough memory .*; set a smaller batch_size or base\.image_size"):
        trainer().train()


def test_ab_mae_of_gray_is_the_mean_absolute_ab(photographs: Photographs) -> None:
    net = Conv()
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    targets = torch.cat([LAB.encode(torch.from_numpy(photographs[i]).permute(2, 0, 1)[None])[1] for i in range(8)])
    assert error(net, photographs) == pytest.approx(float(targets.abs().mean()) * 110, rel=1e-5)


def test_the_moving_average_is_what_it_says() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    ema = Ema(net, 0.9)
    nn.init.constant_(net.weight, 2.0)
    ema.update()
    ema.update()
    with ema.applied():
        assert net.weight.item() == pytest.approx(2 - (2 / 11) * (3 / 12))
    assert net.weight.item() == 2
    off = Ema(net, 0.0)
    off.update()
    with off.applied():
        assert net.weight.item() == 2


def with_errors(run: Trainer, errors: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(errors)
    monkeypatch.setattr(run, "validate", lambda: next(left))


def test_patience_ends_a_training_and_a_resumed_one(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of errors 9, 8, 8.5, 8.2 the third and fourth are no better than the second."""
    run = trainer(epochs=9, patience=2)
    with_errors(run, [9, 8, 8.5, 8.2, 7], monkeypatch)
    run.train()
    assert [row["epoch"] for row in run.recorder.history] == [1, 2, 3, 4]
    said = capsys.readouterr().out
    assert "ended after epoch 4: no lower valid ab_mae for 2 epochs; epoch 4 is published, and the least error" in said
    again = trainer(epochs=9, patience=2)
    with_errors(again, [], monkeypatch)
    again.train()  # from the state that was saved at the end
    assert [row["epoch"] for row in again.recorder.history] == [1, 2, 3, 4]


def test_the_epoch_of_least_error_is_published(
    trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(epochs=3, publish="best", keep_epochs=())
    with_errors(run, [8.5, 8, 8.2], monkeypatch)
    weights: list[Tensor] = []
    record = run.recorder.record

    def noted(row: dict[str, float]) -> None:
        weights.append(conv(run).conv.weight.detach().clone())
        record(row)

    monkeypatch.setattr(run.recorder, "record", noted)
    run.run()
    published = load_file(tmp_path / "checkpoint/generator.safetensors")
    assert torch.equal(published["conv.weight"], weights[1])
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text(encoding="utf-8"))
    assert (metrics["published_epoch"], metrics["valid_ab_mae"]) == (2, 8)
    described = read_config(tmp_path / "checkpoint").training
    assert described is not None
    assert described.ab_mae == 8


def test_an_epoch_that_gives_no_numbers_is_not_the_best(
    trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(epochs=3, publish="best", keep_epochs=())
    with_errors(run, [math.nan, 8, 8.2], monkeypatch)
    run.run()
    assert json.loads((tmp_path / "reports/metrics.json").read_text(encoding="utf-8"))["published_epoch"] == 2
