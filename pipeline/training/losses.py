"""Losses: content losses on colors by their names in params.yaml, and adversarial losses on logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from pipeline.color.constants import AB_SCALE
from pipeline.color.tensors import ColorSpace
from pipeline.errors import ParamsError
from pipeline.models.imagenet_features import ImagenetFeatures
from pipeline.params.schema import AdversarialLoss, part_of
from pipeline.parts import load_part, where

# Lab units of chroma at which a pixel weighs twice as much as a gray one in l1_chromatic.
_TWICE = 20.0
# Directions in the plane of a and b in which color_distribution looks; side of the squares whose means it compares.
# Of every second pixel instead, the network would learn to paint those apart from their neighbors.
_DIRECTIONS, _SQUARE = 8, 2


@dataclass(frozen=True)
class Answer:
    """What a generator gave, beside what it should have given."""

    output: Tensor
    """(N, out_channels, H, W) float32, about [-1, 1]."""
    target: Tensor
    """(N, out_channels, H, W) float32 in [-1, 1]."""
    condition: Tensor
    """(N, in_channels, H, W) float32 in [-1, 1]: what it saw."""
    space: ColorSpace
    saturated: Tensor | None = None
    """The target with more color, which color_distribution takes instead; None: the target itself."""


Loss = Callable[[Answer], Tensor]
"""An answer -> scalar."""


def l1_chromatic(answer: Answer) -> Tensor:
    """L1 whose pixels weigh 1 + C/20, C being their true chroma, Lab units; in each photograph they have a mean of 1.

    A plain stand-in for weights by the inverse frequency of a color (Zhang et al. 2016): rare colors are the chromatic
    ones.
    """
    weights = 1 + torch.linalg.vector_norm(answer.space.ab(answer.target), dim=1, keepdim=True) / _TWICE
    weighted: Tensor = (answer.output - answer.target).abs() * (weights / weights.mean((2, 3), keepdim=True))
    return weighted.mean()


def color_distribution(answer: Answer) -> Tensor:
    """How far the colors of a photograph are from the true ones, wherever in it they are.

    The sliced Wasserstein distance (Bonneel et al. 2015) of its ab: the mean over 8 directions of that between the
    values along each, which is what is left of L1 once both are sorted. Where L1 cannot tell which of two petals is
    the red one it paints both brown; this asks for as much red as there is. Measured on the means of 2x2 pixels.
    How much red there is cannot always be told, either; what it teaches then is the median of what may be there, which
    is pale. finetune.target_saturation is for that (docs/results/experiments.md).
    """
    angles = torch.arange(_DIRECTIONS, device=answer.output.device) * (math.pi / _DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()], 1)

    def along(colors: Tensor) -> Tensor:
        ab = F.avg_pool2d(answer.space.ab(colors) / AB_SCALE, _SQUARE).flatten(2)
        return (directions @ ab).sort(dim=2).values

    target = answer.target if answer.saturated is None else answer.saturated
    return F.l1_loss(along(answer.output), along(target))


LOSSES: dict[str, Loss] = {
    "l1": lambda answer: F.l1_loss(answer.output, answer.target),
    "mse": lambda answer: F.mse_loss(answer.output, answer.target),
    # Quadratic within one Lab unit: with torch's beta of 1 it would be half of mse everywhere.
    "smooth_l1": lambda answer: F.smooth_l1_loss(answer.output, answer.target, beta=1 / AB_SCALE),
    "l1_chromatic": l1_chromatic,
    "color_distribution": color_distribution,
}
"""Those without a network of their own: all but feature_lite0."""


class FeatureLoss:
    """How differently an ImageNet classifier sees the colors given and the true ones, on the lightness given.

    Features of EfficientNet-Lite0 at 1/4, 1/8 and 1/16 of the picture, each position of length 1: the mean of their
    squared distances, 0 to 4 (after Johnson et al. 2016, and the normalization of Zhang et al. 2018).

    Raises:
        WeightsError: the weights' package is not installed.
    """

    def __init__(self, accelerator: Accelerator):
        features = ImagenetFeatures(levels=(1, 2, 3), wanted_by="the loss feature_lite0").requires_grad_(False)
        self._features = accelerator.prepare_model(features, evaluation_mode=True)

    def __call__(self, answer: Answer) -> Tensor:
        given = self._features(answer.space.decode(answer.condition, answer.output))
        with torch.no_grad():
            true = self._features(answer.space.decode(answer.condition, answer.target))
        distances = [(one.float() - other.float()).square().sum(1) for one, other in zip(given, true, strict=True)]
        return torch.stack([distance.mean() for distance in distances]).mean()


class ContentLoss:
    """The weighted mean of one or several losses; times `weight` it is their weighted sum.

    The mean is what history.csv shows: its size does not depend on how large the weights are.
    """

    def __init__(self, weights: Mapping[str, float], accelerator: Accelerator):
        self.weight = sum(weights.values())
        # Without any weight the losses are still shown.
        counted = {name: weight for name, weight in weights.items() if weight} or dict.fromkeys(weights, 1.0)
        self._shares = {name: weight / sum(counted.values()) for name, weight in counted.items()}
        self._losses = {
            name: FeatureLoss(accelerator) if name == "feature_lite0" else content_loss(name) for name in counted
        }

    def __call__(self, answer: Answer) -> dict[str, Tensor]:
        """`content`, the mean; and each loss by its name, where there are several."""
        losses: dict[str, Tensor] = {name: loss(answer) for name, loss in self._losses.items()}
        mean = torch.stack([share * losses[name] for name, share in self._shares.items()]).sum()
        if answer.output.requires_grad and not mean.requires_grad:
            raise ParamsError(f"losses: {', '.join(losses)} have no gradient, so nothing learns: use torch's functions")
        return {"content": mean, **(losses if len(losses) > 1 else {})}


def content_loss(name: str) -> Loss:
    """Return a loss without a network of its own, or a part of one's own.

    What a part returns is checked at each step: a tensor of another shape would be added up in silence.

    Raises:
        ParamsError: a part cannot be used.
    """
    part = part_of("losses", name)
    if not part:
        return LOSSES[name]
    function = load_part("losses", part, "answer")

    def loss(answer: Answer) -> Tensor:
        try:
            found: Tensor = function(answer)
        except RuntimeError:  # torch's, some of which have a sentence of their own
            raise
        except Exception as error:  # what somebody else's function may raise is anything
            raise ParamsError(f"losses: {name} fails: {where(error, function)}") from error
        if not isinstance(found, Tensor) or found.dim() or not found.is_floating_point():
            given = f"a {found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
            raise ParamsError(f"losses: {name} must return a floating-point tensor without dimensions; got {given}")
        return found

    return loss


def has_gradient(name: str, space: ColorSpace, size: int) -> bool:
    """Try a loss of one's own on noise; return whether something learns from it.

    Raises:
        ParamsError: it cannot be used.
    """
    output, target, condition = (
        torch.rand(2, channels, size, size) * 2 - 1
        for channels in (space.out_channels, space.out_channels, space.in_channels)
    )
    try:
        return content_loss(name)(Answer(output.requires_grad_(), target, condition, space)).requires_grad
    except RuntimeError as error:
        raise ParamsError(f"losses: {name} fails: {' '.join(str(error).split())[:300]}") from error


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
