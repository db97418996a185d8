"""Enlarge the color of a small copy to full size along the edges of the full lightness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.color.arrays import window_mean
from pipeline.types import Floats

# Window of 2 * RADIUS + 1 small pixels, and the variance of L* at which a slope is halved: the best values in
# benchmarks/upsampling.py, on photographs whose true color is known.
RADIUS, EPSILON = 1, 256.0


@dataclass(frozen=True)
class GuidedColor:
    """The small color, interpolated, and corrected by the details of the full lightness.

    As in the guided filter (He, Sun & Tang 2013, https://doi.org/10.1109/TPAMI.2012.213), ab is taken to be locally
    linear in L; `slope` holds at each small pixel how a and b change with L in the window around it. Unlike there,
    the small color itself is not smoothed: only details that the small copy has lost are turned into color, so that
    an edge of the lightness sharpens the color across it.
    """

    ab: Floats
    """(2, h, w)"""
    slope: Floats
    """(2, h, w): change of a and b with L."""
    light: Floats
    """(h, w) L* of the small copy."""

    @classmethod
    def fit(cls, light: Floats, ab: Floats, radius: int = RADIUS, epsilon: float = EPSILON) -> GuidedColor:
        """light: (h, w) L*; ab: (2, h, w), at the same small size."""

        def mean(plane: Floats) -> Floats:
            return window_mean(plane, radius)

        middle = mean(light)
        variance = mean(light * light) - middle * middle
        slopes = [(mean(light * channel) - middle * mean(channel)) / (variance + epsilon) for channel in ab]
        return cls(ab, np.stack(slopes), light)

    def rows(self, light: Floats, first: int, height: int) -> Floats:
        """Return the color of some rows at full size: (2, n, W).

        Args:
            light: (n, W) L* of the rows, at full size.
            first: the first of them.
            height: rows of the whole photograph.
        """
        count, width = light.shape
        detail = light - rows_of(self.light, first, count, width, height)
        color = [
            rows_of(ab, first, count, width, height) + rows_of(slope, first, count, width, height) * detail
            for ab, slope in zip(self.ab, self.slope, strict=True)
        ]
        return np.stack(color)


def rows_of(plane: Floats, first: int, count: int, width: int, height: int) -> Floats:
    """Enlarge some rows of a (h, w) plane bilinearly to (height, width): (count, width)."""
    scale = plane.shape[0] / height
    box = (0.0, first * scale, float(plane.shape[1]), (first + count) * scale)
    # Pillow also reads beyond the box, so that there is no seam between the rows of one call and the next.
    return np.asarray(Image.fromarray(plane).resize((width, count), Image.Resampling.BILINEAR, box=box))
