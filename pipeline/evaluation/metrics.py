"""Metrics of one colored photograph against the true one. Oracle: scikit-image."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from math import isfinite, nan
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from pipeline.errors import ParamsError
from pipeline.evaluation.features import Seen, feature_distance
from pipeline.models.packaged_weights import CLASSIFIER
from pipeline.parts import find_part, load_part, where
from pipeline.quality.color_statistics import (
    EDGE,
    GRAY_CHROMA,
    Edges,
    bleeding,
    colorfulness,
    hue_distance,
    hue_histogram,
    strong_edges,
)
from pipeline.types import Pixels

Array = NDArray[np.floating[Any]]
Side = Literal["lower", "higher"]

# An exact copy has an infinite ratio, which neither a mean nor JSON can hold.
PSNR_LIMIT = 100.0


@dataclass(frozen=True)
class Photograph:
    """A photograph in color."""

    ab: Array
    """(H, W, 2) Lab units. Single precision halves the time of the metrics, and moves their means by less than 1e-6."""
    rgb: Pixels
    """(H, W, 3) uint8 sRGB."""
    weights: Array | None = None
    """Of a true photograph: (H, W), how much each pixel counts where rare colors count as much as frequent ones."""
    seen: Seen | None = None
    """What the classifier sees in it, where one is asked."""
    lpips: float | None = None
    """Of a colored photograph: its LPIPS to the true one, where that is measured."""

    # Made once, however many colorizers the photograph is compared with.
    @cached_property
    def lab(self) -> NDArray[np.float32]:
        """(H, W, 3) L*a*b* of the 8-bit sRGB."""
        return np.asarray(rgb2lab(self.rgb), np.float32)

    @cached_property
    def levels(self) -> NDArray[np.float32]:
        """(H, W, 3) sRGB in [0, 255]."""
        return self.rgb.astype(np.float32)

    @cached_property
    def colorfulness(self) -> float:
        return colorfulness(self.rgb)

    @cached_property
    def colorfulness_absolute(self) -> float:
        """On absolute opponents."""
        return colorfulness(self.rgb, absolute=True)

    @cached_property
    def hues(self) -> Array:
        return hue_histogram(self.ab)

    @cached_property
    def edges(self) -> Edges:
        return strong_edges(self.lab[..., 0], self.ab)


@dataclass(frozen=True)
class Metric:
    compute: Callable[[Photograph, Photograph], float]
    """(colored, true) -> value."""
    definition: str
    """A sentence for protocol.json: formula, units, source."""
    better: Side | Literal[""]
    """Which value is nearer to the truth; "" where that depends."""


def _ab_mae(colored: Photograph, true: Photograph) -> float:
    return float(np.abs(colored.ab - true.ab).mean(dtype=np.float64))


def _ciede2000(colored: Photograph, true: Photograph) -> float:
    return float(deltaE_ciede2000(colored.lab, true.lab).mean(dtype=np.float64))


def _psnr(image: Array, truth: Array, data_range: float) -> float:
    # The squares of a network that has diverged may be more than single precision holds.
    mse = float(np.square(image - truth, dtype=np.float64).mean())
    if mse == 0:
        return PSNR_LIMIT
    return min(PSNR_LIMIT, 10 * float(np.log10(data_range**2 / mse)))


def _ssim(colored: Photograph, true: Photograph) -> float:
    settings = {"data_range": 255, "channel_axis": -1, "gaussian_weights": True, "sigma": 1.5}
    return float(structural_similarity(colored.levels, true.levels, use_sample_covariance=False, **settings))


def _auc(colored: Photograph, true: Photograph, weights: Array | None = None) -> float:
    with np.errstate(over="ignore"):  # infinitely far is more than 150, too
        distance = np.hypot(*np.moveaxis(colored.ab - true.ab, -1, 0)).ravel()
    weigh = None if weights is None else weights.ravel()
    # A distance is at most t where the next whole number is. A network that has diverged may be astronomically far off.
    counts = np.bincount(np.ceil(np.minimum(distance, 151)).astype(np.int64), weigh, minlength=151)
    share = counts.cumsum()[:151] / (distance.size if weigh is None else weigh.sum())
    return float(np.trapezoid(share) / 150)


def _mean_chroma(photograph: Photograph) -> float:
    return float(np.hypot(photograph.lab[..., 1], photograph.lab[..., 2]).mean())


def _classes(photograph: Photograph) -> tuple[int, ...]:
    assert photograph.seen is not None
    return photograph.seen.classes


def _lpips(colored: Photograph) -> float:
    assert colored.lpips is not None
    return colored.lpips


def _feature_distance(colored: Photograph, true: Photograph) -> float:
    assert colored.seen is not None
    assert true.seen is not None
    return feature_distance(colored.seen, true.seen)


METRICS: dict[str, Metric] = {
    "ab_mae": Metric(
        _ab_mae,
        "mean absolute error of a and b, over pixels and both channels; Lab units; before gamut clipping where "
        "the generator gives Lab",
        "lower",
    ),
    "psnr_rgb": Metric(
        lambda colored, true: _psnr(colored.levels, true.levels, 255.0),
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
        lambda colored, _true: colored.colorfulness,
        "Hasler and Suesstrunk 2003 on 8-bit sRGB, signed opponents R-G and (R+G)/2-B",
        "",
    ),
    "colorfulness_delta": Metric(
        lambda colored, true: abs(colored.colorfulness - true.colorfulness),
        "absolute difference of the colorfulness from the true photograph's",
        "lower",
    ),
    "colorfulness_gap": Metric(
        lambda colored, true: colored.colorfulness - true.colorfulness,
        "colorfulness less the true photograph's, with its sign: as a mean, the difference of the means",
        "",
    ),
    "auc": Metric(
        _auc,
        "area under the share of pixels whose ab distance is at most t, t = 0..150 in steps of 1, "
        "scaled to [0, 1] (Zhang et al. 2016, not rebalanced)",
        "higher",
    ),
    "auc_rebalanced": Metric(
        lambda colored, true: _auc(colored, true, true.weights),
        "auc with each pixel weighing the inverse frequency of its true color among the training pixels (squares of 10 "
        "Lab units, 1 % uniform), within each photograph (after Zhang et al. 2016)",
        "higher",
    ),
    "colorfulness_absolute": Metric(
        lambda colored, _true: colored.colorfulness_absolute,
        "Hasler and Suesstrunk's formula on absolute opponents, as in the code of DDColor, CT2 and ColorFormer",
        "",
    ),
    "colorfulness_absolute_delta": Metric(
        lambda colored, true: abs(colored.colorfulness_absolute - true.colorfulness_absolute),
        "absolute difference of colorfulness_absolute from the true photograph's",
        "lower",
    ),
    "colorfulness_absolute_gap": Metric(
        lambda colored, true: colored.colorfulness_absolute - true.colorfulness_absolute,
        "colorfulness_absolute less the true photograph's, with its sign: as a mean, the difference of the means; "
        "papers print its absolute value as delta CF",
        "",
    ),
    "near_gray": Metric(
        lambda colored, _true: float(_mean_chroma(colored) < GRAY_CHROMA),
        f"1 where the mean chroma of 8-bit sRGB is under {GRAY_CHROMA:g} Lab units, else 0: as a mean, the share of "
        "pictures that look gray or sepia",
        "",
    ),
    "hue_distance": Metric(
        lambda colored, true: hue_distance(colored.hues, true.hues),
        "earth mover's distance on the circle between histograms of 36 hues weighted by chroma; degrees; a gray "
        "picture counts as one with all hues",
        "lower",
    ),
    "bleeding": Metric(
        lambda colored, true: bleeding(colored.ab, true.edges),
        f"how much of the true step of ab is missing between neighbors whose true L* differs by {EDGE:g} or more; "
        "mean, Lab units",
        "lower",
    ),
}

CLASSIFIED: dict[str, Metric] = {
    "top1": Metric(
        lambda colored, true: float(_classes(colored)[0] == _classes(true)[0]),
        f"1 where {CLASSIFIER} sees the same ImageNet class in the colored photograph as in the true one, else 0",
        "higher",
    ),
    "top5": Metric(
        lambda colored, true: float(_classes(true)[0] in _classes(colored)),
        "1 where its class of the true photograph is among its five of the colored one, else 0",
        "higher",
    ),
    "feature_lite0": Metric(
        _feature_distance,
        f"mean over five levels of {CLASSIFIER} of the squared distance of unit features, 0 to 4; like LPIPS without "
        "its learned weights, and not comparable with it",
        "lower",
    ),
}
"""Those that need the classifier of `evaluate.classifier`."""

PERCEPTUAL: dict[str, Metric] = {
    "lpips": Metric(
        lambda colored, _true: _lpips(colored),
        "LPIPS 0.1 of 8-bit sRGB scaled to [-1, 1], in AlexNet at the photographs' own resolution (Zhang et al. 2018)",
        "lower",
    ),
}
"""Those that need `evaluate.lpips_weights`."""

ALL = METRICS | CLASSIFIED | PERCEPTUAL
# Numbers of all photographs together.
_OF_ALL = ("fd_lite0", "fid", "slider_margin")
# What per_image.csv says of a photograph beside its metrics.
OTHER_COLUMNS = ("index", "path", "colorizer", "truth_colorfulness")
# Where protocol.json has metrics of one's own: what each is, and which value is better.
OWN_METRICS = "own_metrics"


def available(classifier: bool, lpips: bool) -> dict[str, Metric]:
    """Those that can be computed with a classifier, and with LPIPS, or without."""
    return METRICS | (CLASSIFIED if classifier else {}) | (PERCEPTUAL if lpips else {})


def score(colored: Photograph, true: Photograph, own: Mapping[str, Metric] = MappingProxyType({})) -> dict[str, float]:
    """All metrics of one photograph that can be computed of it, and those of one's own."""
    metrics = {**available(true.seen is not None, colored.lpips is not None), **own}
    return {name: metric.compute(colored, true) for name, metric in metrics.items()}


