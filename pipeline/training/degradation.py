"""The input of an old photograph: other films, faded prints, blur and grain, made from a color photograph.

Colorizers that have only seen the clean L* of modern photographs fail on scans of old ones (Wan et al. 2020, "Bringing
Old Photos Back to Life", degrade their input likewise). Only what the generator sees is changed; the colors that it
should give are the true ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.color.tensors import ColorSpace, linear_rgb, luminance_to_lightness

# Red, green and blue light as the eye weighs them (IEC 61966-2-1), and as plates without dyes do, which blacken by
# blue light alone. Orthochromatic film lies between them, panchromatic film near the first.
_EYE, _PLATE = (0.2126, 0.7152, 0.0722), (0.0, 0.15, 0.85)
# The darkest and the lightest gray of a faded print, L*, at the worst; and the range of its contrast curve.
_DARKEST, _LIGHTEST, _GAMMA = 25.0, 75.0, (0.6, 1.6)
# The strongest blur (standard deviation, pixels of the training size) and grain (standard deviation, L*).
_BLUR, _GRAIN = 1.5, 6.0


@dataclass(frozen=True)
class Damage:
    """What is drawn for each of N photographs, on the CPU, so that any device sees the same."""

    strengths: Tensor
    """(7, N, 1, 1, 1) in [0, 1): whether it is damaged at all, film, black, white, contrast, blur, grain."""
    noise: Tensor
    """(N, 1, H, W), the grain, with a standard deviation of 1."""

    @classmethod
    def draw(cls, seeds: Sequence[int], size: tuple[int, int]) -> Damage:
        """From a seed for each photograph; `size` is (H, W)."""
        randoms = [torch.Generator().manual_seed(seed) for seed in seeds]
        strengths = torch.stack([torch.rand(7, generator=random) for random in randoms], 1)
        noise = torch.stack([torch.randn(1, *size, generator=random) for random in randoms])
        return cls(strengths.view(7, -1, 1, 1, 1), noise)


def damage_seeds(seed: int, step: int, places: range) -> list[int]:
    """Of the photographs at these places in the batch of a step, whichever process they are for."""
    sequences = (np.random.SeedSequence([seed, step, place]) for place in places)
    return [int(sequence.generate_state(1)[0]) for sequence in sequences]


def degraded(condition: Tensor, rgb: Tensor, space: ColorSpace, share: float, damage: Damage) -> Tensor:
    """Return the condition, with that of an old photograph for a share of the photographs.

    Args:
        condition: (N, in_channels, H, W) in [-1, 1], that of the clean photographs.
        rgb: (N, 3, H, W) uint8 sRGB.
        share: probability for each of them.
        damage: drawn for these N.
    """
    chosen, film, black, white, curve, blur, grain = damage.strengths.to(rgb.device)
    noise = damage.noise.to(rgb.device)
    eye, plate = (torch.tensor(weights, device=rgb.device).view(1, 3, 1, 1) for weights in (_EYE, _PLATE))
    lightness = luminance_to_lightness((linear_rgb(rgb) * torch.lerp(eye, plate, film)).sum(1, keepdim=True))
    low, high = _DARKEST * black, 100 - (100 - _LIGHTEST) * white
    gamma = _GAMMA[0] + (_GAMMA[1] - _GAMMA[0]) * curve
    faded = low + (high - low) * (lightness.clamp(0, 100) / 100) ** gamma
    old = torch.lerp(faded, _blurred(faded), blur) + noise * _GRAIN * grain
    return torch.where(chosen < share, space.condition(old.clamp(0, 100)), condition)


def _blurred(lightness: Tensor) -> Tensor:
    """By a Gaussian of the strongest blur: (N, 1, H, W) -> the same shape."""
    reach = int(3 * _BLUR)
    distance = torch.arange(-reach, reach + 1, device=lightness.device, dtype=lightness.dtype)
    kernel = torch.exp(-((distance / _BLUR) ** 2) / 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(lightness, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
