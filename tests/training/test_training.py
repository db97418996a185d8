"""The loop and both objectives, on a network small enough to follow."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pipeline.color import ColorSpace
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.models.discriminators import build_discriminator
from pipeline.params import Params
from pipeline.training.devices import DeviceError, choose_device, choose_precision, start
from pipeline.training.ema import Ema
from pipeline.training.objectives import AdversarialObjective, ContentObjective
from pipeline.training.tracking import Recorder
from pipeline.training.trainer import Plan, TrainingError, ab_mae, train

LAB = ColorSpace("lab")


class CountingConv(nn.Module):
    """One convolution that remembers how often it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.calls = nn.Conv2d(1, 2, 3, padding=1), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        colors: Tensor = self.conv(x)
        return colors


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def plan(tmp_path: Path, rng: np.random.Generator) -> Plan:
    writer = ShardWriter(tmp_path, "train")
    for _ in range(8):
        # Orange, of every lightness: what a network can learn from lightness alone.
        shade = rng.integers(40, 255, (32, 32, 1))
        writer.add((shade * np.array([1, 0.6, 0.2])).astype(np.uint8))
    writer.close()
    photographs = Photographs(tmp_path, "train", 32)
    return Plan(epochs=2, batch_size=4, seed=1, flip=True, num_workers=0, train=photographs, valid=photographs)


def batch(plan: Plan) -> tuple[Tensor, Tensor]:
    pixels = torch.stack([torch.from_numpy(plan.train[i]) for i in range(4)])
    return LAB.encode(pixels.permute(0, 3, 1, 2))


def adversarial(params: Params, net: nn.Module, accelerator: Accelerator, **changes: Any) -> AdversarialObjective:
    small = params.discriminator.model_copy(update={"channels": 4})
    block = params.finetune.model_copy(update=changes)
    return AdversarialObjective(net, build_discriminator(small, LAB, 0), block, accelerator)


def test_content_training_learns_and_leaves_a_history(
    params: Params, plan: Plan, accelerator: Accelerator, tmp_path: Path
) -> None:
    net = CountingConv()
    before = ab_mae(net, plan.valid, 4, LAB, torch.device("cpu"))
    block = params.pretrain.model_copy(update={"lr": 0.1})
    recorder = Recorder(tmp_path / "log", LAB, (2,))
    train(ContentObjective(net, block, accelerator), plan, recorder, accelerator)
    assert net.calls == 4
    with (tmp_path / "log/history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["valid_ab_mae"]) < before
    assert sorted(path.name for path in (tmp_path / "log/samples").iterdir()) == [
        "train-epoch-0002.png",
        "valid-epoch-0002.png",
    ]


def test_one_generator_forward_a_step_and_both_networks_learn(
    params: Params, plan: Plan, accelerator: Accelerator
) -> None:
    net = CountingConv()
    objective = adversarial(params, net, accelerator)
    before = [p.detach().clone() for n in objective.networks.values() for p in n.parameters()]
    losses = objective.step(*batch(plan), 0)
    after = [p for n in objective.networks.values() for p in n.parameters()]
    assert net.calls == 1
    assert set(losses) == {"discriminator", "adversarial", "content", "generator"}
    assert all(not torch.equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))
    assert not torch.equal(before[2], after[2])
    assert all(p.requires_grad for p in after)


def test_the_discriminators_step_does_not_touch_the_generator(
    params: Params, plan: Plan, accelerator: Accelerator
) -> None:
    """Without content and adversarial gradients (a blind discriminator) the generator must stay."""
    net = CountingConv()
    objective = adversarial(params, net, accelerator, lambda_content=0.0)
    for parameter in objective.networks["discriminator"].parameters():
        nn.init.zeros_(parameter)
    before = net.conv.weight.detach().clone()
    objective.step(*batch(plan), 0)
    assert torch.equal(net.conv.weight, before)


def test_no_epochs_still_validates(params: Params, plan: Plan, accelerator: Accelerator, tmp_path: Path) -> None:
    none = Plan(**{**vars(plan), "epochs": 0})
    recorder = Recorder(tmp_path / "log", LAB, ())
    train(ContentObjective(CountingConv(), params.pretrain, accelerator), none, recorder, accelerator)
    assert recorder.history[0]["epoch"] == 0
    assert recorder.history[0]["valid_ab_mae"] > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_training(
    params: Params, plan: Plan, accelerator: Accelerator, tmp_path: Path, value: float
) -> None:
    net = CountingConv()
    assert net.conv.bias is not None
    nn.init.constant_(net.conv.bias, value)
    recorder = Recorder(tmp_path / "log", LAB, ())
    with pytest.raises(TrainingError, match=r"the content loss is (nan|inf) by step"):
        train(ContentObjective(net, params.pretrain, accelerator), plan, recorder, accelerator)


def test_ab_mae_of_gray_is_the_mean_absolute_ab(plan: Plan) -> None:
    net = CountingConv()
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    targets = torch.cat([LAB.encode(torch.from_numpy(plan.train[i]).permute(2, 0, 1)[None])[1] for i in range(8)])
    expected = float(targets.abs().mean()) * 110
    assert ab_mae(net, plan.valid, 3, LAB, torch.device("cpu")) == pytest.approx(expected, rel=1e-5)


def test_bf16_only_where_the_hardware_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    def cpu(amx: bool, avx: bool) -> str:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
        return choose_precision("auto", "cpu")

    assert (cpu(False, False), cpu(True, False), cpu(False, True)) == ("fp32", "bf16", "bf16")
    for capability, precision in (((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda c=capability: c)
        assert choose_precision("auto", "cuda") == precision
    assert choose_precision("fp32", "cuda") == "fp32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"base\.device cuda is not available here; allowed: auto, cpu"):
        choose_device("cuda")
    with pytest.raises(DeviceError, match="fp16 needs a GPU"):
        choose_precision("fp16", "cpu")


def test_the_discriminator_warms_up_alone(params: Params, plan: Plan, accelerator: Accelerator) -> None:
    net = CountingConv()
    objective = adversarial(params, net, accelerator, warmup_steps=2)
    before = net.conv.weight.detach().clone()
    judge = next(objective.networks["discriminator"].parameters())
    for number in range(3):
        judged = judge.detach().clone()
        objective.step(*batch(plan), number)
        assert not torch.equal(judge, judged)
        assert torch.equal(net.conv.weight, before) == (number < 2)


def test_clipping_bounds_the_gradient(params: Params, plan: Plan, accelerator: Accelerator) -> None:
    net = CountingConv()
    objective = ContentObjective(net, params.pretrain.model_copy(update={"clip_norm": 1e-3}), accelerator)
    objective.step(*batch(plan), 0)
    norm = torch.cat([p.grad.ravel() for p in net.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-2)


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


def test_a_tracker_that_is_not_installed_is_refused(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    base = params.base.model_copy(update={"trackers": ("mlflow",), "device": "cpu"})
    with pytest.raises(DeviceError, match=r"mlflow is not installed; install the extra twotone\[mlflow\]"):
        start(base, "pretrain")
