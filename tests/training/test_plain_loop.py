"""Fifty steps against the plain loop of the tutorials: contiguous, Adam, the generator run twice a step.

In double precision: with single, Adam turns roundings of tiny gradients into whole steps, and two correct loops part.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.devices import start
from pipeline.models.compact_unet import CompactUnet
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import build_generator
from pipeline.params.schema import Params, Precision
from pipeline.training.objectives import AdversarialObjective, ContentObjective
from tests.helpers import smooth_photos

LAB, STEPS = ColorSpace("lab"), 50


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    for _ in range(STEPS):
        coarse = torch.randint(0, 256, (2, 3, 4, 4), generator=generator).float()
        rgb = F.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 255).to(torch.uint8)
        condition, target = LAB.encode(rgb)
        yield condition.double(), target.double()


def require_close(ours: nn.Module, plain: nn.Module, tolerance: float) -> None:
    for (name, one), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.contiguous(), other, rtol=0.0, atol=tolerance, msg=name)


@pytest.mark.slow
def test_pretraining_is_the_plain_loop(params: Params) -> None:
    torch.manual_seed(0)
    plain = CompactUnet(1, 2).double()
    block = params.pretrain.model_copy(update={"lr": 1e-4, "weight_decay": 0.0})
    objective = ContentObjective(deepcopy(plain), block, LAB, Accelerator(cpu=True, mixed_precision="no"))
    adam = torch.optim.Adam(plain.parameters(), 1e-4)
    for step, (condition, target) in enumerate(batches()):
        ours = objective.step(condition, target, step)["content"]
        loss = F.l1_loss(plain(condition), target)
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert float(ours) == pytest.approx(float(loss), rel=1e-5)
    require_close(objective.unwrapped()["generator"], plain, tolerance=1e-5)


@pytest.mark.slow
def test_finetuning_is_the_plain_loop(params: Params) -> None:
    torch.manual_seed(0)
    plain = CompactUnet(1, 2).double()
    judge = build_discriminator(params.discriminator.model_copy(update={"channels": 8}), LAB, 0).double()
    block = params.finetune.model_copy(update={"schedule": "constant", "ema_decay": 0.0, "lr_generator": 1e-4})
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    objective = AdversarialObjective(deepcopy(plain), deepcopy(judge), block, LAB, accelerator)
    betas = (block.beta1, block.beta2)
    adam_g = torch.optim.Adam(plain.parameters(), 1e-4, betas)
    adam_d = torch.optim.Adam(judge.parameters(), block.lr_discriminator, betas)
    bce = F.binary_cross_entropy_with_logits
    for step, (condition, target) in enumerate(batches()):
        ours = objective.step(condition, target, step)
        fake = plain(condition).detach()
        real_logits, fake_logits = judge(condition, target), judge(condition, fake)
        loss_d = (bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits))) / 2
        adam_d.zero_grad()
        loss_d.backward()
        adam_d.step()
        fake = plain(condition)
        logits = judge(condition, fake)
        loss_g = bce(logits, torch.ones_like(logits)) + 100 * F.l1_loss(fake, target)
        adam_g.zero_grad()
        loss_g.backward()
        adam_g.step()
        assert float(ours["discriminator"]) == pytest.approx(float(loss_d.detach()), rel=1e-3)
        assert float(ours["generator"]) == pytest.approx(float(loss_g.detach()), rel=1e-3)
    require_close(objective.unwrapped()["generator"], plain, tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_step_that_is_timed_learns_what_the_plain_loop_learns(params: Params, precision: Precision) -> None:
    """Batch normalization, channels_last and autocast: fifty steps in fp32 without any of it have the same losses.

    Within 5 %: the plain loop itself, begun with weights that differ by a millionth, is 0.4 % off after fifty steps.
    """
    network = build_generator(params.generator.model_copy(update={"backbone": "resnet18"}), LAB, 64, 0)
    plain = deepcopy(network)
    AcceleratorState._reset_state(reset_partial_state=True)
    block = params.pretrain.model_copy(update={"schedule": "constant", "lr": 1e-4, "weight_decay": 0.0})
    objective = ContentObjective(network, block, LAB, start(params.base.model_copy(update={"precision": precision})))
    adam, losses = torch.optim.Adam(plain.parameters(), 1e-4), []
    for step, (condition, target) in enumerate(smooth_batches(STEPS)):
        ours = objective.step(condition, target, step)["content"]
        loss = F.l1_loss(plain(condition), target)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append((float(ours), float(loss.detach())))
    AcceleratorState._reset_state(reset_partial_state=True)
    ours, theirs = np.array(losses).T
    assert theirs[10:].mean() < 0.5 * theirs[:10].mean(), "it has learnt something"
    assert ours[:10].mean() == pytest.approx(theirs[:10].mean(), rel=0.01)
    assert ours[10:].mean() == pytest.approx(theirs[10:].mean(), rel=0.05)


def smooth_batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What has lightness has its color, too, so that there is something to learn."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        rgb = np.stack(smooth_photos(rng, 8, 64)).astype(np.float32)
        rgb[..., 0], rgb[..., 2] = rgb[..., 1] ** 2 / 255, 255 - rgb[..., 1]
        yield LAB.encode(torch.from_numpy(rgb.astype(np.uint8)).permute(0, 3, 1, 2))
