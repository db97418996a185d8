from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.devices import choose_device, choose_precision, require_devices, start
from pipeline.errors import DeviceError
from pipeline.params.schema import Params


def test_bf16_only_where_the_hardware_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    def cpu(amx: bool, avx: bool) -> str:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
        return choose_precision("auto", "cpu")

    assert (cpu(False, False), cpu(True, False), cpu(False, True)) == ("fp32", "bf16", "bf16")
    for capability, precision in (((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda c=capability: c)
        assert choose_precision("auto", "cuda") == precision
    assert choose_precision("fp32", "cuda") == "fp32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"base\.device cuda is not available here; allowed: auto, cpu"):
        choose_device("cuda", deterministic=True)
    with pytest.raises(DeviceError, match="fp16 needs a GPU"):
        choose_precision("fp16", "cpu")
    with pytest.raises(DeviceError, match="tf32 needs an NVIDIA GPU"):
        choose_precision("tf32", "cpu")


def test_a_mac_trains_on_its_gpu_only_where_the_bits_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto", deterministic=True) == "cpu"
    assert choose_device("auto", deterministic=False) == "mps"


def test_a_tracker_that_is_not_installed_is_refused(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    base = params.base.model_copy(update={"trackers": ("mlflow",), "device": "cpu"})
    with pytest.raises(
        DeviceError, match=r"mlflow is not installed; install the extra mlflow: .*`uv sync --extra mlflow`"
    ):
        start(base, Path("logs/trackers"))


def test_processes_share_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_devices("cuda", 2)
    require_devices("cpu", 9)
    with pytest.raises(
        DeviceError, match=r"3 processes cannot share 2 cuda device\(s\); set base.processes to at most 2"
    ):
        require_devices("cuda", 3)
    with pytest.raises(DeviceError, match="cannot share 1 mps"):
        require_devices("mps", 2)
