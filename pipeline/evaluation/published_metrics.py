"""LPIPS and FID as other projects publish them: through torchmetrics, in the networks that they were defined with."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import torch
from torch import Tensor

from pipeline.errors import WeightsError, missing_extra
from pipeline.models.weights import failure_within

FETCH = "fetch"
# One connection attempt: a stage without a network must end in seconds.
_SECONDS = 5.0


@dataclass(frozen=True)
class Weights:
    """A file of weights that was published under a name with the start of its SHA-256."""

    path: Path
    sha256: str


class Lpips:
    """LPIPS 0.1 in torchvision's AlexNet (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features").

    Args:
        asked: `fetch`, or the path of the file that torchvision publishes.
        wanted_by: the key or option that asks, for messages.

    Raises:
        WeightsError: the extra `perceptual` is missing, or the file is, cannot be fetched, or is another one.
    """

    def __init__(self, asked: str, wanted_by: str = "evaluate.lpips_weights"):
        _require_packages(wanted_by)
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
        from torchvision.models import AlexNet_Weights

        url = AlexNet_Weights.DEFAULT.url
        self.weights = _published(asked, url, wanted_by)
        before = torch.hub.get_dir()
        with TemporaryDirectory() as hub:
            # torchvision takes no path: it looks for the name in the hub's folder.
            kept = Path(hub, "checkpoints", Path(url).name)
            kept.parent.mkdir()
            shutil.copyfile(self.weights.path, kept)
            torch.hub.set_dir(hub)
            try:
                self._network = LearnedPerceptualImagePatchSimilarity("alex").net
            finally:
                torch.hub.set_dir(before)

    def distances(self, colored: Tensor, true: Tensor) -> list[float]:
        """Of each pair of (N, 3, H, W) uint8 sRGB: 0 is the same, about 1 is another photograph."""
        with torch.inference_mode():
            found: list[float] = self._network(colored / 127.5 - 1, true / 127.5 - 1).flatten().tolist()
        return found


class Fid:
    """The Frechet Inception Distance (Heusel et al. 2017) in the Inception of TensorFlow, as torch-fidelity has it.

    Args:
        asked: `fetch`, or the path of the file that torch-fidelity publishes.
        wanted_by: the key or option that asks, for messages.

    Raises:
        WeightsError: the extra `perceptual` is missing, or the file is, cannot be fetched, or is another one.
    """

    def __init__(self, asked: str, wanted_by: str = "evaluate.fid_weights"):
        _require_packages(wanted_by)
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
        from torchmetrics.image.fid import FrechetInceptionDistance

        self.weights = _published(asked, URL_INCEPTION_V3, wanted_by)
        # Without antialiasing: the resizing of TensorFlow, with which published numbers were made.
        self._true = FrechetInceptionDistance(feature_extractor_weights_path=str(self.weights.path), antialias=False)
        self._colored: dict[str, Any] = {}

    def look(self, colored: dict[str, Tensor], true: Tensor) -> None:
        """Take in (N, 3, H, W) uint8 sRGB: the true photographs, and what each colorizer made of them."""
        from torchmetrics.image.fid import FrechetInceptionDistance

        with torch.inference_mode():
            self._true.update(true, real=True)
            for name, rgb in colored.items():
                if name not in self._colored:
                    self._colored[name] = FrechetInceptionDistance(self._true.inception)
                self._colored[name].update(rgb, real=False)

    def distances(self) -> dict[str, float]:
        """Between each colorizer's photographs and the true ones, of all that were taken in."""
        for one in self._colored.values():
            one.real_features_sum = self._true.real_features_sum
            one.real_features_cov_sum = self._true.real_features_cov_sum
            one.real_features_num_samples = self._true.real_features_num_samples
        return {name: float(one.compute()) for name, one in self._colored.items()}


def implementation(network: str, weights: Weights) -> dict[str, str]:
    """How a number was made, for protocol.json."""
    return {"implementation": f"torchmetrics {version('torchmetrics')}, {network}", "sha256": weights.sha256}


def _require_packages(wanted_by: str) -> None:
    missing = [name for name in ("torchmetrics", "torch_fidelity") if find_spec(name) is None]
    if missing:
        raise WeightsError(
            missing_extra(f"{' and '.join(missing)}, which {wanted_by} asks for, is missing", "perceptual")
        )


def _published(asked: str, url: str, key: str) -> Weights:
    """Return the file that is published at an address, from a path or from the cache of torch.hub, where it is fetched
    to.

    Args:
        asked: `fetch`, or a path.
        key: the key or option that asks, for messages.
    """
    name = Path(url).name
    start = _start_of_hash(name)
    path = Path(asked)
    if asked == FETCH:
        path = Path(torch.hub.get_dir(), "checkpoints", name)
        if not path.is_file():
            _fetch(url, path, start, key)
    if not path.is_file():
        raise WeightsError(f"{key} {asked}: no such file; set none, fetch, or the path of {name}, which is at {url}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(start):
        raise WeightsError(
            f"{key} {path}: not {name}, whose SHA-256 starts with {start}: that of this file with {found[:8]}; "
            f"with other weights the number would have another meaning; the file is at {url}"
        )
    try:
        # What runs no code of the file. Those who read it next are not so careful.
        torch.load(path, map_location="meta", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{key} {path}: cannot be read as weights ({reason})") from None
    return Weights(path, found)


def _start_of_hash(name: str) -> str:
    """alexnet-owt-7be5be79.pth: what torch.hub checks, too."""
    found = re.search(r"-([0-9a-f]{8,})\.pth$", name)
    assert found, name
    return found[1]


def _fetch(url: str, path: Path, start: str, key: str) -> None:
    reason = failure_within(_SECONDS, lambda: urlopen(url, timeout=_SECONDS).close())
    if not reason:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=start)
        except (URLError, OSError, RuntimeError) as error:
            reason = str(error)
    if reason:
        raise WeightsError(
            f"{key}: {url} cannot be fetched ({reason}); set none, or the path of that file, downloaded elsewhere"
        )
