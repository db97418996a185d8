"""What a model colors on, with lists of providers made for the test: this machine may have the CPU alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from pipeline.errors import ModelError
from pipeline.inference import networks
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.devices import onnx_devices, torch_devices
from pipeline.inference.starter import starter_folder
from tests.helpers import save_photo, twotone

CUDA = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
MAC = ["CoreMLExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("asked", "available", "expected"),
    [
        ("auto", ["AzureExecutionProvider", "CPUExecutionProvider"], ["cpu"]),
        ("auto", CUDA, ["cuda", "cpu"]),
        ("auto", MAC, ["coreml", "cpu"]),
        ("auto", ["DmlExecutionProvider", "CPUExecutionProvider"], ["directml", "cpu"]),
        ("cpu", CUDA, ["cpu"]),
        ("coreml", MAC, ["coreml"]),
    ],
)
def test_the_fastest_that_is_offered_comes_first(asked: str, available: list[str], expected: list[str]) -> None:
    assert onnx_devices(asked, available) == expected


def test_what_is_not_here_is_refused() -> None:
    with pytest.raises(ModelError, match="device cuda: the installed onnxruntime has coreml, cpu here"):
        onnx_devices("cuda", MAC)
    with pytest.raises(ModelError, match=r"device must be one of auto, cuda, .*, got 'gpu'"):
        onnx_devices("gpu", MAC)
    with pytest.raises(ModelError, match=r"device openvino: torch has .*cpu here"):
        torch_devices("openvino")


class Runtime:
    """onnxruntime as on a machine with these providers, of which one does not work."""

    SessionOptions = SimpleNamespace

    def __init__(self, providers: list[str], broken: str = "", silent: bool = False):
        self._real, self._providers, self._broken, self._silent = networks.onnx_runtime(), providers, broken, silent
        self.bits: dict[str, set[int]] = {}

    def get_available_providers(self) -> list[str]:
        return self._providers

    def InferenceSession(self, content: bytes, _options: Any, providers: list[str]) -> Any:  # noqa: N802
        if providers == [self._broken] and not self._silent:
            raise RuntimeError("no such device")
        self.bits[providers[0]] = {t.data_type for t in onnx.load_from_string(content).graph.initializer}
        session = self._real.InferenceSession(content, providers=["CPUExecutionProvider"])
        took = "CPUExecutionProvider" if providers == [self._broken] else providers[0]
        return SimpleNamespace(run=session.run, get_inputs=session.get_inputs, get_providers=lambda: [took])


@pytest.mark.parametrize("silent", [False, True])
def test_where_it_does_not_work_the_cpu_colors_and_says_so(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, silent: bool
) -> None:
    gray = rng.integers(0, 256, (60, 50), np.uint8)
    expected = Colorizer.load(starter_folder(), device="cpu")(gray)
    runtime = Runtime(CUDA, CUDA[1], silent)
    monkeypatch.setattr(networks, "onnx_runtime", lambda: runtime)
    colorizer = Colorizer.load(starter_folder())
    assert (colorizer.device, colorizer.note) == ("cpu", "coloring on the cpu, since cuda does not work")
    assert np.array_equal(colorizer(gray), expected)
    # A CPU computes in 32 bits.
    types = {"CPUExecutionProvider": {onnx.TensorProto.FLOAT}}
    assert runtime.bits == types | ({CUDA[1]: {onnx.TensorProto.FLOAT16}} if silent else {})
    with pytest.raises(ModelError, match="cannot be loaded"):
        Colorizer.load(starter_folder(), device="cuda")


def test_where_it_works_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(MAC)
    monkeypatch.setattr(networks, "onnx_runtime", lambda: runtime)
    assert (Colorizer.load(starter_folder()).device, Colorizer.load(starter_folder()).note) == ("coreml", "")


def test_the_command_line_names_what_is_here(tmp_path: Path, rng: np.random.Generator) -> None:
    save_photo(tmp_path / "photo.png", rng)
    words = ["colorize", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out"), "--device"]
    assert twotone(tmp_path, *words, "cpu").returncode == 0
    refused = twotone(tmp_path, *words, "directml")
    assert refused.returncode == 2
    assert "error: device directml: the installed onnxruntime has" in refused.stderr
