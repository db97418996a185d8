"""`twotone doctor` in a real project, without one, and on machines that are not this one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.experiments import doctor
from pipeline.params.schema import Base, Params
from tests.helpers import QUICKSTART, Project, twotone


@pytest.fixture(scope="module")
def project(make_project: Callable[[str], Project]) -> Project:
    return make_project("doctor")


def rows(printed: str) -> dict[str, str]:
    """topic -> found; both have two spaces or more between them."""
    lines = [line.split("  ", 1) for line in printed.splitlines() if "  " in line]
    return {topic: found.strip() for topic, found in lines}


@pytest.mark.slow
def test_a_project_that_is_ready(project: Project) -> None:
    done = twotone(project.folder, "doctor")
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout)
    assert f"torch {torch.__version__.split('+')[0]}" in found["packages"]
    assert found["extra train"] == "installed"
    assert found["device"] == "cpu, because base.device is cpu"
    assert found["precision"] == "fp32, because base.precision is fp32"
    assert "of fp32's time here" in found["bf16"]
    assert "tf_efficientnet_lite0" in found["weights in packages"]
    assert found["weights of resnet18"] == "drawn at random (generator.weights is none)"
    assert found["checkpoints/export"].startswith("none; dvc repro trains it")
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=project.folder, capture_output=True, encoding="utf-8"
    )
    assert f"at commit {head.stdout.strip()}" in found["git"]
    assert found["dvc"] == "a project; remotes: none (docs/how-to/remotes.md)"
    assert "ready for dvc repro" in done.stdout


@pytest.mark.slow
def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    done = twotone(tmp_path, "doctor")
    assert done.returncode == 1
    assert "problem: params.yaml: run from the top of the checkout" in done.stderr
    assert "problem: no git repository here; type `git init`" in done.stderr
    assert "problem: no DVC project here; type `dvc init`" in done.stderr
    assert "ready for dvc repro" not in done.stdout
    assert rows(done.stdout)["coloring"] == "ready, with the starter model"
    assert "Traceback" not in done.stderr


def findings(base: Base) -> dict[str, doctor.Finding]:
    return {finding.topic: finding for finding in doctor._device(base)}


def test_device_and_precision_with_their_reasons(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "_bf16_ratio", lambda _: 0.5)
    for amx, avx, precision, why in (
        (True, True, "bf16", "AMX for bf16"),
        (False, True, "bf16", "AVX512-BF16 for bf16"),
        (False, False, "fp32", "no instructions for bf16"),
    ):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        found = findings(params.base)
        assert found["device"].found == "cpu, because there is no GPU"
        assert found["precision"].found == f"{precision}, because auto follows the processor: {why}"
    refused = findings(params.base.model_copy(update={"device": "cuda"}))
    assert refused["device"].problem == "base.device cuda is not available here; allowed: auto, cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert "no deterministic max pooling" in findings(params.base)["device"].found


@pytest.mark.parametrize(
    ("ratio", "precision", "verdict"),
    [
        (0.3, "bf16", "pays: a convolution, forward and backward, takes 0.30 of fp32's time here"),
        (0.3, "fp32", "set base.precision to bf16 to use it"),
        (1.7, "bf16", "does not pay: a convolution, forward and backward, takes 1.70 of fp32's time here; set"),
        (1.02, "bf16", "makes no difference"),
    ],
)
def test_whether_bf16_pays(ratio: float, precision: str, verdict: str) -> None:
    assert verdict in doctor._bf16_verdict(ratio, precision)


@pytest.mark.slow
def test_the_measurement_sees_a_slower_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are not tested, but that the ratio is bf16's to fp32's: bf16 is made to wait."""
    own = torch.nn.Conv2d.forward

    def forward(self: torch.nn.Conv2d, batch: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            time.sleep(0.2)
        return own(self, batch)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    assert doctor._bf16_ratio("cpu") > 1.5


def test_git_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_AUTHOR_EMAIL", raising=False)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (finding,) = doctor._git(tmp_path)
    assert "no commit yet, which dvc exp run needs" in finding.found
    assert "so dvc exp run cannot commit: type `git config --global user.name NAME`" in finding.found
    assert not finding.problem
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = doctor._git(tmp_path)
    assert finding.problem.startswith("git is not installed")


def test_who_only_colors_hears_of_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda name: name not in doctor._PACKAGES)
    (tmp_path / "params.yaml").write_text(QUICKSTART.read_text(encoding="utf-8"), encoding="utf-8")
    assert doctor.examine(tmp_path / "params.yaml") == 1
    said = capsys.readouterr()
    assert "ready, with the starter model" in said.out
    (problem,) = said.err.splitlines()
    assert problem.startswith("problem: training needs more; install the extra train")
