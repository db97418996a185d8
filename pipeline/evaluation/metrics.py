"""Metrics of one colored photograph against the true one. Oracle: scikit-image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from pipeline.types import Pixels

Array = NDArray[np.float64]

# An exact copy has an infinite ratio, which neither a mean nor JSON can hold.
PSNR_LIMIT = 100.0


@dataclass(frozen=True)
class Photograph:
    """A photograph in color."""

    ab: Array
    """(H, W, 2) Lab units."""
    rgb: Pixels
    """(H, W, 3) uint8 sRGB."""

    # Made once, however many colorizers the photograph is compared with. Single precision halves the time of the
    # metrics and moves their means by less than 1e-6.
    @cached_property
    def lab(self) -> NDArray[np.float32]:
        """(H, W, 3) L*a*b* of the 8-bit sRGB."""
        return np.asarray(rgb2lab(self.rgb), np.float32)

    @cached_property
    def levels(self) -> NDArray[np.float32]:
        """(H, W, 3) sRGB in [0, 255]."""
        return self.rgb.astype(np.float32)


@dataclass(frozen=True)
class Metric:
    compute: Callable[[Photograph, Photograph], float]
    """(colored, true) -> value."""
    definition: str
    """A sentence for protocol.json: formula, units, source."""
    better: Literal["lower", "higher", ""]
    """Which value is nearer to the truth; "" where that depends."""


def colorfulness(rgb: Pixels) -> float:
    """Hasler and Suesstrunk 2003, with signed R-G: (H, W, 3) uint8 -> 0 (gray) to about 110."""
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def _ab_mae(colored: Photograph, true: Photograph) -> float:
    return float(np.abs(colored.ab - true.ab).mean())


def _ciede2000(colored: Photograph, true: Photograph) -> float:
    return float(deltaE_ciede2000(colored.lab, true.lab).mean(dtype=np.float64))


def _colorfulness_delta(colored: Photograph, true: Photograph) -> float:
    return abs(colorfulness(colored.rgb) - colorfulness(true.rgb))


def _psnr(image: Array, truth: Array, data_range: float) -> float:
    mse = float(((image - truth) ** 2).mean())
    if mse == 0:
        return PSNR_LIMIT
    return min(PSNR_LIMIT, 10 * float(np.log10(data_range**2 / mse)))


def _ssim(colored: Photograph, true: Photograph) -> float:
    settings = {"data_range": 255, "channel_axis": -1, "gaussian_weights": True, "sigma": 1.5}
    return float(structural_similarity(colored.levels, true.levels, use_sample_covariance=False, **settings))


def _auc(colored: Photograph, true: Photograph) -> float:
    distance = np.hypot(*np.moveaxis(colored.ab - true.ab, -1, 0)).ravel()
    # A distance is at most t where the next whole number is.
    counts = np.bincount(np.ceil(distance).astype(np.int64), minlength=151)
    share = counts.cumsum()[:151] / distance.size
    return float(np.trapezoid(share) / 150)


METRICS: dict[str, Metric] = {
    "ab_mae": Metric(
        _ab_mae,
        "mean absolute error of a and b, over pixels and both channels; Lab units; before gamut clipping where "
        "the generator gives Lab",
        "lower",
    ),
    "psnr_rgb": Metric(
        lambda colored, true: _psnr(colored.rgb / 255, true.rgb / 255, 1.0),
        f"10 log10(1 / MSE) of 8-bit sRGB scaled to [0, 1]; dB, at most {PSNR_LIMIT:.0f}",
        "higher",
    ),
    "psnr_ab": Metric(
        lambda colored, true: _psnr(colored.ab, true.ab, 220.0),
        f"10 log10(220^2 / MSE) of a and b, clipped as in ab_mae; dB, at most {PSNR_LIMIT:.0f}",
        "higher",
    ),
    "ssim": Metric(
        _ssim,
        "structural similarity of 8-bit sRGB, 11x11 Gaussian window of sigma 1.5, mean of the channels "
        "(Wang et al. 2004)",
        "higher",
    ),
    "ciede2000": Metric(_ciede2000, "mean CIEDE2000 difference of 8-bit sRGB (Sharma et al. 2005); Lab units", "lower"),
    "colorfulness": Metric(
        lambda colored, _true: colorfulness(colored.rgb),
        "Hasler and Suesstrunk 2003 on 8-bit sRGB, signed opponents R-G and (R+G)/2-B",
        "",
    ),
    "colorfulness_delta": Metric(
        _colorfulness_delta, "absolute difference of the colorfulness from the true photograph's", "lower"
    ),
    "auc": Metric(
        _auc,
        "area under the share of pixels whose ab distance is at most t, t = 0..150 in steps of 1, "
        "scaled to [0, 1] (Zhang et al. 2016, not rebalanced)",
        "higher",
    ),
}


def score(colored: Photograph, true: Photograph) -> dict[str, float]:
    """All metrics of one photograph."""
    return {name: metric.compute(colored, true) for name, metric in METRICS.items()}


def libraries() -> dict[str, str]:
    return {name: version(name) for name in ("scikit-image", "numpy", "torch")}
