"""`twotone check` and the way back from a value that was refused, in a real project."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.experiments.check import without_effect
from pipeline.params.schema import Params, parse
from tests.helpers import ROOT, Project, environment, save_photo, twotone
from tests.nursery import Nursery


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
        pytest.param(
            "generator.max_width=1",
            "generator.max_width must be 0 or >= 2: a decoder halves it",
            marks=pytest.mark.slow,
        ),
        pytest.param("base.seed=1,-2", "base.seed must be >= 0, got -2", marks=pytest.mark.slow),
        ("~finetune.losses.l1", "finetune.losses must name at least one, got {}"),
        ("sample.train=100000", "not enough photographs for sample.train 100000"),
        pytest.param(
            "sample.path=nowhere.csv", "sample.path nowhere.csv: cannot be read: No such file", marks=pytest.mark.slow
        ),
        pytest.param("base.device=cuda", "base.device cuda is not available here", marks=pytest.mark.slow),
        ("seed", "missing EQUAL at '<EOF>'"),
        ("base.states=nowhere", "base.states nowhere: expected an address"),
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


@pytest.mark.parametrize(
    ("change", "quoted"),
    [
        ("sample.path=/data/Müller", "\"sample.path='/data/Müller'\""),
        pytest.param("sample.path=照片", "\"sample.path='照片'\"", marks=pytest.mark.slow),
        pytest.param("sample.path=Photos (1)", "\"sample.path='Photos (1)'\"", marks=pytest.mark.slow),
        pytest.param("sample.path=a,b", "\"sample.path='a,b'\"", marks=pytest.mark.slow),
        ("sample.path=it's", "'sample.path=\"it'\"'\"'s\"'"),
        pytest.param(
            "sample.path=~/pics",
            f"\"sample.path='{os.path.expanduser('~/pics')}'\"",
            marks=pytest.mark.slow,
        ),
        pytest.param("finetune.losses={l1: 100, mse: 10}", '"finetune.losses=l1:100 mse:10"', marks=pytest.mark.slow),
        ("finetune.losses.mse=10", '"finetune.losses=l1:100.0 mse:10"'),
    ],
)
def test_the_quoting_that_works_is_said(project: Project, change: str, quoted: str) -> None:
    refused = twotone(project.folder, "check", "-S", change)
    assert refused.returncode == 2
    assert f"-S {quoted}\n" in refused.stderr
    # What a shell makes of it is taken, and arrives as it was meant.
    (word,) = shlex.split(quoted)
    taken = twotone(project.folder, "check", "-S", word)
    meant = os.path.expanduser(change.partition("=")[2])
    assert "mismatched" not in taken.stderr
    assert "losses 100 l1 + 10 mse" in taken.stdout if "losses" in change else f"sample.path {meant}: " in taken.stderr


def test_a_grid_is_checked_experiment_by_experiment(project: Project) -> None:
    """As `dvc exp run --queue -S` takes one."""
    done = twotone(project.folder, "check", "-S", "base.seed=1,2", "-S", "pretrain.epochs=range(1,3)")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.endswith(": valid")] == [
        f"params.yaml with -S base.seed={seed} -S pretrain.epochs={epochs}: valid"
        for seed in (1, 2)
        for epochs in (1, 2)
    ]


def test_what_has_no_effect_is_said(project: Project) -> None:
    project.change(generator={"backbone": "resnet34"}, pretrain={"epoch_steps": 1000, "sample_epochs": [1, 50]})
    said = [line for line in twotone(project.folder, "check").stdout.splitlines() if line.startswith("without effect")]
    assert said == [
        *(
            f"without effect: generator.{key}, which compact_unet does not have"
            for key in ("backbone", "decoder", "max_width")
        ),
        "without effect: pretrain.epoch_steps 1000: an epoch has 2 steps",
        "without effect: pretrain.sample_epochs beyond 1, the last epoch: 50",
    ]


def test_what_others_make_useless_is_said(params: Params) -> None:
    tree = params.model_dump(mode="json")
    assert without_effect(parse(tree)) == []
    tree["pretrain"] |= {"epochs": 3, "sample_epochs": [1], "patience": 3, "freeze_epochs": 2, "encoder_lr_factor": 0.0}
    tree["discriminator"] |= {"channels": 32}
    tree["finetune"] |= {"adversarial_loss": "none", "without_hints": 0.9, "lr_discriminator": 0.01}
    tree["sample"] |= {"dataset": "FOO"}
    assert without_effect(parse(tree)) == [
        "pretrain.patience 3: there are 3 epochs",
        "pretrain.freeze_epochs, since encoder_lr_factor 0 freezes the encoder in every epoch",
        "pretrain for the backbone: its weights are drawn, and frozen in every epoch of that stage",
        "discriminator, since finetune.adversarial_loss is none",
        "finetune.lr_discriminator, since finetune.adversarial_loss is none",
        "sample.dataset, since sample.source is bundled",
        "finetune.without_hints, without generator.hints",
    ]


def test_what_dvc_stops_at_in_a_folder_is_found_before(project: Project) -> None:
    folder = project.folder / "photos"
    folder.mkdir()
    (folder / "broken.jpg").symlink_to("nowhere")
    project.change(sample={"source": "folder", "path": "photos"})
    assert "'photos/broken.jpg' is a link to nothing; dvc stops there" in twotone(project.folder, "check").stderr
    (folder / "broken.jpg").unlink()
    (folder / os.fsdecode(b"latin\xe9.png")).write_bytes(b"")
    assert "latin\\udce9.png' is a name that is no UTF-8; dvc stops" in twotone(project.folder, "check").stderr
    for path in (".", "..", "reports", "data/sample/photos"):
        project.change(sample={"path": path})
        assert "must neither hold nor lie in" in twotone(project.folder, "check").stderr


def test_what_is_not_in_params_yaml_is_named(project: Project) -> None:
    """As in one of an earlier version."""
    text = (project.folder / "params.yaml").read_text(encoding="utf-8")
    (project.folder / "params.yaml").write_text(text.replace("  license: other\n", ""), encoding="utf-8")
    done = twotone(project.folder, "check")
    assert 'params.yaml: not in it, and taken as in quickstart: export.license: "other"\n' in done.stdout


def test_what_dvc_reads_must_be_in_params_yaml(project: Project) -> None:
    text = (project.folder / "params.yaml").read_text(encoding="utf-8")
    (project.folder / "params.yaml").write_text(text.replace("  photographs: checkpoints/none\n", ""), encoding="utf-8")
    refused = twotone(project.folder, "check")
    assert refused.returncode == 2
    assert 'lacks what dvc.yaml reads; add to it evaluate.photographs: "checkpoints/none"' in refused.stderr


def test_other_photographs_are_looked_at(project: Project) -> None:
    for place, sentence in (
        ("nowhere", "evaluate.photographs nowhere: no such directory"),
        ("pipeline", "evaluate.photographs pipeline: no image files"),
    ):
        refused = twotone(project.folder, "check", "-S", f"evaluate.photographs={place}")
        assert refused.returncode == 2
        assert sentence in refused.stderr
    (project.folder / "mine").mkdir()
    save_photo(project.folder / "mine/one.jpg", np.random.default_rng(0))
    assert "1 photograph(s) in mine" in twotone(project.folder, "check", "-S", "evaluate.photographs=mine").stdout


def test_a_tilde_is_refused_in_words(project: Project) -> None:
    for key in ("sample.path", "evaluate.lpips_weights", "evaluate.fid_weights"):
        refused = twotone(project.folder, "check", "-S", f"{key}='~/x'")
        assert f"{key} must not begin with ~, which only a shell knows; write the folder out: /" in refused.stderr


@pytest.mark.parametrize(
    "key",
    [
        "pretrain.sample_epochs",
        pytest.param("finetune.keep_epochs", marks=pytest.mark.slow),
        pytest.param("base.trackers", marks=pytest.mark.slow),
    ],
)
def test_lists_are_replaced(project: Project, key: str) -> None:
    block, name = key.split(".")
    value = "[tensorboard]" if name == "trackers" else "[1]"
    # Not every home has a user's name, and a queued experiment is a commit.
    for setting in ("user.name", "user.email"):
        project.git("config", setting, "test@example.org")
    project.dvc("exp", "run", "--queue", "-S", f"{key}={value}")
    shown = json.loads(project.dvc("exp", "show", "--json").stdout)
    (queued,) = [
        run["revs"][0]["data"]["params"]["params.yaml"]["data"]
        for base in shown
        for run in base.get("experiments") or []
    ]
    assert queued[block][name] == (["tensorboard"] if name == "trackers" else [1])
    project.dvc("queue", "remove", "--all")


def test_losses_are_replaced_by_a_text(project: Project) -> None:
    done = twotone(project.folder, "check", "-S", "pretrain.losses=mse:10", "-S", "finetune.losses=l1:1 mse:0.5")
    assert done.returncode == 0, done.stderr
    assert "pretrain: 2 steps in 1 epoch, losses 10 mse\n" in done.stdout
    assert "finetune: 2 steps in 1 epoch, losses 1 l1 + 0.5 mse, against a discriminator (bce)\n" in done.stdout


def test_what_is_trained_stands_in_the_stages_first_lines(project: Project, nursery: Nursery) -> None:
    project.change(pretrain={"losses": "l1:1 mse:10", "ema_decay": 0.999})
    nursery.run(project.folder, "sample")
    said = nursery.run(project.folder, "pretrain")
    assert "pretrain: 2 steps in 1 epoch, losses 1 l1 + 10 mse\n" in said
    assert (
        "ema_decay 0.999 is reached after 8990 steps, and the generator has 2: its average forgets with 0.25 at most"
        in said
    )


def test_files_that_experiments_in_a_copy_would_lack_are_named(project: Project) -> None:
    (project.folder / "pipeline/mine.py").write_text("", encoding="utf-8")
    done = twotone(project.folder, "check")
    assert "git: does not know pipeline/mine.py; `dvc exp run --temp` and `--queue` leave such files out" in done.stdout


def test_a_fastai_data_set_that_is_none_is_refused(project: Project) -> None:
    refused = twotone(project.folder, "check", "-S", "sample.source=fastai", "-S", "sample.dataset=COCO_SAMPEL")
    assert refused.returncode == 2
    assert "sample.dataset 'COCO_SAMPEL' is no fastai data set; similar names: COCO_SAMPLE" in refused.stderr


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
    (project.folder / "nowhere.safetensors").write_bytes(bytes(100))
    refused = twotone(project.folder, "check")
    assert "generator.weights nowhere.safetensors: no file of safetensors" in refused.stderr
    refused = twotone(project.folder, "check", "-S", "generator.weights=none", "-S", "generator.backbone=vit_tiny")
    assert "generator.backbone 'vit_tiny' cannot be the encoder" in refused.stderr


def hook() -> str:
    """The hook of the README."""
    _, _, text = (
        (ROOT / "docs/how-to/compare-and-swap.md")
        .read_text(encoding="utf-8")
        .partition("cat > .git/hooks/pre-commit <<'EOF'\n")
    )
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
    assert "`git checkout params.yaml dvc.lock reports` and then `dvc checkout` bring it back" in said
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
