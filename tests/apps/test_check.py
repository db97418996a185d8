"""`twotone check` and the way back from a value that was refused, in a real project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.helpers import ROOT, Project, environment, twotone


@pytest.fixture
def project(make_project: Callable[[str], Project]) -> Project:
    project = make_project("check")
    project.change(generator={"architecture": "compact_unet"})
    return project


def test_what_a_run_needs_is_listed(project: Project) -> None:
    done = twotone(project.folder, "check")
    assert done.returncode == 0, done.stderr
    first, *_ = lines = done.stdout.splitlines()
    assert first == "params.yaml: valid"
    assert "base: cpu, fp32" in lines
    assert "photographs or regions in pipeline/sampling/bundled.csv, not yet decoded" in done.stdout
    assert "generator: compact_unet, 5." in done.stdout


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "finetune.adversarial_loss=wgan",
            "finetune.adversarial_loss must be 'bce', 'lsgan', 'hinge' or 'none', got 'wgan'",
        ),
        ("++finetune.losses.l2=3", "finetune.losses.l2 is not known"),
        ("finetune.losses.mse=3", "Could not override 'finetune.losses.mse'. To append to your config use +finetune"),
        ("~finetune.losses.l1", "finetune.losses must name at least one, got {}"),
        ("sample.train=100000", "not enough photographs for sample.train 100000"),
        pytest.param(
            "sample.path=nowhere.csv", "sample.path nowhere.csv: cannot be read: No such file", marks=pytest.mark.slow
        ),
        pytest.param("base.device=cuda", "base.device cuda is not available here", marks=pytest.mark.slow),
        ("seed", "missing EQUAL at '<EOF>'"),
    ],
)
def test_what_would_be_refused_is_refused(project: Project, change: str, sentence: str) -> None:
    before = (project.folder / "params.yaml").read_bytes()
    refused = twotone(project.folder, "check", "-S", change)
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (project.folder / "params.yaml").read_bytes() == before
    assert not (project.folder / "data").exists()


def test_a_change_may_mend_what_params_yaml_says(project: Project) -> None:
    project.change(finetune={"adversarial_loss": "wgan"})
    assert twotone(project.folder, "check").returncode == 2
    mended = twotone(project.folder, "check", "-S", "finetune.adversarial_loss=hinge")
    assert mended.returncode == 0, mended.stderr
    (project.folder / "params.yaml").unlink()
    refused = twotone(project.folder, "check", "-S", "base.seed=2")
    assert refused.returncode == 2
    assert "params.yaml: no such file; run from the top of the project" in refused.stderr


@pytest.mark.slow
def test_weights_and_backbones_are_looked_for(project: Project) -> None:
    project.change(generator={"architecture": "dynamic_unet", "weights": "nowhere.safetensors"})
    refused = twotone(project.folder, "check")
    assert refused.returncode == 2
    assert "generator.weights nowhere.safetensors: no such file" in refused.stderr
    refused = twotone(project.folder, "check", "-S", "generator.weights=none", "-S", "generator.backbone=vit_tiny")
    assert "generator.backbone 'vit_tiny' cannot be the encoder" in refused.stderr


def hook() -> str:
    """The hook of the README."""
    _, _, text = (ROOT / "README.md").read_text(encoding="utf-8").partition("cat > .git/hooks/pre-commit <<'EOF'\n")
    return text.partition("EOF\n")[0]


@pytest.mark.slow
def test_the_hook_of_the_readme_refuses_a_commit(project: Project) -> None:
    path = project.folder / ".git/hooks/pre-commit"
    path.write_text(hook(), encoding="utf-8")
    path.chmod(0o755)
    (project.folder / ".venv").symlink_to(sys.prefix)

    def commit() -> subprocess.CompletedProcess[str]:
        words = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "change"]
        return subprocess.run(words, cwd=project.folder, env=environment(), capture_output=True, encoding="utf-8")

    project.change(finetune={"adversarial_loss": "wgan"})
    refused = commit()
    assert refused.returncode != 0
    assert "finetune.adversarial_loss must be" in refused.stderr
    project.change(finetune={"adversarial_loss": "lsgan"})
    assert commit().returncode == 0


@pytest.mark.slow
def test_a_refused_value_costs_nothing_that_cannot_be_brought_back(
    make_project: Callable[[str], Project],
) -> None:
    project = make_project("refused")
    project.change(generator={"architecture": "compact_unet"}, pretrain={"epochs": 0}, finetune={"epochs": 0})
    project.dvc("repro", "finetune")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "trained")
    checkpoint = project.folder / "checkpoints/finetune/generator.safetensors"
    before = checkpoint.read_bytes()
    refused = project.dvc("exp", "run", "-S", "finetune.adversarial_loss=wgan", "finetune", ok=False)
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "finetune.adversarial_loss must be 'bce', 'lsgan', 'hinge' or 'none', got 'wgan'" in said
    assert "`git checkout params.yaml dvc.lock reports` and then `dvc checkout` bring back" in said
    # As the message says.
    project.git("checkout", "params.yaml", "dvc.lock", "reports")
    project.dvc("checkout", ok=False)  # evaluate and export have never run here: it says so, and goes on
    assert checkpoint.read_bytes() == before
    assert (project.folder / "reports/finetune/metrics.json").exists()
    assert not json.loads(project.dvc("status", "--json", "finetune").stdout)


def test_the_sentence_about_dvc_is_for_dvc(project: Project) -> None:
    project.change(finetune={"adversarial_loss": "wgan"})
    refused = project.run("stages", "finetune", ok=False)
    assert "dvc checkout" not in refused.stderr
    assert os.environ.get("DVC_STAGE") is None
