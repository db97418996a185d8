"""Smooth the colors of a film over time, within a shot and never across a cut; measure how much they flicker."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.color.arrays import window_mean
from pipeline.types import Floats

# A change of L* that counts as motion: at twice as much, 2 % of the earlier color is kept.
_MOTION = 3.0
# Change of L* below which a pixel is still, for the measure of flicker.
_STILL = 1.0


@dataclass
class Smoother:
    """A recursive filter in time: the more the lightness of a pixel changes, the less of its earlier color it keeps.

    Without it, the grain of each frame gives other colors, which flicker.
    """

    strength: float
    """Part of the earlier color that is kept where nothing moves, 0 to below 1."""
    _light: Floats | None = None
    _ab: Floats | None = None

    def __call__(self, light: Floats, ab: Floats, cut: bool) -> Floats:
        """The color of the next frame.

        Args:
            light: (h, w) L*.
            ab: (2, h, w), from the network.
            cut: whether the frame begins a shot; then nothing of the earlier color is kept.
        """
        if not cut and self._light is not None and self._ab is not None:
            # Averaged over a window, so that grain does not count as motion.
            moved = np.abs(window_mean(light - self._light, 1))
            share = np.float32(self.strength) * np.exp(-((moved / np.float32(_MOTION)) ** 2))
            ab = share * self._ab + (1 - share) * ab
        self._light, self._ab = light, ab
        return ab


@dataclass
class Flicker:
    """How much color changes where lightness does not: the mean change of ab between two frames of a shot, Lab units.

    It counts the pixels whose L* changes by less than 1.
    """

    _sum: float = 0.0
    _pixels: int = 0
    _before: tuple[Floats, Floats] | None = field(default=None, repr=False)

    def add(self, light: Floats, ab: Floats, cut: bool) -> None:
        """Count the next frame: (h, w) L* and (2, h, w) ab."""
        if not cut and self._before is not None:
            still = np.abs(light - self._before[0]) < _STILL
            step = np.hypot(*(ab - self._before[1]))
            self._sum += float(step[still].sum(dtype=np.float64))
            self._pixels += int(still.sum())
        self._before = (light, ab)

    @property
    def mean(self) -> float:
        """0 where no two frames could be compared."""
        return self._sum / self._pixels if self._pixels else 0.0
