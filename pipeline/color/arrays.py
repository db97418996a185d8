"""Photographs as NumPy arrays in L*a*b*, for coloring without torch.

The same colors as in pipeline.color.tensors (sRGB, D65, 2 degree observer), which the networks are trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.color.constants import EPSILON, OFFSET, SLOPE, WHITE, XYZ_FROM_RGB
from pipeline.types import Floats, Samples

_THRESHOLD = EPSILON ** (1 / 3)
_RGB_FROM_XYZ = np.linalg.inv(np.array(XYZ_FROM_RGB))
# White itself is 1.00001 by the rounded digits of the matrix: clipping so little moves L* by less than 0.005.
_LOWEST, _HIGHEST = -1e-6, 1 + 1e-4
# Halvings of the chroma's factor: to 1 / 4096.
_HALVINGS = 12


def lightness(pixels: Samples) -> Floats:
    """(H, W) gray or (H, W, 3) sRGB, uint8 or uint16 -> (H, W) L* in [0, 100]."""
    curve = _linear_light(pixels.dtype.itemsize * 8)
    if pixels.ndim == 2 or _is_gray(pixels):
        return _lightness_of(curve)[pixels if pixels.ndim == 2 else pixels[..., 0]]
    red, green, blue = (np.float32(weight) for weight in XYZ_FROM_RGB[1])
    luminance = red * curve[pixels[..., 0]] + green * curve[pixels[..., 1]] + blue * curve[pixels[..., 2]]
    return _lightness_of(luminance)


def _is_gray(pixels: Samples) -> bool:
    return all(np.array_equal(pixels[..., 0], pixels[..., other]) for other in (1, 2))


def gray_level(light: Floats) -> Floats:
    """Return the sRGB value in [0, 1] of a gray of this L*."""
    y = (light + np.float32(16)) / np.float32(116)
    level: Floats = _srgb_curve(_f_inverse(y).clip(0, 1)).astype(np.float32)
    return level


def chromaticity(rgb: Floats) -> Floats:
    """(3, H, W) sRGB in [0, 1] -> (2, H, W) a* and b*."""
    linear = np.where(rgb > 0.04045, ((np.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    ratios = (np.array(XYZ_FROM_RGB) / np.array(WHITE)[:, None]).astype(np.float32)
    x, y, z = _f(np.tensordot(ratios, linear.astype(np.float32), 1))
    return np.stack([500 * (x - y), 200 * (y - z)])


def colored(light: Floats, ab: Floats, bits: int = 8) -> Samples:
    """Join lightness and color; where the color leaves the sRGB gamut its chroma gives way, not the lightness.

    Args:
        light: (H, W) L* in [0, 100].
        ab: (2, H, W) a* and b*.
        bits: 8 or 16.

    Returns:
        (H, W, 3) uint8 or uint16 sRGB of the same lightness, hue as asked, and all the chroma that fits.
    """
    linear = _linear_rgb(light, ab[0], ab[1])
    outside = ~_fits(linear)
    if outside.any():
        linear[:, outside] = _within_gamut(light[outside], ab[:, outside])
    rgb = np.empty((*light.shape, 3), np.uint8 if bits == 8 else np.uint16)
    for channel, plane in enumerate(linear):
        rgb[..., channel] = _encode(plane, bits)
    return rgb


def _within_gamut(light: Floats, ab: Floats) -> Floats:
    """Return the colors of (P,) lightnesses with as much of (2, P) chroma as sRGB holds: (3, P) linear RGB."""
    low, high = np.zeros_like(light), np.ones_like(light)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        linear = _linear_rgb(light, ab[0] * middle, ab[1] * middle)
        fits = _fits(linear)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return _linear_rgb(light, ab[0] * low, ab[1] * low)


def _fits(linear: Floats) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (linear.min(0) >= _LOWEST) & (linear.max(0) <= _HIGHEST)
    return inside


def _linear_rgb(light: Floats, a: Floats, b: Floats) -> Floats:
    y = (light + np.float32(16)) / np.float32(116)
    x, y, z = (
        _f_inverse(f) * np.float32(white)
        for f, white in zip((y + a / np.float32(500), y, y - b / np.float32(200)), WHITE, strict=True)
    )
    rows = _RGB_FROM_XYZ.astype(np.float32)
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in rows])


def _f(ratio: Floats) -> Floats:
    return np.where(ratio > EPSILON, np.cbrt(ratio), np.float32(SLOPE) * ratio + np.float32(OFFSET))


def _f_inverse(f: Floats) -> Floats:
    return np.where(f > _THRESHOLD, f * f * f, (f - np.float32(OFFSET)) / np.float32(SLOPE))


def _lightness_of(luminance: Floats) -> Floats:
    return np.float32(116) * _f(luminance) - np.float32(16)


def _encode(linear: Floats, bits: int) -> Samples:
    """Linear light -> sRGB samples, rounded; below 0 and above 1 is clipped."""
    clipped = linear.clip(0, 1)
    if bits == 8:
        codes: Samples = _codes()[(clipped * np.float32(65535) + np.float32(0.5)).astype(np.uint16)]
        return codes
    samples: Samples = (_srgb_curve(clipped) * np.float32(65535) + np.float32(0.5)).astype(np.uint16)
    return samples


@lru_cache(maxsize=1)
def _codes() -> Samples:
    """Return the 8-bit code of each 65,536th of linear light: near black a code is 20 of them."""
    codes: Samples = (_srgb_curve(np.arange(65536) / 65535) * 255).round().astype(np.uint8)
    return codes


@lru_cache(maxsize=2)
def _linear_light(bits: int) -> Floats:
    """Linear light of each code: a table is much faster than powers."""
    encoded = np.arange(2**bits) / (2**bits - 1)
    curve: Floats = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92).astype(np.float32)
    return curve


def _srgb_curve(linear: Any) -> Any:
    return np.where(linear > 0.0031308, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def window_mean(plane: Floats, radius: int) -> Floats:
    """Average a window of 2 * radius + 1 pixels around each pixel: (H, W) -> (H, W) float32. Beyond the rim it repeats.

    Not by SciPy, which would make what a colorizer installs half as large again.
    """
    side, (height, width) = 2 * radius + 1, plane.shape
    padded = np.pad(plane, radius, "edge")
    columns = _sum([padded[first : first + height] for first in range(side)])
    return _sum([columns[:, first : first + width] for first in range(side)]) / np.float32(side * side)


def _sum(planes: Sequence[Floats]) -> Floats:
    total = planes[0].copy()
    for plane in planes[1:]:
        total += plane
    return total
