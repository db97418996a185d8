from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from pipeline.color.tensors import ColorSpace
from pipeline.params import AdversarialLoss, LossName
from pipeline.training.losses import LOSSES, ContentLoss, discriminator_loss, generator_loss

KINDS = get_args(AdversarialLoss)


def logits(value: float) -> torch.Tensor:
    return torch.full((2, 1, 6, 6), float(value), requires_grad=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_discriminator_is_rewarded_for_telling_them_apart(kind: AdversarialLoss) -> None:
    right = discriminator_loss(kind, logits(1), logits(-1 if kind != "lsgan" else 0))
    unsure = discriminator_loss(kind, logits(0.5), logits(0.5))
    wrong = discriminator_loss(kind, logits(-1), logits(1))
    assert right < unsure < wrong


@pytest.mark.parametrize("kind", KINDS)
def test_signs_of_the_gradients(kind: AdversarialLoss) -> None:
    real, fake = logits(0), logits(0.1)
    discriminator_loss(kind, real, fake).backward()  # type: ignore[no-untyped-call]
    assert (real.grad < 0).all()  # type: ignore[operator]
    assert (fake.grad > 0).all()  # type: ignore[operator]
    fooling = logits(0)
    generator_loss(kind, fooling).backward()  # type: ignore[no-untyped-call]
    assert (fooling.grad < 0).all()  # type: ignore[operator]


def test_values_by_hand() -> None:
    assert discriminator_loss("bce", logits(0), logits(0)).item() == pytest.approx(math.log(2))
    assert generator_loss("bce", logits(0)).item() == pytest.approx(math.log(2))
    assert discriminator_loss("lsgan", logits(3), logits(1)).item() == pytest.approx((4 + 1) / 2)
    assert generator_loss("lsgan", logits(-1)).item() == pytest.approx(4)
    assert discriminator_loss("hinge", logits(2), logits(0.5)).item() == pytest.approx(1.5 / 2)
    assert generator_loss("hinge", logits(2)).item() == pytest.approx(-2)


def test_content_losses_by_hand() -> None:
    output, target = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 1.0])
    values = {name: loss(output, target, ColorSpace("lab")).item() for name, loss in LOSSES.items()}
    # Far from the truth smooth_l1 is l1 less half of its beta, one Lab unit; within it, it is quadratic.
    assert values == pytest.approx({"l1": 1.25, "mse": 2.125, "smooth_l1": 1.25 - 0.5 / 110})
    near = LOSSES["smooth_l1"](torch.tensor([0.5 / 110]), torch.zeros(1), ColorSpace("lab")).item()
    assert near == pytest.approx(0.5 * (0.5 / 110) ** 2 * 110)


def test_the_table_has_every_loss_of_the_schema() -> None:
    assert set(LOSSES) == set(get_args(LossName))


def test_losses_add_up_by_their_weights() -> None:
    output, target = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 1.0])
    content = ContentLoss({"l1": 3.0, "mse": 1.0, "smooth_l1": 0.0}, ColorSpace("lab"))
    losses = content(output, target)
    assert set(losses) == {"content", "l1", "mse"}
    assert content.weight * losses["content"].item() == pytest.approx(3 * 1.25 + 2.125)
    alone = ContentLoss({"l1": 100.0}, ColorSpace("lab"))
    assert {name: value.item() for name, value in alone(output, target).items()} == {"content": 1.25}
    assert alone.weight == 100
    unweighted = ContentLoss({"l1": 0.0}, ColorSpace("lab"))
    assert unweighted.weight == 0
    assert unweighted(output, target)["content"].item() == 1.25
