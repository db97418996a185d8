"""timm backbones as encoders of a U-Net, each checked to give a skip at every halving.

DynamicUnet hooks the last layer before each halving of the image. A backbone that hides halvings inside one layer
silently becomes a U-Net without skips, so each is checked before it is trained.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import BackboneError, WeightsError
from pipeline.models.packaged_weights import packaged_file, packaged_tensors
from pipeline.models.weights import fill_body, load_weights_file, require_hub

# A U-Net on S x S pixels needs features at each halving down to S / 32.
REDUCTIONS = [2, 4, 8, 16, 32]

TESTED = (
    *("resnet18", "resnet34", "resnet50", "vgg16_bn", "densenet121", "regnety_004", "efficientnet_b0"),
    *("mobilenetv3_large_100", "mobilenetv4_conv_small", "convnext_tiny", "convnextv2_atto", "tf_efficientnet_lite0"),
)


def build_body(name: str, in_channels: int, weights: str, max_width: int = 0) -> nn.Sequential:
    """Build the timm backbone as a sequence of layers that DynamicUnet can hook.

    Args:
        weights: none, imagenet, or a path to safetensors of the same timm model.
        max_width: most channels of the last feature map; 0 for no limit.

    Raises:
        BackboneError: not a timm name, or without one skip for each halving of the image.
        WeightsError: the weights are missing, cannot be fetched, or do not fit.
    """
    if weights != "none":
        # On shapes alone, so that a backbone is refused in seconds, before its weights are fetched.
        with torch.device("meta"):
            build_body(name, in_channels, "none", max_width)
    features = _create(name, in_channels, weights)
    body = _as_sequence(name, features, in_channels)
    _require_same(name, features, body, in_channels)
    width = features.feature_info.channels()[-1]
    if 0 < max_width < width:
        body.append(_Narrow(width, max_width))
    return body


def levels(body: nn.Sequential, in_channels: int) -> list[tuple[int, int]]:
    """(reduction, channels) of each layer that DynamicUnet hooks, and of the last layer; full resolution is left out.

    Raises:
        RuntimeError and others: the layers are no plain sequence.
    """
    return [(reduction, channels) for _, reduction, channels in hooked_layers(body, in_channels)]


def hooked_layers(body: nn.Sequential, in_channels: int) -> list[tuple[int, int, int]]:
    """Return the number of each layer before a halving, and of the last one, with its reduction and channels.

    Full resolution is left out.

    Raises:
        RuntimeError and others: the layers are no plain sequence.
    """
    device = next(body.parameters()).device
    x = torch.zeros(1, in_channels, 64, 64, device=device)
    found, before, training = [], x, body.training
    body.eval()  # so that looking changes no running mean
    with torch.no_grad():
        for number, layer in enumerate(body):
            before, x = x, layer(x)
            if x.shape[-1] != before.shape[-1]:
                found.append((number - 1, 64 // before.shape[-1], before.shape[1]))
    body.train(training)
    found.append((len(body) - 1, 64 // x.shape[-1], x.shape[1]))
    return [level for level in found if level[1] > 1]


def _create(name: str, in_channels: int, weights: str) -> Any:
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise _refusal(name, "timm has no model of that name")
    packaged = packaged_file(name) if weights == "imagenet" else None
    fetched = weights == "imagenet" and packaged is None
    if fetched:
        require_hub(name)
    try:
        features = timm.create_model(name, features_only=True, in_chans=in_channels, pretrained=fetched)
    except Exception as error:  # each model's own code raises its own errors
        if fetched:
            raise WeightsError(
                f"ImageNet weights of {name!r} cannot be loaded ({type(error).__name__}: {error})"
            ) from None
        raise _refusal(
            name,
            f"timm gives no feature maps of it ({type(error).__name__}: {error})",
        ) from None
    if packaged:
        fill_body(features, packaged_tensors(name, packaged), in_channels, packaged)
    if weights not in ("none", "imagenet"):
        load_weights_file(features, Path(weights), in_channels)
    return features.eval()


def _as_sequence(name: str, features: Any, in_channels: int) -> nn.Sequential:
    if str(getattr(features, "output_fmt", "")).endswith("NHWC"):
        raise _refusal(name, "its feature maps have their channels last (NHWC)")
    reductions = [r for r in features.feature_info.reduction() if r > 1]
    layers: list[nn.Module] = []
    for child_name, child in features.named_children():
        # efficientnet and mobilenet keep all stages, and so all halvings but one, in `blocks`.
        layers += list(child) if child_name == "blocks" else [child]
    if reductions == REDUCTIONS[1:]:
        # convnext: a stem of stride 4 leaves no features at half resolution.
        layers[:1] = [
            _HalfResolution(in_channels, features.feature_info.channels()[0] // 2),
            _Stem(layers[0], in_channels),
        ]
    elif reductions != REDUCTIONS:
        raise _refusal(
            name,
            f"its feature maps are reduced by {reductions}, a U-Net needs {REDUCTIONS}",
        )
    return nn.Sequential(*layers).eval()


def _require_same(name: str, features: Any, body: nn.Sequential, in_channels: int) -> None:
    """Refuse a sequence that does not compute what the backbone computes, or has no hook at some level."""
    try:
        hooked = [reduction for reduction, _ in levels(body, in_channels)]
    except Exception as error:  # layers that are no plain sequence fail in their own ways
        raise _refusal(name, f"its layers are no plain sequence ({type(error).__name__})") from None
    if hooked != REDUCTIONS:
        raise _refusal(
            name,
            f"only {[r for r in hooked if r in REDUCTIONS]} of its halvings can be hooked",
        )
    if next(body.parameters()).is_meta:
        return
    x = torch.linspace(-1, 1, 64 * 64).reshape(1, 1, 64, 64).repeat(1, in_channels, 1, 1)
    with torch.no_grad():
        if not torch.allclose(body(x), features(x)[-1], atol=1e-4, rtol=1e-3):
            raise _refusal(name, "its layers, run in their order, do not compute its features")


def _refusal(name: str, reason: str) -> BackboneError:
    return BackboneError(name, reason, difflib.get_close_matches(name, TESTED, n=3, cutoff=0))


class _HalfResolution(nn.Module):
    """Features at half resolution, and the input itself: each of its channels as four at half resolution."""

    pretrained = False

    def __init__(self, in_channels: int, width: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.relu(self.norm(self.conv(x))), F.pixel_unshuffle(x, 2)], 1)


class _Stem(nn.Module):
    """The backbone's own stem, on the input that _HalfResolution has passed on."""

    def __init__(self, stem: nn.Module, in_channels: int):
        super().__init__()
        self.stem, self._packed = stem, 4 * in_channels

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.stem(F.pixel_shuffle(x[:, -self._packed :], 2))
        return features


class _Narrow(nn.Sequential):
    """1x1 convolution to fewer channels: DynamicUnet's parameters grow with the square of the last width."""

    pretrained = False

    def __init__(self, width: int, narrow: int):
        super().__init__(nn.Conv2d(width, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU())
