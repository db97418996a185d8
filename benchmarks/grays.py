"""Black-and-white versions of a color photograph: (H, W, 3) uint8 sRGB -> (H, W) uint8, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch

from pipeline.color.arrays import gray_level
from pipeline.color.tensors import ColorSpace
from pipeline.experiments.score import as_gray
from pipeline.training.degradation import Damage, degraded

_LAB = ColorSpace("lab")


def as_old(rgb: np.ndarray) -> np.ndarray:
    """As `degrade` shows it to a network: on an old film, faded, blurred and with grain, drawn by its pixels."""
    seed = int.from_bytes(hashlib.sha256(np.ascontiguousarray(rgb)).digest()[:4], "big")
    batch = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]
    condition, _ = _LAB.encode(batch)
    old = degraded(condition, batch, _LAB, 1.0, Damage.draw([seed], rgb.shape[:2]))
    return (gray_level((old[0, 0].numpy() + 1) * 50) * 255).round().astype(np.uint8)


GRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lightness": as_gray,
    "blue": lambda rgb: rgb[..., 2],
    "green": lambda rgb: rgb[..., 1],
    "red": lambda rgb: rgb[..., 0],
    "old": as_old,
}
