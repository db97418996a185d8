"""Losses: content losses on colors by their names in params.yaml, and adversarial losses on logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.color.constants import AB_SCALE
from pipeline.color.tensors import ColorSpace
from pipeline.params import AdversarialLoss, LossName

Loss = Callable[[Tensor, Tensor, ColorSpace], Tensor]
"""(output, target, color space) -> scalar; both are (N, out_channels, H, W) float32 in [-1, 1]."""

LOSSES: dict[LossName, Loss] = {
    "l1": lambda output, target, _space: F.l1_loss(output, target),
    "mse": lambda output, target, _space: F.mse_loss(output, target),
    # Quadratic within one Lab unit: with torch's beta of 1 it would be half of mse everywhere.
    "smooth_l1": lambda output, target, _space: F.smooth_l1_loss(output, target, beta=1 / AB_SCALE),
}


class ContentLoss:
    """The weighted mean of one or several losses; times `weight` it is their weighted sum.

    The mean is what history.csv shows: its size does not depend on how large the weights are.
    """

    def __init__(self, weights: Mapping[LossName, float], space: ColorSpace):
        self.weight = sum(weights.values())
        self._space = space
        # Without any weight the losses are still shown.
        counted = {name: weight for name, weight in weights.items() if weight} or dict.fromkeys(weights, 1.0)
        self._shares = {name: weight / sum(counted.values()) for name, weight in counted.items()}

    def __call__(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`content`, the mean; and each loss by its name, where there are several."""
        losses: dict[str, Tensor] = {name: LOSSES[name](output, target, self._space) for name in self._shares}
        mean = torch.stack([share * losses[name] for name, share in self._shares.items()]).sum()
        return {"content": mean, **(losses if len(losses) > 1 else {})}


def discriminator_loss(kind: AdversarialLoss, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of the losses on real and fake logits; low where real is judged real and fake fake.

    bce: Goodfellow et al. 2014, on logits. lsgan: Mao et al. 2017, targets 1 and 0. hinge: Lim and Ye 2017.
    """
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return (_match(kind, real, 1.0) + _match(kind, fake, 0.0)) / 2


def generator_loss(kind: AdversarialLoss, fake: Tensor) -> Tensor:
    """Low where the discriminator takes the fake for real (the non-saturating form for bce)."""
    return -fake.mean() if kind == "hinge" else _match(kind, fake, 1.0)


def _match(kind: AdversarialLoss, logits: Tensor, label: float) -> Tensor:
    labels = torch.full_like(logits, label)
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, labels)
    return F.mse_loss(logits, labels)
