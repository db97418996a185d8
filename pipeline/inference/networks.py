"""A trained generator as a function on NumPy arrays, by torch or by ONNX Runtime."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DialError, ModelError, missing_extra
from pipeline.inference.devices import CPU, PROVIDERS, onnx_devices, torch_devices
from pipeline.inference.onnx_graph import ready
from pipeline.models.config import HINT_CHANNELS, ONNX_FILE, ModelConfig, read_config, read_weights
from pipeline.types import Floats


@dataclass(frozen=True)
class Network:
    """What a colorizer needs of a model."""

    config: ModelConfig
    run: Callable[[Floats, int], Floats]
    """(N, C, H, W) in [-1, 1], and a seed -> (N, out, H, W); H and W are multiples of config.multiple."""
    device: str = CPU
    """What it computes on, as `devices.NAMES` calls it."""
    note: str = ""
    """Why it is not the device that comes first on this machine."""


def load_network(
    path: Path, vivid: float | None = None, threads: int | None = None, device: str = CPU, *, as_is: bool = False
) -> Network:
    """Load a checkpoint folder, an export folder, or a .onnx file with its model.json beside it.

    Args:
        vivid: where the dial stands, from 0, the generator after pretraining, to 1, the one after fine-tuning; None
            for the model as it is.
        threads: that it computes with, which are torch's for all networks of a process; None for one a core.
        device: one of `devices.NAMES`; auto takes the first that works.
        as_is: whether an exported file runs as other programs run it, and not as it runs fastest here.

    Raises:
        ModelError: no model there, a damaged one, one without a dial, or no such device.
        ValueError: vivid is out of its range.
    """
    if vivid is not None and not 0 <= vivid <= 1:
        raise ValueError(f"vivid must be in 0..1, got {vivid}")
    file = onnx_file(path)
    return _onnx(file, vivid, threads, device, as_is) if file else _torch(path, vivid, threads, device)


def onnx_file(path: Path) -> Path | None:
    """Return the exported file that a path means; None for a checkpoint folder, which torch reads.

    Raises:
        ModelError: it is neither.
    """
    if path.suffix == ".onnx":
        return path
    if not path.is_dir():
        raise ModelError(f"{path}: no such folder; a model is a checkpoint folder or a .onnx file")
    return path / ONNX_FILE if (path / ONNX_FILE).exists() else None


def dial_of(path: Path) -> float | None:
    """Return where the dial of a model stands when nobody sets it; None for a model without a dial.

    Raises:
        ModelError: no model there, or a damaged one.
    """
    file = onnx_file(path)
    if file:
        described = read_config(file.parent).interface
        return described.dial_at if described and described.dial else None
    from pipeline.models.mixing import why_no_dial

    return None if why_no_dial(path) else 1.0


def _torch(folder: Path, vivid: float | None, threads: int | None, asked: str) -> Network:
    try:
        import torch
    except ImportError:
        raise ModelError(missing_extra(f"{folder}: a checkpoint is read by torch", "train")) from None

    from pipeline.models.checkpoint import load_generator
    from pipeline.models.generators import with_noise_given
    from pipeline.models.mixing import load_mixed

    if threads is not None:
        torch.set_num_threads(threads)
    loaded = load_generator(folder) if vivid is None else load_mixed(folder, vivid)
    network = with_noise_given(loaded.network, loaded.space)
    # Its hooks keep the encoder's features, and hints, in the network: two threads would mix their pictures.
    alone = threading.Lock()
    names, problem = torch_devices(asked), ""
    for device in names:

        def run(x: Floats, seed: int, device: str = device) -> Floats:
            given = inputs(x, seed, loaded.config, network.shapes)
            condition, *uniforms = (torch.from_numpy(each).to(device) for each in given)
            with alone, torch.inference_mode():
                colors: Floats = (
                    network(condition.to(memory_format=torch.channels_last), *uniforms).float().cpu().numpy()
                )
            return colors

        try:
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            if device != CPU:  # which may lack an operation, or memory
                side = loaded.config.multiple
                run(np.zeros((1, loaded.space.in_channels, side, side), np.float32), 0)
        except (RuntimeError, NotImplementedError) as error:
            problem = " ".join(str(error).split())[:300]
            continue
        return Network(loaded.config, run, device, "" if device == names[0] else _fell_back(device, names[0]))
    raise ModelError(f"{folder}: cannot be used on {', '.join(names)}: {problem}")


def _fell_back(device: str, first: str) -> str:
    return f"coloring on the {device}, since {first} does not work"


def onnx_runtime() -> Any:
    """Return the module onnxruntime, with its telemetry switched off before it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _onnx(path: Path, vivid: float | None, threads: int | None, asked: str, as_is: bool) -> Network:
    onnxruntime = onnx_runtime()
    config = read_config(path.parent)
    if path.name not in config.sha256:
        named = ", ".join(name for name in config.sha256 if name.endswith(path.suffix)) or "no such file"
        raise ModelError(f"{path}: the model.json beside it describes {named}; give the file that name")
    content = read_weights(path, config)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    described = config.interface
    dial = described.dial if described else None
    if vivid is not None and dial is None:
        raise DialError(f"{path}: exported without the dial")
    at = described.dial_at if described and vivid is None else vivid
    names = onnx_devices(asked, onnxruntime.get_available_providers())
    mixed = (dial, at) if dial is not None and at is not None else None

    def graph(device: str) -> bytes:
        return content if as_is else ready(content, mixed, wide=device == CPU)

    session, device, note = _session(onnxruntime, path, graph, options, names)
    takes = [one.name for one in session.get_inputs()]
    given = [name for name in takes if name != dial]
    fixed = {dial: np.array([at], np.float32)} if dial is not None and (as_is or dial in takes) else {}
    shapes = tuple((dropout.channels, dropout.smaller) for dropout in (described.dropout if described else ()))

    def run(x: Floats, seed: int) -> Floats:
        (colors,) = session.run(None, dict(zip(given, inputs(x, seed, config, shapes), strict=True)) | fixed)
        return np.asarray(colors, np.float32)

    return Network(config, run, device, note)


