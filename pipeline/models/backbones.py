"""timm bodies for DynamicUnet, and the check that says whether one will do."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

# A U-Net on S x S pixels needs a skip at each halving down to S / 32.
REDUCTIONS = [2, 4, 8, 16, 32]

# One connection attempt, not huggingface_hub's patience: a stage without a network must end in seconds.
_HUB_SECONDS = 5.0


class BackboneError(Exception):
    """The backbone cannot be the encoder of a U-Net; the message says why and what could."""


class WeightsError(Exception):
    """The weights cannot be had or do not fit; the message says what to set."""


def build_body(name: str, in_channels: int, weights: str) -> nn.Sequential:
    """The timm backbone as a sequence of layers that DynamicUnet can hook.

    Args:
        weights: none, imagenet, or a path to safetensors of the same timm model.

    Raises:
        BackboneError: not a timm name, or without one skip for each halving of the image.
        WeightsError: the weights cannot be had or do not fit.
    """
    if not timm.is_model(name.split(".")[0]):
        close = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=3)) or "resnet18"
        raise BackboneError(f"generator.backbone {name!r} is no timm model; near: {close}")
    if weights == "imagenet":
        _require_hub(name)
    try:
        features = timm.create_model(name, features_only=True, in_chans=in_channels, pretrained=weights == "imagenet")
    except Exception as error:  # timm raises what each model's own code raises
        raise _refusal(name, f"timm gives no feature maps of it ({type(error).__name__}: {error})") from None
    if weights not in ("none", "imagenet"):
        _load_weights(features, Path(weights), in_channels)
    _require_skips(name, features, in_channels)
    return nn.Sequential(*features.children())


def _require_skips(name: str, features: nn.Module, in_channels: int) -> None:
    reductions = list(features.feature_info.reduction())  # type: ignore[union-attr, operator]
    # vgg also offers features at full resolution, which DynamicUnet does not use.
    if [r for r in reductions if r > 1] != REDUCTIONS:
        raise _refusal(name, f"its feature maps are reduced by {reductions}, a U-Net needs {REDUCTIONS}")
    changes = _halvings(nn.Sequential(*features.children()).eval(), in_channels)
    if changes != len(REDUCTIONS):
        raise _refusal(name, f"only {changes} of its {len(REDUCTIONS)} halvings lie between layers that can be hooked")


def _halvings(body: nn.Sequential, in_channels: int) -> int:
    x = torch.zeros(1, in_channels, 64, 64)
    count = 0
    with torch.no_grad():
        for layer in body:
            try:
                before, x = x.shape[-1], layer(x)
            except Exception:  # not a plain sequence of layers: no further hook
                return count
            count += x.shape[-1] != before
    return count


def _refusal(name: str, reason: str) -> BackboneError:
    return BackboneError(
        f"generator.backbone {name!r} cannot be the encoder of a U-Net: {reason}; "
        "resnet18, resnet34, resnet50, vgg16_bn, densenet121 and regnety_004 can"
    )


def _require_hub(name: str) -> None:
    """Fail within seconds where timm would retry for minutes."""
    from huggingface_hub import hf_hub_url, try_to_load_from_cache
    from huggingface_hub.file_download import get_hf_file_metadata

    config = timm.get_pretrained_cfg(name)
    advice = "set generator.weights to none, or to the path of a safetensors file"
    if config is None or not (config.hf_hub_id or config.url):
        raise WeightsError(f"timm knows no ImageNet weights of {name!r}; {advice}")
    file = "model.safetensors"
    if not config.hf_hub_id or isinstance(try_to_load_from_cache(config.hf_hub_id, file), str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(config.hf_hub_id, file), timeout=_HUB_SECONDS, retry_on_errors=False)
    except Exception as error:  # httpx, hub and OS errors alike mean: not to be had
        reason = type(error).__name__
        raise WeightsError(f"ImageNet weights of {name!r} cannot be fetched ({reason}); {advice}") from None


def _load_weights(features: nn.Module, path: Path, in_channels: int) -> None:
    if not path.is_file():
        raise WeightsError(f"generator.weights {path}: no such file; set none, imagenet, or a path to safetensors")
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"generator.weights {path}: no safetensors file ({error})") from None
    wanted = features.state_dict()
    # timm names a flattened body's parts features_0 where the whole model has features.0.
    renamed = {_flat_name(key, wanted): value for key, value in found.items()}
    first = next(key for key in wanted if wanted[key].dim() == 4)
    if first in renamed and renamed[first].shape[1] != in_channels:
        renamed[first] = timm.models.adapt_input_conv(in_channels, renamed[first])
    bad = [k for k, v in wanted.items() if k not in renamed or renamed[k].shape != v.shape]
    if bad:
        raise WeightsError(
            f"generator.weights {path}: {len(bad)} of {len(wanted)} tensors of the backbone are missing "
            f"or of another shape, the first is {bad[0]}; the file must be of the same timm model"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features.load_state_dict({key: renamed[key] for key in wanted})


def _flat_name(key: str, wanted: dict[str, torch.Tensor]) -> str:
    return key if key in wanted else key.replace(".", "_", 1)
