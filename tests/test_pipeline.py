"""The stages through real `dvc repro` in a temporary repository."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file

from pipeline.checkpointing.digests import code_digest
from pipeline.models.backbones import TESTED
from stages.dvc import STAGES, code_files
from tests.helpers import ROOT, Project

COLORIZERS = ["gray", "constant", "lightness_table", "pretrain", "finetune", "pretrain_saturated"]
METRICS = {
    *("ab_mae", "psnr_rgb", "psnr_ab", "ssim", "ciede2000", "colorfulness", "colorfulness_delta", "auc"),
    *("auc_rebalanced", "colorfulness_absolute", "near_gray", "hue_distance", "bleeding"),
    *("colorfulness_gap", "colorfulness_absolute_delta", "colorfulness_absolute_gap"),
    *("top1", "top5", "feature_lite0"),
}


@pytest.fixture(scope="module")
def done(make_project: Callable[[str], Project]) -> Project:
    """A project whose stages have run and are committed."""
    project = make_project("pipeline")
    project.change(evaluate={"classifier": "tf_efficientnet_lite0"})
    project.dvc("repro")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "results")
    return project


def changed(project: Project) -> set[str]:
    """The stages that the next `dvc repro` would run for their own parameters, code or data."""
    return set(json.loads(project.dvc("status", "--json").stdout))


def test_every_artifact_is_published(done: Project) -> None:
    names = set(done.outs())
    assert {
        "data/sample/manifest.csv",
        "checkpoints/pretrain/generator.safetensors",
        "checkpoints/pretrain/model.json",
        "checkpoints/finetune/generator.safetensors",
        "checkpoints/finetune/discriminator.safetensors",
        "checkpoints/finetune/model.json",
        "reports/sample/metrics.json",
        "reports/pretrain/metrics.json",
        "reports/pretrain/history.csv",
        "reports/pretrain/samples/train-epoch-0001.png",
        "reports/pretrain/samples/valid-epoch-0001.png",
        "reports/finetune/metrics.json",
        "reports/finetune/history.csv",
        "reports/evaluate/metrics.json",
        "reports/evaluate/summary.json",
        "reports/evaluate/per_image.csv",
        "reports/evaluate/protocol.json",
        "reports/evaluate/samples.png",
        "reports/evaluate/extremes.png",
    } <= names
    assert not [name for name in names if "publishing" in name]
    assert not changed(done)


@pytest.mark.slow
def test_what_dvc_compares_fits_a_terminal(done: Project) -> None:
    """`dvc metrics diff` has 20 rows at most, and `dvc exp show --only-changed` fits into 200 columns."""
    shown = json.loads(done.dvc("metrics", "show", "--json").stdout)[""]["data"]
    (summary,) = [file["data"] for file in shown.values()]
    numbers = [value for stage in summary.values() for value in stage.values()]
    # fd_lite0 of both comes with 200 test photographs.
    assert 9 == len(numbers) <= 20 - 2
    done.dvc("exp", "run", "--temp", "-n", "l1-10", "-S", "finetune.losses.l1=10")
    table = done.dvc("exp", "show", "--only-changed", "--no-pager", env={"COLUMNS": "200", "TERM": "xterm"}).stdout
    done.dvc("exp", "remove", "l1-10")
    assert max(map(len, table.splitlines())) <= 200
    # Only what has changed is shown, in full words: which metrics have is another thing on each processor.
    head = table.splitlines()[1].split()
    assert "finetune.losses.l1" in head, table
    assert {f"finetune.{name}" for name in summary["finetune"]} & set(head), table


def protocol_of(project: Project) -> dict[str, Any]:
    return json.loads((project.folder / "reports/evaluate/protocol.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_evaluation_scores_every_colorizer_on_every_photograph(done: Project) -> None:
    reports = done.folder / "reports/evaluate"
    metrics = json.loads((reports / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics) == set(COLORIZERS)
    assert all(set(scores) == METRICS for scores in metrics.values())
    intervals = json.loads((reports / "intervals.json").read_text(encoding="utf-8"))
    for name in COLORIZERS:
        assert set(intervals[name]) == METRICS
        assert all(low <= metrics[name][metric] <= high for metric, (low, high) in intervals[name].items())
    summary = json.loads((reports / "summary.json").read_text(encoding="utf-8"))
    assert all(metrics[stage][name] == value for stage in summary for name, value in summary[stage].items()
               if name != "slider_margin")  # fmt: skip
    margin = metrics["pretrain_saturated"]["ab_mae"] - metrics["finetune"]["ab_mae"]
    assert summary["finetune"]["slider_margin"] == pytest.approx(margin, abs=2e-5)
    compared = json.loads((reports / "comparisons.json").read_text(encoding="utf-8"))
    assert compared["finetune - pretrain"]["ab_mae"]["verdict"] in ("better", "worse", "no difference")
    assert set(compared) == {f"finetune - {other}" for other in ("pretrain", "pretrain_saturated", "lightness_table")}
    factor = float(protocol_of(done)["colorizers"]["pretrain_saturated"].split("times ")[1].split(",")[0])
    assert 0 < factor < 8
    with (reports / "per_image.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["colorizer"] for row in rows[:6]] == COLORIZERS
    assert len(rows) == 3 * 6
    for name in COLORIZERS:
        errors = [float(row["ab_mae"]) for row in rows if row["colorizer"] == name]
        assert sum(errors) / 3 == pytest.approx(metrics[name]["ab_mae"], abs=1e-4)
    protocol = protocol_of(done)
    assert set(protocol["metrics"]) == METRICS | {"fd_lite0"}
    assert len(protocol["photographs"].pop("sha256")) == 64
    assert protocol["photographs"] == {"count": 3, "resolution": [32, 32], "split": "test", "fit": "crop"}
    for name, digest in protocol["weights"].items():
        weights = (done.folder / "checkpoints" / name / "generator.safetensors").read_bytes()
        assert digest == hashlib.sha256(weights).hexdigest()
    assert set(protocol["weights"]) == {"pretrain", "finetune"}
    assert protocol["classifier"]["name"] == "tf_efficientnet_lite0"
    samples = Image.open(reports / "samples.png")
    assert samples.width > 3 * 96
    assert samples.height > 4 * 90


def test_history_has_losses_rates_and_validation(done: Project) -> None:
    with (done.folder / "reports/finetune/history.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert set(row) == {
        *("epoch", "discriminator", "adversarial", "content", "generator"),
        *("lr_generator", "lr_discriminator", "valid_ab_mae"),
        # What the choice of an epoch goes by, whether or not the last is published.
        *("valid_colorfulness", "valid_color_distance", "valid_knob_margin"),
    }
    assert float(row["generator"]) == pytest.approx(float(row["adversarial"]) + 100 * float(row["content"]), rel=1e-3)


def test_finetuning_starts_from_pretraining_and_moves(done: Project) -> None:
    before = load_file(done.folder / "checkpoints/pretrain/generator.safetensors")
    after = load_file(done.folder / "checkpoints/finetune/generator.safetensors")
    # Two steps of Adam at 2e-4 move a weight by at most a little over 4e-4.
    floats = [key for key in before if before[key].is_floating_point() and "running" not in key]
    moved = [float((after[key] - before[key]).abs().max()) for key in floats]
    assert 0 < max(moved) < 1e-3


def test_parameters_rerun_only_what_reads_them(done: Project) -> None:
    cases = {
        "base": ({"num_workers": 2}, set()),
        "evaluate": ({"lightness_bins": 7}, {"evaluate"}),
        # The model card, which export writes, lists what the model was trained with.
        "finetune": ({"losses": {"l1": 50.0}}, {"finetune", "export"}),
        "discriminator": ({"conditional": False}, {"finetune", "export"}),
        "pretrain": ({"lr": 0.0005}, {"pretrain", "export"}),
        # evaluate.photographs are chosen as those of the sample.
        "sample": ({"min_chroma": 3.0}, {"sample", "evaluate", "export"}),
        "export": ({"variant": "fp16"}, {"export"}),
    }
    for block, (keys, stages) in cases.items():
        done.change(**{block: keys})
        assert changed(done) == stages, block
        done.git("checkout", "-q", "params.yaml")


def test_what_dvc_users_type(done: Project) -> None:
    assert "finetune" in done.dvc("dag").stdout
    assert "slider_margin" in done.dvc("metrics", "show", "--json").stdout
    assert done.dvc("metrics", "diff", "--json").stdout.strip() in ("", "{}")
    done.change(finetune={"losses": {"l1": 50.0}})
    assert "finetune.losses.l1" in done.dvc("params", "diff").stdout
    done.git("checkout", "-q", "params.yaml")
    page = done.folder / "page"
    done.dvc("plots", "show", "-o", str(page))
    assert "Fine-tuning content loss" in (page / "index.html").read_text(encoding="utf-8")
    shown = [path.name for path in (page / "static").iterdir()]
    assert [name for name in shown if "samples.png" in name]
    assert [name for name in shown if "epoch-0001" in name]


def test_the_exported_model_is_checked_and_described(done: Project) -> None:
    metrics = json.loads((done.folder / "reports/export/metrics.json").read_text(encoding="utf-8"))
    assert len(metrics["parity"]) == 4
    assert max(metrics["parity"].values()) < 0.01
    evaluated = json.loads((done.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert metrics["fp32"]["ab_mae"] == pytest.approx(evaluated["finetune"]["ab_mae"], abs=1e-3)
    card = (done.folder / "checkpoints/export/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: other\n")
    assert f"| finetune | {evaluated['finetune']['ab_mae']:.4g} |" in card
    assert "8 photographs for training and 3 for validation, from the source `bundled`" in card
    exported = (done.folder / "checkpoints/export/generator.onnx").read_bytes()
    for text in (card.encode(), exported, (done.folder / "checkpoints/export/model.json").read_bytes()):
        assert str(done.folder).encode() not in text
        assert b"site-packages" not in text


def test_photographs_are_colored_with_the_newest_model(done: Project, tmp_path: Path) -> None:
    Image.linear_gradient("L").save(tmp_path / "gray.png")
    colored = done.twotone("colorize", str(tmp_path / "gray.png"), "-o", str(tmp_path / "out"))
    assert "1 colored, 0 kept as they were, 0 failed; model checkpoints/export" in colored.stdout
    with Image.open(tmp_path / "out/gray.png") as image:
        assert (image.size, image.mode) == ((256, 256), "RGB")


@pytest.mark.slow
def test_forced_again_every_byte_is_the_same(done: Project) -> None:
    before = done.outs()
    lock = (done.folder / "dvc.lock").read_bytes()
    done.dvc("repro", "--force", "--no-run-cache")
    assert done.outs() == before
    assert (done.folder / "dvc.lock").read_bytes() == lock


@pytest.mark.slow
def test_the_default_network_forced_again(make_project: Callable[[str], Project]) -> None:
    project = make_project("fastai")
    project.change(generator={"decoder": "fastai"})
    project.dvc("repro")
    before = project.outs()
    project.dvc("repro", "--force", "--no-run-cache")
    assert project.outs() == before


@pytest.mark.slow
def test_an_experiment_swaps_the_backbone(make_project: Callable[[str], Project]) -> None:
    project = make_project("experiment")
    project.dvc("exp", "run", "-S", "generator.backbone=resnet34", "--name", "wider", "pretrain")
    model = json.loads((project.folder / "checkpoints/pretrain/model.json").read_text(encoding="utf-8"))
    assert model["generator"]["backbone"] == "resnet34"
    assert "resnet34" in project.dvc("exp", "show", "--csv").stdout
    project.change(generator={"backbone": "vit_tiny_patch16_224"})
    before = (project.folder / "dvc.lock").read_bytes()
    refused = project.dvc("repro", ok=False)
    assert refused.returncode != 0
    assert "cannot be the encoder of a U-Net" in refused.stderr
    assert (project.folder / "dvc.lock").read_bytes() == before
    assert not (project.folder / "checkpoints/pretrain").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [name for name in TESTED if name not in ("resnet18", "resnet34")])
def test_every_working_backbone_is_one_parameter(backbone: str, make_project: Callable[[str], Project]) -> None:
    project = make_project(backbone)
    project.dvc("exp", "run", "-S", f"generator.backbone={backbone}")
    metrics = json.loads((project.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert 0 < metrics["finetune"]["ab_mae"] < 60


@pytest.mark.slow
def test_queued_experiments(make_project: Callable[[str], Project]) -> None:
    project = make_project("queue")
    for value in (10, 20):
        project.dvc("exp", "run", "--queue", "-S", f"finetune.losses.l1={value}", "--name", f"lambda-{value}")
    project.dvc("exp", "run", "--run-all")
    project.wait_for_the_queue()
    shown = project.dvc("exp", "show", "--csv").stdout
    assert "lambda-10" in shown
    assert "lambda-20" in shown


RERUNS = {
    "pipeline/media/decoding.py": {"sample", "evaluate"},
    "pipeline/training/losses.py": {"pretrain", "finetune", "export"},
    "pipeline/evaluation/metrics.py": {"evaluate"},
    "pipeline/params/schema.py": set(STAGES),
    "pipeline/system.py": set(),
    "pipeline/coloring/batch.py": set(),
    "stages/finetune.py": {"finetune"},
}


# One that trains anew, one that reruns without training, one that reruns nothing; the others are slow.
FIRST = ("pipeline/training/losses.py", "pipeline/params/schema.py", "pipeline/system.py")


@pytest.mark.parametrize(
    "name", [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in RERUNS]
)
def test_a_change_of_code_reruns_the_stages_that_name_its_folder(name: str, done: Project) -> None:
    """As DVC sees it; and the fingerprints of trainings change with it, but not with the schema of params.yaml."""
    files = {stage: [done.folder / file.relative_to(ROOT) for file in code_files(stage)] for stage in STAGES}
    digests = {stage: code_digest(files[stage]) for stage in STAGES}
    path = done.folder / name
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\nTOUCHED = True\n", encoding="utf-8")
    try:
        assert changed(done) == RERUNS[name]
        by_digest = {stage for stage in STAGES if code_digest(files[stage]) != digests[stage]}
        assert by_digest == (set() if name == "pipeline/params/schema.py" else RERUNS[name])
    finally:
        path.write_text(text, encoding="utf-8")


def test_caches_beside_the_code_rerun_nothing(done: Project) -> None:
    cache = done.folder / "pipeline/models/__pycache__"
    files = [
        cache / "layers.cpython-311.pyc",
        done.folder / "pipeline/training/.DS_Store",
        done.folder / "stages/x.pyc",
    ]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(os.urandom(64))
    try:
        assert not changed(done)
    finally:
        for file in files:
            file.unlink()