def _session(
    onnxruntime: Any, path: Path, graph: Callable[[str], bytes], options: Any, names: list[str]
) -> tuple[Any, str, str]:
    """Begin a session on the first device that works; return it, the device, and why it is not the first one.

    Args:
        graph: gives the ONNX file for a device.

    Raises:
        ModelError: none works.
    """
    problems = []
    for name in names:
        try:
            session = onnxruntime.InferenceSession(graph(name), options, providers=[PROVIDERS[name]])
        except Exception as error:  # onnxruntime's own exceptions share no base
            problems.append(f"{' '.join(str(error).split())[:300]}")
            continue
        # Where a provider's libraries are missing, onnxruntime takes the CPU without a word.
        if PROVIDERS[name] in session.get_providers():
            return session, name, "" if name == names[0] else _fell_back(name, names[0])
        problems.append(f"its libraries for {name} are missing")
    raise ModelError(f"{path}: cannot be loaded: {'; '.join(problems)}")


def inputs(x: Floats, seed: int, config: ModelConfig, shapes: tuple[tuple[int, int], ...]) -> list[Floats]:
    """All that a network is given, with noise made here in NumPy: a seed gives the same colors with and without torch.

    Args:
        x: (N, C, H, W) in [-1, 1].
        shapes: (channels, how many times smaller than x) of each dropout that stays on.

    Returns:
        x, with a channel of Gaussian noise where the network takes one; and for each dropout numbers in [0, 1).
    """
    rng, (n, channels, height, width) = np.random.default_rng(seed), x.shape
    if config.generator.hints and channels == 1:
        x = np.concatenate([x, np.zeros((n, HINT_CHANNELS, height, width), np.float32)], 1)
    if config.generator.noise == "input":
        x = np.concatenate([x, rng.standard_normal((n, 1, height, width), np.float32)], 1)
    return [x, *(rng.random((n, kept, height // d, width // d), np.float32) for kept, d in shapes)]
