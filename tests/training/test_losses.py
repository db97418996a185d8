from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from scipy.stats import wasserstein_distance
from skimage.data import chelsea, coffee
from skimage.transform import resize

from pipeline.color.tensors import ColorSpace
from pipeline.params.schema import AdversarialLoss, LossName
from pipeline.training.losses import LOSSES, Answer, ContentLoss, discriminator_loss, generator_loss

KINDS = [kind for kind in get_args(AdversarialLoss) if kind != "none"]


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


def answer(output: torch.Tensor, target: torch.Tensor) -> Answer:
    return Answer(output, target, torch.zeros(1, 1, *output.shape[2:]), ColorSpace("lab"))


def pixels(*values: float) -> torch.Tensor:
    """(1, 2, 1, N): pixels whose a is given and whose b is 0."""
    return torch.stack([torch.tensor(values), torch.zeros(len(values))])[None, :, None]


def test_content_losses_by_hand() -> None:
    output, target = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 1.0])
    values = {name: LOSSES[name](answer(output, target)).item() for name in ("l1", "mse", "smooth_l1")}  # type: ignore[index]
    # Far from the truth smooth_l1 is l1 less half of its beta, one Lab unit; within it, it is quadratic.
    assert values == pytest.approx({"l1": 1.25, "mse": 2.125, "smooth_l1": 1.25 - 0.5 / 110})
    near = LOSSES["smooth_l1"](answer(torch.tensor([0.5 / 110]), torch.zeros(1))).item()
    assert near == pytest.approx(0.5 * (0.5 / 110) ** 2 * 110)
    # A gray pixel and one of chroma 60: weights of 1 and 4, before their mean is made 1. Half of the values are b.
    gray_is_wrong = LOSSES["l1_chromatic"](answer(pixels(0.1, 60 / 110), pixels(0, 60 / 110))).item()
    color_is_wrong = LOSSES["l1_chromatic"](answer(pixels(0, 60 / 110 + 0.1), pixels(0, 60 / 110))).item()
    assert gray_is_wrong == pytest.approx(0.1 * (1 / 2.5) / 4, rel=1e-4)
    assert color_is_wrong == pytest.approx(0.1 * (4 / 2.5) / 4, rel=1e-4)


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_batch_costs_the_mean_of_its_photographs(name: LossName, rng: np.random.Generator) -> None:
    """Else processes that share a batch would learn something else than one with all of it."""
    output, target = (torch.from_numpy(rng.normal(0, scale, (2, 2, 8, 8)).astype(np.float32)) for scale in (0.2, 0.5))
    target[1] /= 9
    each = [LOSSES[name](answer(output[[i]], target[[i]])).item() for i in range(2)]
    assert LOSSES[name](answer(output, target)).item() == pytest.approx(np.mean(each), rel=1e-5)


def test_the_distance_between_color_distributions_is_scipys(rng: np.random.Generator) -> None:
    """Of each photograph by itself, along 8 directions; and where in it a color is does not matter."""
    output, target = (rng.normal(0, scale, (2, 2, 10, 10)).astype(np.float32) for scale in (0.2, 0.5))
    # Means of 2x2 pixels.
    squares = (array.reshape(2, 2, 5, 2, 5, 2).mean((3, 5)).reshape(2, 2, -1) for array in (output, target))
    distances = [
        wasserstein_distance(*(np.array([np.cos(angle), np.sin(angle)]) @ ab for ab in pair))
        for pair in zip(*squares, strict=True)
        for angle in np.arange(8) * np.pi / 8
    ]
    loss = LOSSES["color_distribution"]
    assert loss(answer(*map(torch.from_numpy, (output, target)))).item() == pytest.approx(np.mean(distances), rel=1e-4)
    more = replace(
        answer(*map(torch.from_numpy, (output, target))), saturated=torch.from_numpy(target * np.float32(1.5))
    )
    same = answer(*map(torch.from_numpy, (output, target * np.float32(1.5))))
    assert loss(more).item() == pytest.approx(loss(same).item(), rel=1e-5), "the truth, with more color"
    moved = torch.from_numpy(np.roll(target, 4, axis=3))
    assert loss(answer(moved, torch.from_numpy(target))).item() == pytest.approx(0, abs=1e-6)
    # Of two gray photographs whose true colors are opposite, both are wrong.
    red = torch.full((1, 2, 8, 8), 0.5)
    assert loss(answer(torch.zeros(2, 2, 8, 8), torch.cat([red, -red]))).item() > 0.1


def test_the_feature_loss_is_lower_for_the_right_colors() -> None:
    """Of photographs, which the classifier knows: a cat and a cup of coffee."""
    rows = [resize(rgb, (128, 128), anti_aliasing=True) for rgb in (chelsea(), coffee())]
    rgb = (torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2) * 255).to(torch.uint8)
    condition, target = ColorSpace("lab").encode(rgb)
    content = ContentLoss({"feature_lite0": 1.0}, Accelerator(cpu=True))

    def loss(output: torch.Tensor) -> torch.Tensor:
        return content(Answer(output, target, condition, ColorSpace("lab")))["content"]

    right, half, gray, wrong = (loss(target * factor).item() for factor in (1.0, 0.5, 0.0, -1.0))
    assert right == pytest.approx(0, abs=1e-6)
    assert right < half < gray < wrong < 4
    output = torch.zeros_like(target, requires_grad=True)
    loss(output).backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert loss(-0.005 * output.grad / output.grad.abs().max()).item() < gray


def test_the_table_has_every_loss_of_the_schema() -> None:
    assert {*LOSSES, "feature_lite0"} == set(get_args(LossName))


def test_losses_add_up_by_their_weights() -> None:
    output, target = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 1.0])
    content = ContentLoss({"l1": 3.0, "mse": 1.0, "smooth_l1": 0.0}, Accelerator(cpu=True))
    losses = content(answer(output, target))
    assert set(losses) == {"content", "l1", "mse"}
    assert content.weight * losses["content"].item() == pytest.approx(3 * 1.25 + 2.125)
    alone = ContentLoss({"l1": 100.0}, Accelerator(cpu=True))
    assert {name: value.item() for name, value in alone(answer(output, target)).items()} == {"content": 1.25}
    assert alone.weight == 100
    unweighted = ContentLoss({"l1": 0.0}, Accelerator(cpu=True))
    assert unweighted.weight == 0
    assert unweighted(answer(output, target))["content"].item() == 1.25
