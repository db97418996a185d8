"""Both objectives, on networks small enough to follow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load, save
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.errors import SavedStateError
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import backbone_parameters, build_generator
from pipeline.params.schema import Params
from pipeline.training.losses import LOSSES, Answer
from pipeline.training.objectives import AdversarialObjective, ContentObjective

LAB = ColorSpace("lab")


class Tiny(nn.Module):
    """A convolution and a norm, and how often they ran."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.calls = 0

    def forward(self, *given: Tensor) -> Tensor:
        self.calls += self.training
        return self.norm(self.conv(torch.cat(given, 1)))  # type: ignore[no-any-return]


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return LAB.encode(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))


def adversarial(params: Params, net: nn.Module, accelerator: Accelerator, **changes: Any) -> AdversarialObjective:
    small = params.discriminator.model_copy(update={"channels": 4})
    block = params.finetune.model_copy(update=changes)
    judge = build_discriminator(small, LAB, 0) if block.adversarial_loss != "none" else None
    return AdversarialObjective(net, judge, block, LAB, accelerator)


def test_one_generator_forward_a_step_and_both_networks_learn(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    net = Tiny()
    objective = adversarial(params, net, accelerator)
    before = [p.detach().clone() for n in objective.networks.values() for p in n.parameters()]
    losses = objective.step(*batch, 0)
    after = [p for n in objective.networks.values() for p in n.parameters()]
    assert net.calls == 1
    assert set(losses) == {"discriminator", "adversarial", "content", "generator"}
    assert all(not torch.equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))
    assert not torch.equal(before[4], after[4])
    assert all(p.requires_grad for p in after)