def own_metrics(named: Mapping[str, Side]) -> dict[str, Metric]:
    """Import metrics of one's own.

    Args:
        named: which value is better, by module:function or the name that a package offers.

    Raises:
        ParamsError: one cannot be used.
    """
    taken = [name for name in named if name in (*ALL, *OTHER_COLUMNS, *_OF_ALL)]
    if taken:
        raise ParamsError(
            f"evaluate.metrics: {taken[0]} is a name of this project's; name the function: MODULE:FUNCTION"
        )
    return {name: _own_metric(name, better) for name, better in named.items()}


def require_metric(metric: Metric) -> None:
    """Try a metric of one's own on two photographs of noise.

    Raises:
        ParamsError: it cannot be used.
    """
    levels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    weights = np.ones(levels.shape[1:3])
    colored, true = (Photograph(np.asarray(rgb2lab(rgb)[..., 1:], np.float32), rgb, weights) for rgb in levels)
    metric.compute(colored, true)


def _own_metric(name: str, better: Side) -> Metric:
    key = "evaluate.metrics"
    function = load_part(key, find_part("metrics", name), "colored", "true")

    def compute(colored: Photograph, true: Photograph) -> float:
        try:
            value = function(colored, true)
        except Exception as error:  # what somebody else's function may raise is anything
            raise ParamsError(f"{key}: {name} fails: {where(error, function)}") from error
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = nan
        if not isfinite(number):
            raise ParamsError(f"{key}: {name} must return a finite number, got {value!r:.100}")
        return number

    described = (inspect.getdoc(function) or "").partition("\n\n")[0]
    return Metric(compute, " ".join(described.split()) or "not described", better)


def libraries() -> dict[str, str]:
    """Versions of those that the numbers rest on."""
    return {name: version(name) for name in ("scikit-image", "numpy", "scipy", "pillow", "torch", "timm")}
