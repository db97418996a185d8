"""What an ImageNet classifier sees in a photograph: in right colors, the same as in the true ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.evaluation.features import Seen
from pipeline.models.imagenet_features import imagenet_classifier
from pipeline.models.packaged_weights import CLASSIFIER, PACKAGES

_SIDE, _TOP = 224, 5
# The level at 1/16 of the input: 112 channels, and things rather than textures.
_LEVEL = 3


class Classifier:
    """EfficientNet-Lite0 with ImageNet weights from their package.

    Args:
        wanted_by: what asks for it, for the message.

    Raises:
        WeightsError: the package is not installed, or not the one whose checksum is known.
    """

    def __init__(self, wanted_by: str = "evaluate.classifier") -> None:
        # In this order of memory its convolutions take two thirds of the time.
        self._network = imagenet_classifier(wanted_by).to(memory_format=torch.channels_last)
        self.sha256 = PACKAGES[CLASSIFIER].sha256

    def look(self, rgb: Tensor) -> list[Seen]:
        """rgb: (N, 3, H, W) uint8 sRGB, resized to 224 px (bicubic)."""
        resized = F.interpolate(rgb.float(), (_SIDE, _SIDE), mode="bicubic", antialias=True).clamp(0, 255)
        with torch.inference_mode():
            final, levels = self._network.forward_intermediates(resized / 127.5 - 1)
            classes = self._network.forward_head(final).topk(_TOP).indices
            unit = [F.normalize(level, dim=1).numpy() for level in levels]
            pooled = levels[_LEVEL].mean((2, 3)).double().numpy()
        return [Seen(tuple(classes[i].tolist()), pooled[i], tuple(level[i] for level in unit)) for i in range(len(rgb))]