def test_the_discriminator_is_shown_saturated_colors_and_l1_is_not(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    plain = adversarial(params, Tiny(), accelerator, target_saturation=1.0)
    more = adversarial(params, Tiny(), accelerator, target_saturation=1.5)
    shown: list[Tensor] = []
    for objective in (plain, more):
        objective.networks["generator"].load_state_dict(plain.networks["generator"].state_dict())
        objective.networks["discriminator"].register_forward_pre_hook(lambda _, given: shown.append(given[1]))
    condition, target = batch
    losses = [objective.step(condition, target, 0)["content"] for objective in (plain, more)]
    assert losses[0] == losses[1]
    assert torch.equal(shown[0], target)
    torch.testing.assert_close(shown[3], target * 1.5)


def test_color_distribution_is_shown_saturated_colors(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    condition, target = batch
    net = Tiny()
    with torch.no_grad():
        output = net(condition)
    losses = {"color_distribution": 1.0}
    objective = adversarial(params, net, accelerator, adversarial_loss="none", losses=losses, target_saturation=1.5)
    expected = LOSSES["color_distribution"](Answer(output, target * 1.5, condition, LAB))
    torch.testing.assert_close(objective.step(condition, target, 0)["content"], expected)


def test_without_a_discriminator_the_content_loss_teaches_alone(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    net = Tiny()
    objective = adversarial(params, net, accelerator, adversarial_loss="none", losses={"l1": 2.0}, ema_decay=0.5)
    weight = net.conv.weight.detach().clone()
    losses = objective.step(*batch, 0)
    assert set(losses) == {"content", "generator"}
    assert losses["generator"].item() == pytest.approx(2 * losses["content"].item())
    assert net.calls == 1
    assert not torch.equal(net.conv.weight, weight)
    assert set(objective.rates()) == {"lr_generator"}
    assert objective.ema.updates == 1


def test_the_generator_minimizes_the_weighted_sum(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    objective = adversarial(params, Tiny(), accelerator, losses={"l1": 30.0, "mse": 10.0})
    losses = objective.step(*batch, 0)
    weighted = 30 * losses["l1"] + 10 * losses["mse"]
    assert float(losses["generator"]) == pytest.approx(float(losses["adversarial"] + weighted), rel=1e-5)
    content = ContentObjective(
        Tiny(), params.pretrain.model_copy(update={"losses": {"l1": 1.0, "mse": 2.0}}), LAB, accelerator
    )
    assert set(content.step(*batch, 0)) == {"content", "l1", "mse"}


def test_the_discriminators_step_does_not_touch_the_generator(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    """Without content and adversarial gradients (a blind discriminator) the generator must stay."""
    net = Tiny()
    objective = adversarial(params, net, accelerator, losses={"l1": 0.0})
    for parameter in objective.networks["discriminator"].parameters():
        nn.init.zeros_(parameter)
    before = net.conv.weight.detach().clone()
    objective.step(*batch, 0)
    assert torch.equal(net.conv.weight, before)


def test_the_discriminator_warms_up_alone(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    net = Tiny()
    objective = adversarial(params, net, accelerator, warmup_steps=2)
    before = net.conv.weight.detach().clone()
    judge = next(objective.networks["discriminator"].parameters())
    for number in range(3):
        judged = judge.detach().clone()
        objective.step(*batch, number)
        assert not torch.equal(judge, judged)
        assert torch.equal(net.conv.weight, before) == (number < 2)


def test_clipping_bounds_the_gradient(params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator) -> None:
    net = Tiny()
    objective = ContentObjective(net, params.pretrain.model_copy(update={"clip_norm": 1e-3}), LAB, accelerator)
    objective.step(*batch, 0)
    norm = torch.cat([p.grad.ravel() for p in net.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-2)


def stateful(params: Params) -> AdversarialObjective:
    torch.manual_seed(0)
    block = params.finetune.model_copy(update={"ema_decay": 0.9})
    return AdversarialObjective(Tiny(), Tiny(3), block, LAB, Accelerator(cpu=True))


def steps(objective: AdversarialObjective, first: int, count: int) -> None:
    for number in range(first, first + count):
        torch.manual_seed(number)
        objective.step(torch.randn(2, 1, 8, 8), torch.randn(2, 2, 8, 8), number)


def test_all_that_training_changes_is_in_the_state(params: Params) -> None:
    """Two steps, a state, two steps: the same as four steps, to the last bit."""
    whole, first, second = (stateful(params) for _ in range(3))
    steps(whole, 0, 4)
    steps(first, 0, 2)
    state = first.state_dict()
    tensors = {name: value.clone().contiguous() for name, value in state.items() if isinstance(value, Tensor)}
    second.load_state_dict({**state, **load(save(tensors))})
    steps(second, 2, 2)
    expected, resumed = whole.state_dict(), second.state_dict()
    assert set(expected) == set(resumed)
    for name, value in expected.items():
        assert torch.equal(value, resumed[name]) if isinstance(value, Tensor) else value == resumed[name], name


def test_what_is_missing_from_a_state_is_named(params: Params) -> None:
    objective = stateful(params)
    steps(objective, 0, 1)
    state = {
        name: value.clone() if isinstance(value, Tensor) else value for name, value in objective.state_dict().items()
    }
    for name in ("network.generator.conv.weight", "optimizer.discriminator.0.exp_avg", "ema.conv.bias", "ema_updates"):
        rest = {key: value for key, value in state.items() if key != name}
        with pytest.raises(SavedStateError, match="is not complete") as caught:
            stateful(params).load_state_dict(rest)
        assert name.split(".")[-1] in str(caught.value)
    rest = {key: value for key, value in state.items() if not key.startswith("optimizer.generator.1.")}
    with pytest.raises(SavedStateError, match=r"1 of 4 parameters"):
        stateful(params).load_state_dict(rest)


def test_the_l1_penalty_is_the_sum_of_the_absolute_weights(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    """Its gradient, over that of the content loss: the weight of the penalty times the sign of each weight."""
    gradients, losses = [], []
    for penalty in (0.0, 0.25):
        torch.manual_seed(0)
        net, block = Tiny(), params.pretrain.model_copy(update={"l1_penalty": penalty, "lr": 1e-12})
        size = float(net.conv.weight.detach().abs().sum())
        losses.append(ContentObjective(net, block, LAB, accelerator).step(*batch, 0))
        assert net.conv.weight.grad is not None
        assert net.conv.bias is not None
        assert net.conv.bias.grad is not None
        gradients.append((net.conv.weight.grad, net.conv.bias.grad))
    torch.testing.assert_close(gradients[1][0] - gradients[0][0], 0.25 * net.conv.weight.sign(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[1][1], gradients[0][1])
    assert "l1_penalty" not in losses[0]
    assert float(losses[1]["l1_penalty"]) == pytest.approx(0.25 * size, rel=1e-5)


def test_finetuning_has_the_penalty_too(params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator) -> None:
    losses = adversarial(params, Tiny(), accelerator, l1_penalty=0.5).step(*batch, 0)
    parts = losses["adversarial"] + 100 * losses["content"] + losses["l1_penalty"]
    torch.testing.assert_close(losses["generator"], parts)


def test_normalizations_and_biases_do_not_decay(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    """With gradients of zero, the decay is all that moves a weight."""
    net, block = Tiny(), params.pretrain.model_copy(update={"lr": 0.1, "weight_decay": 0.5, "losses": {"l1": 0.0}})
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    ContentObjective(net, block, LAB, accelerator).step(*batch, 0)
    after = dict(net.named_parameters())
    torch.testing.assert_close(after["conv.weight"], before["conv.weight"] * (1 - 0.1 * 0.5))
    for name in ("conv.bias", "norm.weight", "norm.bias"):
        assert torch.equal(after[name], before[name]), name


@pytest.mark.parametrize("decoder", ["fastai", "halved"])
def test_a_pretrained_encoder_may_learn_slower(params: Params, accelerator: Accelerator, decoder: str) -> None:
    chosen = params.generator.model_copy(update={"decoder": decoder, "max_width": 0})
    generator = build_generator(chosen, LAB, 32, seed=0)
    before = {name: value.detach().clone() for name, value in generator.named_parameters()}
    block = params.pretrain.model_copy(update={"encoder_lr_factor": 0.01, "lr": 1e-3, "weight_decay": 0.0})
    objective = ContentObjective(generator, block, LAB, accelerator)
    objective.set_rates(0, 1)
    rate = objective.rates()["lr_generator"]
    objective.step(*LAB.encode(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)), 0)
    # Adam's first step moves each weight by its rate.
    after = {name: value.detach() for name, value in generator.named_parameters()}
    moved = {name: float((after[name] - before[name]).abs().max()) for name in after}
    inside = {name for name in moved if name.startswith(("layers.0.", "encoder."))}
    assert inside
    assert max(moved[name] for name in inside) == pytest.approx(0.01 * rate, abs=1e-7)
    assert max(moved[name] for name in moved.keys() - inside) == pytest.approx(rate, rel=0.02)


def gradients(objective: ContentObjective | AdversarialObjective) -> list[Tensor]:
    networks = objective.networks.values()
    return [p.grad for network in networks for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_the_gradient_of_parts_is_that_of_the_batch(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator, stage: str
) -> None:
    """But for batch normalization, so that uses its running values here."""
    nets, found = [Tiny(), Tiny()], []
    nets[1].load_state_dict(nets[0].state_dict())
    for net, micro_batch in zip(nets, (0, 2), strict=True):
        changes = {"micro_batch": micro_batch, "l1_penalty": 0.01}
        if stage == "finetune":
            objective: Any = adversarial(params, net, accelerator, **changes)
        else:
            objective = ContentObjective(net, params.pretrain.model_copy(update=changes), LAB, accelerator)
        for module in [m for network in objective.networks.values() for m in network.modules()]:
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        losses = objective.step(*batch, 0)
        found.append((losses, gradients(objective)))
        assert net.calls == (1 if not micro_batch else 2 if stage == "pretrain" else 4)
    (whole, expected), (parts, got) = found
    assert whole.keys() == parts.keys()
    for name, loss in whole.items():
        torch.testing.assert_close(parts[name], loss, rtol=1e-5, atol=1e-6)
    for one, other in zip(expected, got, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_noise_is_drawn_once_for_both_networks_and_anew_for_each_part_and_step(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    drawn: list[float] = []

    class Noisy(Tiny):
        def forward(self, *given: Tensor) -> Tensor:
            drawn.append(float(torch.rand(())))
            return super().forward(*given)

    objective, steps_taken, parts = adversarial(params, Noisy(), accelerator, micro_batch=2), 3, 2
    for number in range(steps_taken):
        torch.manual_seed(100 + number)  # as the trainer does
        objective.step(*batch, number)
    assert len(drawn) == 2 * parts * steps_taken
    assert len(set(drawn)) == parts * steps_taken


def test_a_discriminator_warms_up_in_parts(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    net = Tiny()
    objective = adversarial(params, net, accelerator, micro_batch=2, warmup_steps=1)
    before = net.conv.weight.detach().clone()
    assert set(objective.step(*batch, 0)) == {"discriminator", "adversarial", "content", "generator"}
    assert torch.equal(net.conv.weight, before)
    objective.step(*batch, 1)
    assert not torch.equal(net.conv.weight, before)


def test_a_frozen_encoder_stays_and_then_learns_at_its_own_rate(
    params: Params, batch: tuple[Tensor, Tensor], accelerator: Accelerator
) -> None:
    small = params.generator.model_copy(update={"max_width": 64})
    generator = build_generator(small, LAB, 32, seed=0)
    block = params.pretrain.model_copy(
        update={"epochs": 4, "freeze_epochs": 1, "encoder_lr_factor": 0.1, "schedule": "constant"}
    )
    objective = ContentObjective(generator, block, LAB, accelerator)
    encoder = [p.detach().clone() for p in backbone_parameters(generator)]
    for step, rates in enumerate([{0.0, block.lr}, {0.0, block.lr}, {0.1 * block.lr, block.lr}]):
        objective.set_rates(step, steps=8)
        assert {group["lr"] for group in objective.optimizers["generator"].param_groups} == rates
        objective.step(*batch, step)
        same = [torch.equal(p, before) for p, before in zip(backbone_parameters(generator), encoder, strict=True)]
        assert all(same) == (step < 2)
