"""Fifty steps against the plain loop of the tutorials: contiguous, Adam, the generator run twice a step.

In double precision: with single, Adam turns roundings of tiny gradients into whole steps, and two correct loops part.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.models.compact_unet import CompactUnet
from pipeline.models.discriminators import build_discriminator
from pipeline.params import Params
from pipeline.training.objectives import AdversarialObjective, ContentObjective

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
