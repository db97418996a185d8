"""A trained generator as a function on NumPy arrays, by torch or by ONNX Runtime."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelError, missing_extra
from pipeline.models.config import ModelConfig, read_config
from pipeline.types import Floats

ONNX_FILE = "generator.onnx"


@dataclass(frozen=True)
class Network:
    """What a colorizer needs of a model."""

    config: ModelConfig
    run: Callable[[Floats, int], Floats]
    """(N, C, H, W) in [-1, 1], and a seed -> (N, out, H, W); H and W are multiples of config.multiple."""


def load_network(path: Path) -> Network:
    """A checkpoint folder, an export folder, or a .onnx file with its model.json beside it.

    Raises:
        ModelError: no model there, or a damaged one.
    """
    if path.suffix == ".onnx":
        return _onnx(path)
    if not path.is_dir():
        raise ModelError(f"{path}: no such folder; a model is a checkpoint folder or a .onnx file")
    return _onnx(path / ONNX_FILE) if (path / ONNX_FILE).exists() else _torch(path)


def _torch(folder: Path) -> Network:
    import torch

    from pipeline.models.checkpoint import load_generator
    from pipeline.models.generators import with_noise_given

    loaded = load_generator(folder)
    network = with_noise_given(loaded.network, loaded.space).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(x: Floats, seed: int) -> Floats:
        condition, *uniforms = (torch.from_numpy(each) for each in inputs(x, seed, loaded.config, network.shapes))
        with torch.inference_mode():
            colors: Floats = network(condition.to(memory_format=torch.channels_last), *uniforms).float().numpy()
        return colors

    return Network(loaded.config, run)


def onnx_runtime() -> Any:
    """The module onnxruntime, with its telemetry switched off before it is imported.

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
        raise ModelError(missing_extra(f"{path}: onnxruntime is not installed", "onnx")) from None
    config = read_config(path.parent)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != config.sha256.get(path.name):
        raise ModelError(f"{path}: damaged: its checksum is not the one in model.json")
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base
        raise ModelError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    names = [given.name for given in session.get_inputs()]
    dropouts = config.interface.dropout if config.interface else ()
    shapes = tuple((dropout.channels, dropout.smaller) for dropout in dropouts)

    def run(x: Floats, seed: int) -> Floats:
        (colors,) = session.run(None, dict(zip(names, inputs(x, seed, config, shapes), strict=True)))
        return np.asarray(colors, np.float32)

    return Network(config, run)


def inputs(x: Floats, seed: int, config: ModelConfig, shapes: tuple[tuple[int, int], ...]) -> list[Floats]:
    """All that a network is given, with noise made here in NumPy: a seed gives the same colors with and without torch.

    Args:
        x: (N, C, H, W) in [-1, 1].
        shapes: (channels, how many times smaller than x) of each dropout that stays on.

    Returns:
        x, with a channel of Gaussian noise where the network takes one; and for each dropout numbers in [0, 1).
    """
    rng, (n, _, height, width) = np.random.default_rng(seed), x.shape
    if config.generator.noise == "input":
        x = np.concatenate([x, rng.standard_normal((n, 1, height, width), np.float32)], 1)
    return [x, *(rng.random((n, channels, height // d, width // d), np.float32) for channels, d in shapes)]
