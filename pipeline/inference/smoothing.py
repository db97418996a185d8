"""Color that stays from frame to frame where the film stays: within a shot, never across a cut."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import uniform_filter

from pipeline.inference.lab import Floats

# A change of L* that counts as motion: at twice as much, 2 % of the earlier color is kept.
_MOTION = 3.0
# Change of L* below which a pixel is still, for the measure of flicker.
_STILL = 1.0


@dataclass
class Smoother:
    """A recursive filter in time: each pixel keeps a part of its earlier color, the less the more its lightness moved.

    Without it, what the network sees differently in the grain of each frame flickers as color.
    """

    strength: float
    """Part of the earlier color kept where nothing moves: 0 is none, below 1."""
    _light: Floats | None = None
    _ab: Floats | None = None

    def __call__(self, light: Floats, ab: Floats, cut: bool) -> Floats:
        """The color of the next frame.

        Args:
            light: (h, w) L*.
            ab: (2, h, w), as the network gives it.
            cut: it begins a shot, and what was before is forgotten.
        """
        if not cut and self._light is not None and self._ab is not None:
            # Averaged over a window: grain is no motion.
            moved = np.abs(uniform_filter(light - self._light, 3, mode="nearest"))
            kept = np.float32(self.strength) * np.exp(-((moved / np.float32(_MOTION)) ** 2))
            ab = kept * self._ab + (1 - kept) * ab
        self._light, self._ab = light, ab
        return ab


@dataclass
class Flicker:
    """How much color changes where lightness does not: the mean step of ab between two frames of a shot, Lab units.

    Over the pixels whose L* changes by less than 1.
    """

    _sum: float = 0.0
    _pixels: int = 0
    _before: tuple[Floats, Floats] | None = field(default=None, repr=False)

    def add(self, light: Floats, ab: Floats, cut: bool) -> None:
        """The next frame: (h, w) L* and (2, h, w) ab."""
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
