"""Photographs as tensors in L*a*b* and RGB, and what a generator sees of them.

sRGB (IEC 61966-2-1), D65, 2 degree observer, as skimage.color.rgb2lab: L in [0, 100]; a and b of sRGB
colors lie in [-110, 110]. Networks see L / 50 - 1 and ab / 110, both within [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pipeline.color.constants import AB_SCALE, EPSILON, OFFSET, SLOPE, WHITE, XYZ_FROM_RGB, ColorSpaceName


@dataclass(frozen=True)
class ColorSpace:
    """What a generator takes and gives."""

    name: ColorSpaceName

    @property
    def in_channels(self) -> int:
        return 1 if self.name == "lab" else 3

    @property
    def out_channels(self) -> int:
        return 2 if self.name == "lab" else 3

    def encode(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Split photographs into what the generator sees and what it should give.

        Args:
            rgb: (N, 3, H, W) uint8 sRGB.

        Returns:
            condition: (N, in_channels, H, W) float32 in [-1, 1]: L, or the gray image three times.
            target: (N, out_channels, H, W) float32 in [-1, 1]: ab / 110, or RGB.
        """
        lab = rgb_to_lab(rgb)
        target = lab[:, 1:] / AB_SCALE if self.name == "lab" else rgb.float() / 127.5 - 1
        return self.condition(lab[:, :1]), target

    def condition(self, lightness: Tensor) -> Tensor:
        """Return what the generator sees of L*, (N, 1, H, W) in [0, 100]: (N, in_channels, H, W) float32 in [-1, 1]."""
        if self.name == "lab":
            return lightness / 50 - 1
        gray = lab_to_rgb(torch.cat([lightness, torch.zeros_like(lightness).repeat(1, 2, 1, 1)], 1))
        return gray * 2 - 1

    def decode(self, condition: Tensor, output: Tensor) -> Tensor:
        """Colors on screen: (N, 3, H, W) float32 sRGB in [0, 1], clipped to the gamut."""
        if self.name == "lab":
            lightness = (condition + 1) * 50
            return lab_to_rgb(torch.cat([lightness, output * AB_SCALE], 1))
        return ((output + 1) / 2).clamp(0, 1)

    def saturated(self, target: Tensor, factor: float) -> Tensor:
        """Return the target with a and b times a factor; that of RGB is clipped to the gamut."""
        if factor == 1:
            return target
        if self.name == "lab":
            return target * factor
        lab = rgb_to_lab((target + 1) * 127.5)
        return lab_to_rgb(torch.cat([lab[:, :1], lab[:, 1:] * factor], 1)) * 2 - 1

    def ab(self, output: Tensor) -> Tensor:
        """Return the generator's answer as (N, 2, H, W) a and b in Lab units, not clipped to the gamut."""
        if self.name == "lab":
            return output * AB_SCALE
        return rgb_to_lab(((output + 1) * 127.5).clamp(0, 255))[:, 1:]


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) sRGB, uint8 or float in [0, 255] -> (N, 3, H, W) float32 L*a*b*."""
    linear = linear_rgb(rgb)
    xyz = torch.einsum("xc,nchw->nxhw", _to_xyz(rgb.device), linear)
    f = torch.where(xyz > EPSILON, xyz.clamp(min=EPSILON) ** (1 / 3), SLOPE * xyz + OFFSET)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """(N, 3, H, W) L*a*b* -> (N, 3, H, W) float32 sRGB in [0, 1]; colors outside the gamut are clipped."""
    y = (lab[:, 0] + 16) / 116
    # z is clipped at 0 as in skimage, the oracle: far outside the gamut some clipping must be chosen.
    f = torch.stack([y + lab[:, 1] / 500, y, (y - lab[:, 2] / 200).clamp(min=0)], 1)
    threshold = EPSILON ** (1 / 3)
    xyz = torch.where(f > threshold, f**3, (f - OFFSET) / SLOPE)
    matrix, white = _from_xyz(lab.device)
    linear = torch.einsum("cx,nxhw->nchw", matrix, xyz * white[:, None, None]).clamp(min=0)
    encoded = torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return encoded.clamp(0, 1)


def to_uint8(rgb: Tensor) -> Tensor:
    """Float in [0, 1] -> uint8, rounded."""
    return (rgb * 255).round().to(torch.uint8)


def luminance_to_lightness(luminance: Tensor) -> Tensor:
    """Luminance relative to white, 0 to 1 -> L*, 0 to 100."""
    f = torch.where(luminance > EPSILON, luminance.clamp(min=EPSILON) ** (1 / 3), SLOPE * luminance + OFFSET)
    return 116 * f - 16


def linear_rgb(rgb: Tensor) -> Tensor:
    """sRGB, uint8 or float in [0, 255] -> linear light, float32 in [0, 1]."""
    # take, since indexing with [] is more than twice as slow on a CPU.
    return torch.take(_curve(rgb.device), rgb.long()) if rgb.dtype == torch.uint8 else _linear(rgb / 255)


def _linear(encoded: Tensor) -> Tensor:
    return torch.where(encoded > 0.04045, ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, encoded / 12.92)


# Made once for each device: copying a matrix to a GPU at every step would make the CPU wait for it.
@lru_cache(maxsize=4)
def _to_xyz(device: torch.device) -> Tensor:
    return torch.tensor(XYZ_FROM_RGB, device=device) / torch.tensor(WHITE, device=device)[:, None]


@lru_cache(maxsize=4)
def _from_xyz(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the matrix from XYZ to linear RGB, and the white point."""
    matrix = torch.linalg.inv(torch.tensor(XYZ_FROM_RGB, dtype=torch.float64)).float()
    return matrix.to(device), torch.tensor(WHITE, device=device)


@lru_cache(maxsize=4)
def _curve(device: torch.device) -> Tensor:
    """Return the 256 values of the sRGB curve: looking them up is much faster than computing powers."""
    return _linear(torch.arange(256, dtype=torch.float64) / 255).float().to(device)
