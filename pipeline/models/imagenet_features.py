"""What an ImageNet classifier sees: EfficientNet-Lite0 with the weights of its package."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import WeightsError, missing_extra
from pipeline.models.packaged_weights import CLASSIFIER, packaged_file, packaged_tensors


def imagenet_classifier(wanted_by: str) -> Any:
    """EfficientNet-Lite0 in evaluation mode; its input is RGB in [-1, 1].

    Args:
        wanted_by: the parameter that asks for it, for the message.

    Raises:
        WeightsError: the package is not installed, or not the one whose checksum is known.
    """
    import timm  # takes seconds: the other losses do not wait for it

    path = packaged_file(CLASSIFIER)
    if path is None:
        raise WeightsError(
            missing_extra(f"the weights of {CLASSIFIER}, which {wanted_by} asks for, are missing", "weights")
        )
    network = timm.create_model(CLASSIFIER).eval()
    network.load_state_dict(packaged_tensors(CLASSIFIER, path), strict=False)
    return network


class ImagenetFeatures(nn.Module):
    """Features at some of the levels, each position of length 1.

    Args:
        levels: numbers from 0 (half of the picture's resolution, 16 channels) to 4 (1/32, 320 channels).
    """

    def __init__(self, levels: tuple[int, ...], wanted_by: str):
        super().__init__()
        self._network, self._levels = imagenet_classifier(wanted_by), levels

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """(N, 3, H, W) float sRGB in [0, 1] -> (N, C, h, w) at each level."""
        found = self._network.forward_intermediates(rgb * 2 - 1, indices=list(self._levels), intermediates_only=True)
        return [F.normalize(level, dim=1) for level in found]
