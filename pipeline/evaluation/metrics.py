"""How near colors are to the truth. Oracle: scikit-image; each number's definition is in PROTOCOL."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from pipeline.data.images import Pixels

Floats = NDArray[np.float64]

# An exact copy has an infinite ratio, which neither a mean nor JSON can hold.
PSNR_LIMIT = 100.0

PROTOCOL = {
    "ab_mae": "mean absolute error of a and b, over pixels and both channels; Lab units; before gamut clipping where "
    "the generator gives Lab",
    "psnr_rgb": f"10 log10(1 / MSE) of 8-bit sRGB scaled to [0, 1]; dB, at most {PSNR_LIMIT:.0f}",
    "psnr_ab": f"10 log10(220^2 / MSE) of a and b, clipped as in ab_mae; dB, at most {PSNR_LIMIT:.0f}",
    "ssim": "structural similarity of 8-bit sRGB, 11x11 Gaussian window of sigma 1.5, mean of the channels "
    "(Wang et al. 2004)",
    "ciede2000": "mean CIEDE2000 difference of 8-bit sRGB (Sharma et al. 2005); Lab units",
    "colorfulness": "Hasler and Suesstrunk 2003 on 8-bit sRGB, signed opponents R-G and (R+G)/2-B",
    "colorfulness_delta": "absolute difference of the colorfulness from the true photograph's",
    "auc": "area under the share of pixels whose ab distance is at most t, t = 0..150 in steps of 1, "
    "scaled to [0, 1] (Zhang et al. 2016, not rebalanced)",
}


def score(ab: Floats, rgb: Pixels, true_ab: Floats, true_rgb: Pixels) -> dict[str, float]:
    """All metrics of one photograph.

    Args:
        ab, true_ab: (H, W, 2) Lab units.
        rgb, true_rgb: (H, W, 3) uint8 sRGB.
    """
    return {
        "ab_mae": float(np.abs(ab - true_ab).mean()),
        "psnr_rgb": _psnr(rgb / 255, true_rgb / 255, 1.0),
        "psnr_ab": _psnr(ab, true_ab, 220.0),
        "ssim": _ssim(rgb, true_rgb),
        "ciede2000": float(deltaE_ciede2000(rgb2lab(rgb), rgb2lab(true_rgb)).mean()),
        "colorfulness": colorfulness(rgb),
        "colorfulness_delta": abs(colorfulness(rgb) - colorfulness(true_rgb)),
        "auc": _auc(ab, true_ab),
    }


def colorfulness(rgb: Pixels) -> float:
    """Hasler and Suesstrunk 2003, with signed R-G: (H, W, 3) uint8 -> 0 (gray) to about 110."""
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def libraries() -> dict[str, str]:
    return {name: version(name) for name in ("scikit-image", "numpy", "torch")}


def _psnr(image: Floats, truth: Floats, data_range: float) -> float:
    mse = float(((image - truth) ** 2).mean())
    if mse == 0:
        return PSNR_LIMIT
    return min(PSNR_LIMIT, 10 * float(np.log10(data_range**2 / mse)))


def _ssim(rgb: Pixels, truth: Pixels) -> float:
    return float(
        structural_similarity(
            rgb, truth, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def _auc(ab: Floats, truth: Floats) -> float:
    distance = np.sort(np.hypot(*np.moveaxis(ab - truth, -1, 0)).ravel())
    thresholds = np.arange(151)
    share = np.searchsorted(distance, thresholds, side="right") / distance.size
    return float(np.trapezoid(share, thresholds) / 150)
