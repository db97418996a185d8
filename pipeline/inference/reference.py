"""Colors of a reference picture: hints for the places where a photograph shows the same."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.color.arrays import chromaticity, gray_level, lightness
from pipeline.errors import HintError, InputError, missing_extra
from pipeline.inference.hints import Hint
from pipeline.media.pictures import samples_of
from pipeline.media.writing import eight_bits
from pipeline.models.packaged_weights import CLASSIFIER, packaged_file
from pipeline.types import Floats, Pixels, Samples

if TYPE_CHECKING:
    from torch import Tensor

# The best of a search on 111 pairs (docs/how-to/hints.md): the short side at which both are compared, the levels of the
# classifier (1/16 and 1/32 of that), the least cosine of two places, how far their L* may differ, and how many count.
_SIDE, _LEVELS, _ALIKE, _AS_LIGHT, _MOST = 256, (3, 4), 0.5, 12.0, 300
# Of a panorama or a strip, the long side at most: what is compared grows with the square of it.
_LONG = 1024
# A side of the classifier's input is a multiple of this.
_MULTIPLE = 32
# A picture whose mean chroma is below it is a gray one: what is left is a JPEG's noise.
_GRAY = 2.0
_OPAQUE = 0.5
# Half the side of a hint, as a share of its cell.
_RADIUS = 0.25


def can_compare() -> bool:
    """Return whether torch, timm and the classifier's weights are installed."""
    return bool(find_spec("torch") and find_spec("timm") and packaged_file(CLASSIFIER))


def hints_like(photograph: Any, reference: Any) -> tuple[Hint, ...]:
    """Say the colors of a reference picture for the places of a photograph that look like places in it.

    Both are seen in gray by EfficientNet-Lite0. A place is a cell of its features, less their mean. Two belong together
    where each is the other's nearest, to within one cell, and where they are alike and about as light: mutual nearest
    neighbors, as in Deep Image Analogy (Liao et al. 2017, https://doi.org/10.1145/3072959.3073683).

    Args:
        photograph: a PIL image, or an array (H, W) or (H, W, 3), uint8 or uint16.
        reference: likewise, in color; or (H, W, 4) uint8, of which the last channel is its opacity: what is not seen
            says nothing.

    Returns:
        At most 300 hints, the surest last; () where nothing matches.

    Raises:
        HintError: the reference has no color, or is transparent.
        TypeError: the samples are neither uint8 nor uint16.
        InputError: torch is not installed.
        WeightsError: the classifier's weights are not installed (extra `weights`).
    """
    seen, colors = _cells_of(_pixels(photograph)), _cells_of(_pixels(reference))
    if not colors.opaque.any():
        raise HintError("the reference picture is transparent")
    if float(np.hypot(*colors.ab[colors.opaque].T).mean()) < _GRAY:
        raise HintError("the reference picture has no color")
    alike, partner = _partners(seen.features, colors.features, seen.columns)
    as_light = np.abs(seen.light - colors.light[partner]) < _AS_LIGHT
    chosen = np.flatnonzero((alike > _ALIKE) & as_light & colors.opaque[partner])
    surest = chosen[np.argsort(alike[chosen], kind="stable")][-_MOST:]
    rows = len(seen.light) // seen.columns
    radius = f"{_RADIUS * 100 / min(rows, seen.columns):.3f}%"
    return tuple(
        Hint(
            f"{100 * (cell % seen.columns + 0.5) / seen.columns:.3f}%",
            f"{100 * (cell // seen.columns + 0.5) / rows:.3f}%",
            colors.names[partner[cell]],
            radius,
        )
        for cell in surest
    )


