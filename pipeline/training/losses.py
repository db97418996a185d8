"""Content losses on colors, adversarial losses on logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.params import AdversarialLoss, ContentLoss

Loss = Callable[[Tensor, Tensor], Tensor]

CONTENT: dict[ContentLoss, Loss] = {"l1": F.l1_loss, "mse": F.mse_loss, "smooth_l1": F.smooth_l1_loss}


def discriminator_loss(kind: AdversarialLoss, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of the losses on real and fake logits; low when real is judged real and fake fake.

    bce: Goodfellow et al. 2014, on logits. lsgan: Mao et al. 2017, targets 1 and 0. hinge: Lim and Ye 2017.
    """
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return (_match(kind, real, 1.0) + _match(kind, fake, 0.0)) / 2


def generator_loss(kind: AdversarialLoss, fake: Tensor) -> Tensor:
    """Low when the discriminator takes the fake for real (the non-saturating form for bce)."""
    return -fake.mean() if kind == "hinge" else _match(kind, fake, 1.0)


def _match(kind: AdversarialLoss, logits: Tensor, target: float) -> Tensor:
    wanted = torch.full_like(logits, target)
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, wanted)
    return F.mse_loss(logits, wanted)
