"""Pretrained weights of an encoder: from timm's hub or from a file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import WeightsError

# One connection attempt, not huggingface_hub's patience: a stage without a network must end in seconds.
_HUB_SECONDS = 5.0


def require_weights(backbone: str, weights: str) -> None:
    """Look for an encoder's weights without loading them.

    Args:
        weights: none, imagenet, or a path.

    Raises:
        WeightsError: they are not there, or cannot be fetched.
    """
    if weights == "imagenet":
        require_hub(backbone)
    elif weights != "none":
        _require_file(Path(weights))


def require_hub(name: str) -> None:
    """Fail within seconds where timm would retry for minutes.

    Raises:
        WeightsError: timm has no ImageNet weights of this model, or they are neither in the cache nor fetched.
    """
    import timm
    from huggingface_hub import hf_hub_url, try_to_load_from_cache
    from huggingface_hub.file_download import get_hf_file_metadata

    config = timm.get_pretrained_cfg(name)
    advice = "set generator.weights to none, or to the path of a safetensors file"
    if config is None or not (config.hf_hub_id or config.url):
        raise WeightsError(f"timm knows no ImageNet weights of {name!r}; {advice}")
    file = "model.safetensors"
    if not config.hf_hub_id or isinstance(try_to_load_from_cache(config.hf_hub_id, file), str):
        return
    url = hf_hub_url(config.hf_hub_id, file)
    reason = _failure_within(
        _HUB_SECONDS, lambda: get_hf_file_metadata(url, timeout=_HUB_SECONDS, retry_on_errors=False)
    )
    if reason:
        raise WeightsError(f"ImageNet weights of {name!r} cannot be fetched ({reason}); {advice}")


def _failure_within(seconds: float, attempt: Callable[[], object]) -> str:
    """Why the attempt failed, or an empty string. Looking up a host name heeds no timeout of its own."""
    reasons = [f"no answer in {seconds:.0f} s"]

    def run() -> None:
        try:
            attempt()
            reasons.append("")
        except Exception as error:  # httpx, the hub and the system raise many kinds
            reasons.append(type(error).__name__)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return reasons[-1]


def load_weights_file(features: nn.Module, path: Path, in_channels: int) -> None:
    """Fill a timm body from safetensors of the same timm model, classifier and all.

    Raises:
        WeightsError: no such file, no safetensors, or of another model.
    """
    import timm

    _require_file(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"generator.weights {path}: no safetensors file ({error})") from None
    expected = features.state_dict()
    # timm names a flattened body's parts features_0 where the whole model has features.0.
    renamed = {_flat_name(key, expected): value for key, value in tensors.items()}
    first = next(key for key in expected if expected[key].dim() == 4)
    if first in renamed and renamed[first].shape[1] != in_channels:
        renamed[first] = timm.models.adapt_input_conv(in_channels, renamed[first])
    bad = [k for k, v in expected.items() if k not in renamed or renamed[k].shape != v.shape]
    if bad:
        raise WeightsError(
            f"generator.weights {path}: {len(bad)} of {len(expected)} tensors of the backbone are missing "
            f"or of another shape, the first is {bad[0]}; the file must be of the same timm model"
        )
    features.load_state_dict({key: renamed[key] for key in expected})


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"generator.weights {path}: no such file; set none, imagenet, or a path to safetensors")


def _flat_name(key: str, expected: dict[str, torch.Tensor]) -> str:
    return key if key in expected else key.replace(".", "_", 1)
