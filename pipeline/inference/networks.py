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
    from pipeline.models.generators import NoiseInput
    from pipeline.models.layers import FromNoise

    loaded = load_generator(folder)
    # The noise is made here in NumPy, so that a seed gives the same colors with and without torch.
    noise_input = isinstance(loaded.network, NoiseInput)
    inner = loaded.network.network if isinstance(loaded.network, NoiseInput) else loaded.network
    network = FromNoise(inner.to(memory_format=torch.channels_last), loaded.space.in_channels + noise_input)  # type: ignore[call-overload]

    def run(x: Floats, seed: int) -> Floats:
        condition = torch.from_numpy(with_noise(x, seed) if noise_input else x)
        uniforms = [torch.from_numpy(uniform) for uniform in uniform_noise(network.shapes, x, seed)]
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
    given = session.get_inputs()[0].name
    noise_input = config.generator.noise == "input"
    dropouts = config.interface.dropout if config.interface else ()

    def run(x: Floats, seed: int) -> Floats:
        uniforms = uniform_noise(tuple((dropout.channels, dropout.smaller) for dropout in dropouts), x, seed)
        noise = {dropout.input: uniform for dropout, uniform in zip(dropouts, uniforms, strict=True)}
        (colors,) = session.run(None, {given: with_noise(x, seed) if noise_input else x, **noise})
        return np.asarray(colors, np.float32)

    return Network(config, run)


def uniform_noise(shapes: tuple[tuple[int, int], ...], x: Floats, seed: int) -> list[Floats]:
    """Numbers in [0, 1) for each dropout that stays on: (N, C, H / d, W / d) for (C, d) in shapes, x (N, _, H, W)."""
    rng, (n, _, height, width) = np.random.default_rng(seed), x.shape
    return [rng.random((n, channels, height // d, width // d), np.float32) for channels, d in shapes]


def with_noise(x: Floats, seed: int) -> Floats:
    """Adds a channel of Gaussian noise: (N, C, H, W) -> (N, C + 1, H, W)."""
    noise = np.random.default_rng(seed).standard_normal((len(x), 1, *x.shape[2:]), np.float32)
    return np.concatenate([x, noise], 1)