class _Cells:
    """The cells of a picture, row by row."""

    def __init__(self, features: Tensor, pixels: Pixels, opacity: Pixels | None):
        self.features = features
        """(C, rows, columns)"""
        rows, self.columns = features.shape[1:]
        self.light = _means(lightness(pixels)[None], rows, self.columns)[:, 0]
        """(cells,) mean L*"""
        srgb = np.moveaxis(pixels.astype(np.float32) / np.float32(255), 2, 0)
        self.ab = _means(chromaticity(srgb), rows, self.columns)
        """(cells, 2) mean a* and b*"""
        shown = np.ones((1, 1), np.float32) if opacity is None else opacity.astype(np.float32) / np.float32(255)
        self.opaque = _means(np.broadcast_to(shown, pixels.shape[:2])[None], rows, self.columns)[:, 0] >= _OPAQUE
        """(cells,) whether at least half of each is seen"""
        mean = (_means(srgb, rows, self.columns) * 255).round().astype(int)
        self.names = ["#{:02x}{:02x}{:02x}".format(*color) for color in mean]


def _pixels(picture: Any) -> Samples:
    if isinstance(picture, Image.Image):
        samples, alpha = samples_of(picture)
        return samples if alpha is None else with_alpha(samples, alpha)
    samples = np.asarray(picture)
    if samples.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"a picture must be uint8 or uint16, got {samples.dtype}")
    return samples


def with_alpha(samples: Samples, alpha: Samples) -> Pixels:
    """Join (H, W) or (H, W, 3) samples and their (H, W) opacity: (H, W, 4) uint8."""
    rgb = samples if samples.ndim == 3 else np.repeat(samples[..., None], 3, 2)
    return np.dstack([eight_bits(rgb), eight_bits(alpha)])


def _cells_of(samples: Samples) -> _Cells:
    height, width = samples.shape[:2]
    scale = min(_SIDE / min(height, width), _LONG / max(height, width))
    size = [max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (width, height)]
    whole, opacity = Image.fromarray(eight_bits(samples)), None
    if whole.mode == "RGBA":
        opacity = np.asarray(whole.getchannel("A").resize(size, Image.Resampling.BOX))
    pixels = np.asarray(whole.convert("RGB").resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))
    return _Cells(_seen(lightness(pixels)), pixels, opacity)


def _seen(light: Floats) -> Tensor:
    """(H, W) L* -> (C, H / 16, W / 16): what the classifier sees of it in gray."""
    network = _classifier()
    import torch
    from torch.nn.functional import interpolate

    with torch.no_grad():
        levels = network(torch.from_numpy(gray_level(light))[None, None].repeat(1, 3, 1, 1))
        first = levels[0].shape[2:]
        same = [interpolate(level, size=first, mode="bilinear", align_corners=False) for level in levels]
        return torch.cat(same, 1)[0]


@cache
def _classifier() -> Any:
    try:
        from pipeline.models.imagenet_features import ImagenetFeatures
    except ImportError:
        raise InputError(missing_extra("a reference picture is compared by torch", "train")) from None
    return ImagenetFeatures(_LEVELS, wanted_by="a reference picture").eval()


def _partners(one: Tensor, other: Tensor, columns: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return how alike each cell and its nearest in the other picture are, -1 where the nearest has another one."""
    from torch import arange, cat
    from torch.nn.functional import normalize

    flat = [features.flatten(1) for features in (one, other)]
    mean = cat(flat, 1).mean(1, keepdim=True)
    here, there = (normalize(features - mean, dim=0) for features in flat)
    cosines = here.T @ there
    alike, partner = cosines.max(1)
    back, own = cosines.argmax(0)[partner], arange(len(partner))
    down, right = (back // columns - own // columns).abs(), (back % columns - own % columns).abs()
    alike[(down > 1) | (right > 1)] = -1
    return alike.numpy(), partner.numpy()


def _means(planes: Floats, rows: int, columns: int) -> Floats:
    """Return the mean of each cell: (C, H, W) -> (cells, C)."""
    channels, height, width = planes.shape
    cells = planes.reshape(channels, rows, height // rows, columns, width // columns)
    means: Floats = cells.mean((2, 4)).reshape(channels, -1).T
    return means
