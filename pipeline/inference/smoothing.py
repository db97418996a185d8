"""Smooth the colors of a film over time, along its motion and never across a cut; measure how much they flicker."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.inference.motion import carried, change
from pipeline.types import Floats

# A change of L* along the motion that counts as another thing: at twice as much, 2 % of the earlier color is kept.
_OTHER = 3.0
# Change of L* below which a pixel shows the same thing, for the measure of flicker.
_SAME = 1.0


@dataclass
class Smoother:
    """A recursive filter in time, along the motion.

    The more the lightness of a thing changes, the less of its earlier color it keeps: so what was hidden before gets
    its own color. Without the filter, the grain of each frame gives other colors, which flicker.
    """

    strength: float
    """Part of the earlier color that is kept where the lightness stays, 0 to below 1."""
    _before: Floats | None = None

    def __call__(self, light: Floats, ab: Floats, cut: bool, flow: Floats | None = None) -> Floats:
        """Return the color of the next frame.

        Args:
            light: (h, w) L*.
            ab: (2, h, w), from the network.
            cut: whether the frame begins a shot; then nothing of the earlier color is kept.
            flow: (2, h, w) from `Motion`; None where nothing moves.
        """
        if not cut and self._before is not None:
            before = carried(light, self._before, flow)
            share = np.float32(self.strength) * np.exp(-((change(light, before[0]) / np.float32(_OTHER)) ** 2))
            ab = share * before[1:] + (1 - share) * ab
        self._before = np.stack([light, *ab])
        return ab


@dataclass
class Flicker:
    """How much the color of a thing changes while its lightness stays: the mean change of ab between two frames of a
    shot, along the motion, Lab units.

    It counts the pixels whose L* changes by less than 1.
    """

    _sum: float = 0.0
    _pixels: int = 0
    _before: Floats | None = field(default=None, repr=False)

    def add(self, light: Floats, ab: Floats, cut: bool, flow: Floats | None = None) -> None:
        """Count the next frame: (h, w) L*, (2, h, w) ab, and (2, h, w) flow or None where nothing moves."""
        if not cut and self._before is not None:
            before = carried(light, self._before, flow)
            same = np.abs(light - before[0]) < _SAME
            step = np.hypot(*(ab - before[1:]))
            self._sum += float(step[same].sum(dtype=np.float64))
            self._pixels += int(same.sum())
        self._before = np.stack([light, *ab])

    @property
    def mean(self) -> float:
        """0 where no two frames could be compared."""
        return self._sum / self._pixels if self._pixels else 0.0
