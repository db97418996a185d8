"""A trained generator as a function on NumPy arrays, by torch or by ONNX Runtime."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.inference.lab import Floats
from pipeline.models.card import ArtifactError, ModelCard, read_card

ONNX_FILE = "generator.onnx"


@dataclass(frozen=True)
class Network:
    """What a colorizer needs of a model."""

    card: ModelCard
    run: Callable[[Floats, int], Floats]
    """(N, C, H, W) in [-1, 1], and a seed -> (N, out, H, W); H and W are multiples of card.multiple."""


def load_network(path: Path) -> Network:
    """A checkpoint folder, an export folder, or a .onnx file with its model.json beside it.

    Raises:
        ArtifactError: no model there, or a damaged one.
    """
    if path.suffix == ".onnx":
        return _onnx(path)
    if not path.is_dir():
        raise ArtifactError(f"{path}: no such folder; a model is a checkpoint folder or a .onnx file")
    return _onnx(path / ONNX_FILE) if (path / ONNX_FILE).exists() else _torch(path)


def newest_model(checkpoints: Path) -> Path:
    """The folder of export, finetune and pretrain that was written last.

    Raises:
        ArtifactError: none of them is there.
    """
    folders = [checkpoints / name for name in ("export", "finetune", "pretrain")]
    there = [folder for folder in folders if (folder / "model.json").is_file()]
    if not there:
        raise ArtifactError(f"{checkpoints}/: no model; train one with dvc repro, or name one with --model")
    return max(there, key=lambda folder: (folder / "model.json").stat().st_mtime)


def _torch(folder: Path) -> Network:
    import torch

    from pipeline.models.artifact import load_generator
    from pipeline.models.generators import NoiseBeside

    loaded = load_generator(folder)
    # Its noise comes from here, so that a seed gives the same colors with and without torch.
    beside = isinstance(loaded.network, NoiseBeside)
    network = loaded.network.network if isinstance(loaded.network, NoiseBeside) else loaded.network
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(x: Floats, seed: int) -> Floats:
        given = torch.from_numpy(_with_noise(x, seed) if beside else x)
        torch.manual_seed(seed)
        with torch.inference_mode():
            colors: Floats = network(given.to(memory_format=torch.channels_last)).float().numpy()
        return colors

    return Network(loaded.card, run)


def onnx_runtime() -> Any:
    """The module onnxruntime, told before it is imported that nothing is to be reported to anybody.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _onnx(path: Path) -> Network:
    try:
        onnxruntime = onnx_runtime()
    except ImportError:
        raise ArtifactError(f"{path}: onnxruntime is not installed; install the extra twotone[onnx]") from None
    card = read_card(path.parent)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != card.sha256.get(path.name):
        raise ArtifactError(f"{path}: damaged: its checksum is not the one in model.json")
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base
        raise ArtifactError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    (given,) = session.get_inputs()
    beside = card.generator.noise == "input"

    def run(x: Floats, seed: int) -> Floats:
        (colors,) = session.run(None, {given.name: _with_noise(x, seed) if beside else x})
        return np.asarray(colors, np.float32)

    return Network(card, run)


def _with_noise(x: Floats, seed: int) -> Floats:
    """A channel of Gaussian noise beside each of (N, C, H, W)."""
    noise = np.random.default_rng(seed).standard_normal((len(x), 1, *x.shape[2:]), np.float32)
    return np.concatenate([x, noise], 1)
