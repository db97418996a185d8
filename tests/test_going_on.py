"""A finished model goes on: start_from, keep_epochs, no test split, through the stages and through dvc."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from safetensors.torch import load_file
from skimage.color import rgb2lab

from pipeline.models.config import read_config
from tests.helpers import ROOT, Project, save_photo, twotone
from tests.nursery import Nursery

GENERATOR = "checkpoints/{}/generator.safetensors"


# The starter model's.
STARTER = {"architecture": "dynamic_unet", "backbone": "tf_efficientnet_lite0", "decoder": "halved", "max_width": 512}


@pytest.fixture(scope="module")
def trained(make_project: Callable[[str], Project], nursery: Nursery) -> Project:
    """Trained in both stages, and its result copied to checkpoints/start."""
    project = make_project("going-on")
    project.change(generator={"architecture": "compact_unet"}, pretrain={"epochs": 2, "keep_epochs": [1]})
    for stage in ("sample", "pretrain", "finetune"):
        nursery.run(project.folder, stage)
    shutil.copytree(project.folder / "checkpoints/finetune", project.folder / "checkpoints/start")
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    shutil.copytree(trained.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def described(project: Project, folder: str) -> dict[str, dict[str, object]]:
    return json.loads((project.folder / folder / "model.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def same(project: Project, one: str, other: str) -> bool:
    first, second = (load_file(project.folder / name) for name in (one, other))
    return all(bool((first[key] == second[key]).all()) for key in first)


def test_no_epochs_publish_the_model_that_it_started_from(project: Project, nursery: Nursery) -> None:
    start = {"epochs": 0, "start_from": "start"}
    project.change(pretrain={**start, "keep_epochs": []}, finetune=start)
    for stage in ("pretrain", "finetune"):
        nursery.run(project.folder, stage)
        for name in ("generator", "discriminator")[: 1 if stage == "pretrain" else 2]:
            path = f"{name}.safetensors"
            published = (project.folder / "checkpoints" / stage / path).read_bytes()
            assert published == (project.folder / "checkpoints/start" / path).read_bytes()
    # What it has learnt from, too.
    start, finetuned = (described(project, f"checkpoints/{name}") for name in ("start", "finetune"))
    assert finetuned | {"began_with": start["sha256"]["generator.safetensors"]} == finetuned
    assert start | {"began_with": finetuned["began_with"]} == finetuned


def test_what_an_untrained_first_stage_began_with_is_not_forgotten(project: Project, nursery: Nursery) -> None:
    project.change(sample={"train": 12}, pretrain={"epochs": 0, "start_from": "start", "keep_epochs": []})
    for stage in ("sample", "pretrain", "finetune"):
        nursery.run(project.folder, stage)
    training = described(project, "checkpoints/finetune")["training"]
    assert training["photographs"] == 12
    assert training["before"] == described(project, "checkpoints/start")["training"]


def test_the_scores_of_an_exported_model_are_not_those_of_what_learns_on(project: Project, nursery: Nursery) -> None:
    start = {"start_from": "starter", "losses": {"l1": 1.0}}
    shutil.copytree(ROOT / "checkpoints/starter", project.folder / "checkpoints/starter")
    project.change(generator=STARTER, pretrain={**start, "epochs": 1, "keep_epochs": []})
    project.change(finetune={**start, "epochs": 0, "keep_epochs": []})
    for stage in ("pretrain", "finetune"):
        nursery.run(project.folder, stage)
        assert {"scores", "interface"} <= described(project, "checkpoints/starter").keys()
        assert not {"scores", "interface"} & described(project, f"checkpoints/{stage}").keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epochs", "second"),
    [(1, "1 epoch of a second stage, none of which was"), (0, "none of the second: published as it began")],
)
def test_the_card_tells_of_a_start_that_nothing_has_made_better(
    project: Project, nursery: Nursery, epochs: int, second: str
) -> None:
    shutil.copytree(ROOT / "checkpoints/starter", project.folder / "checkpoints/starter")
    project.change(generator=STARTER, pretrain={"epochs": 1, "keep_epochs": []}, evaluate={"columns": 2})
    project.change(finetune={"start_from": "starter", "epochs": epochs, "lr_generator": 0.5, "publish": "best"})
    for stage in ("pretrain", "finetune", "evaluate"):
        nursery.run(project.folder, stage)
    published, starter = (described(project, f"checkpoints/{name}") for name in ("finetune", "starter"))
    assert published["training"] == starter["training"]
    assert published["began_with"] == published["sha256"]["generator.safetensors"]
    project.change(sample={"source": "folder"})
    nursery.start(project.folder, "export").wait()
    card = " ".join((project.folder / "checkpoints/export/README.md").read_text(encoding="utf-8").split())
    assert f"two stages: what the model starter had learnt, then {second}" in card
    count = starter["training"]["photographs"]
    assert f"was trained on {count} photographs (folder): these may be among them" in card
    exported = read_config(project.folder / "checkpoints/export")
    assert "held-out photographs" in exported.summary()


def test_training_goes_on_with_other_photographs_and_another_rate(project: Project, nursery: Nursery) -> None:
    project.change(sample={"train": 12}, pretrain={"epochs": 1, "lr": 1e-5, "start_from": "start"})
    project.change(pretrain={"keep_epochs": []})
    nursery.run(project.folder, "sample")
    nursery.run(project.folder, "pretrain")
    before, after = (
        load_file(project.folder / f"checkpoints/{name}/generator.safetensors") for name in ("start", "pretrain")
    )
    moved = max(float((after[key] - before[key]).abs().max()) for key in before if key.endswith("weight"))
    # Three steps of at most a little over the rate each: these are the same weights, and not drawn ones.
    assert 0 < moved < 1e-4
    training = described(project, "checkpoints/pretrain")["training"]
    assert training["photographs"] == 12
    assert training["before"]["photographs"] == 8  # type: ignore[index]


@pytest.mark.slow
def test_what_goes_on_is_part_of_the_fingerprint_and_watched_by_dvc(project: Project) -> None:
    stages = project.dvc("repro", "--dry", "finetune").stdout
    assert "Running stage 'finetune'" in stages
    project.change(finetune={"start_from": "start", "epochs": 1}, pretrain={"epochs": 0})
    project.change(pretrain={"keep_epochs": []})
    done = project.dvc("repro", "finetune")
    assert "goes on from the generator and the discriminator of checkpoints/start" in done.stdout
    assert not json.loads(project.dvc("status", "--json", "finetune").stdout)
    (project.folder / "checkpoints/start/note.txt").write_text("another", encoding="utf-8")
    assert "finetune" in json.loads(project.dvc("status", "--json", "finetune").stdout)


@pytest.mark.parametrize(
    ("stage", "blocks", "reason"),
    [
        (
            "pretrain",
            {"generator": {"architecture": "pix2pix_unet"}},
            "pretrain.start_from checkpoints/start: another network: generator.architecture is 'pix2pix_unet' here and "
            "'compact_unet' there",
        ),
        ("pretrain", {"base": {"color_space": "rgb"}}, "base.color_space is 'rgb' here and 'lab' there"),
        (
            "finetune",
            {"discriminator": {"channels": 16}},
            "checkpoints/start: its discriminator is another network (architecture 'patchgan', receptive_field 70,",
        ),
    ],
)
def test_another_network_is_refused(
    project: Project, nursery: Nursery, stage: str, blocks: dict[str, dict[str, object]], reason: str
) -> None:
    project.change(**blocks, **{stage: {"start_from": "start"}})
    done = nursery.start(project.folder, stage).wait()
    assert done.returncode == 2
    assert reason in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_circle_is_refused_before_dvc_sees_it(project: Project) -> None:
    done = project.twotone("check", "-S", "pretrain.start_from=finetune", ok=False)
    assert done.returncode == 2
    assert "cp -r checkpoints/finetune checkpoints/start" in done.stderr
    done = project.twotone("check", "-S", "pretrain.start_from=nowhere", ok=False)
    assert done.returncode == 2
    assert "pretrain.start_from checkpoints/nowhere: no such folder" in done.stderr
    done = project.twotone("check", "-S", "pretrain.start_from=checkpoints/finetune", ok=False)
    assert "cp -r checkpoints/finetune checkpoints/start" in done.stderr
    done = project.twotone("check", "-S", "pretrain.start_from=checkpoints/starter", ok=False)
    assert done.returncode == 2
    assert "must be the name alone of a folder in checkpoints/: starter" in done.stderr
    done = project.twotone("check", "-S", "pretrain.start_from=/models/mine", ok=False)
    assert done.returncode == 2
    assert "must be the name of a folder in checkpoints/, such as starter; copy yours there" in done.stderr
    done = project.twotone("check", "-S", "pretrain.keep_epochs=[3]", ok=False)
    assert "pretrain.keep_epochs must be <= pretrain.epochs (2), got 3" in done.stderr


@pytest.mark.slow
def test_what_came_before_is_not_forgotten_by_finetuning(project: Project, nursery: Nursery) -> None:
    project.change(pretrain={"epochs": 1, "start_from": "start", "keep_epochs": []}, evaluate={"columns": 2})
    for stage in ("pretrain", "finetune", "evaluate", "export"):
        nursery.run(project.folder, stage)
    assert described(project, "checkpoints/finetune")["training"]["before"]
    colored = twotone(project.folder, "compare")
    assert colored.returncode == 0
    project.change(sample={"source": "folder"})
    nursery.start(project.folder, "export").wait()
    card = (project.folder / "checkpoints/export/README.md").read_text(encoding="utf-8")
    assert "The model that it went on from was trained on 8 photographs (bundled)" in card


@pytest.mark.slow
def test_kept_epochs_color_and_are_measured(project: Project, nursery: Nursery) -> None:
    kept = "checkpoints/pretrain/epoch-0001"
    assert not same(project, f"{kept}/generator.safetensors", GENERATOR.format("pretrain"))
    import numpy as np

    save_photo(project.folder / "photo.png", np.random.default_rng(0))
    colored = twotone(project.folder, "colorize", "photo.png", "-o", "out", "--model", kept)
    assert colored.returncode == 0, colored.stderr
    nursery.run(project.folder, "evaluate")
    metrics = json.loads((project.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert list(metrics) == [
        "constant",
        "finetune",
        "gray",
        "lightness_table",
        "pretrain",
        "pretrain-epoch-0001",
        "pretrain_saturated",
    ]
    assert metrics["pretrain-epoch-0001"]["ab_mae"] != metrics["pretrain"]["ab_mae"]
    protocol = json.loads((project.folder / "reports/evaluate/protocol.json").read_text(encoding="utf-8"))
    assert protocol["colorizers"]["pretrain-epoch-0001"] == f"the generator of {kept}"


def test_photographs_from_outside_are_measured_beside_the_split(
    project: Project, nursery: Nursery, rng: np.random.Generator
) -> None:
    """One cannot be read, one has no color, and training has seen one."""
    outside = project.folder / "outside"
    outside.mkdir()
    for name in ("one.png", "two.png"):
        save_photo(outside / name, rng, (64, 48))
    (outside / "broken.jpg").write_bytes(b"\xff\xd8no")
    Image.new("RGB", (64, 48), (90, 90, 90)).save(outside / "gray.png")
    with (project.folder / "data/sample/manifest.csv").open(encoding="utf-8") as file:
        region = next(row["path"] for row in csv.DictReader(file) if row["split"] == "train")
    package, _, inside = region.partition("#")[0].partition("/")
    seen = Path(import_module(package).__file__ or "").parent / inside
    shutil.copy(seen, outside / f"seen{seen.suffix}")
    nursery.run(project.folder, "evaluate")
    results = project.folder / "reports/evaluate"
    assert json.loads((results / "outside/metrics.json").read_text(encoding="utf-8")) == {}
    of_the_split = (results / "metrics.json").read_bytes()
    project.change(evaluate={"photographs": "outside"})
    nursery.run(project.folder, "evaluate")
    assert (results / "metrics.json").read_bytes() == of_the_split
    assert {file.name for file in results.iterdir() if file.is_file()} - {".gitignore"} == {
        file.name for file in (results / "outside").iterdir() if file.name != "manifest.csv"
    }
    with (results / "outside/manifest.csv").open(encoding="utf-8") as file:
        reasons = {row["path"]: row["reason"].split(":")[0] for row in csv.DictReader(file)}
    assert reasons == {
        "broken.jpg": "unreadable",
        "gray.png": "hardly any color",
        "one.png": "",
        f"seen{seen.suffix}": "training has seen it",
        "two.png": "",
    }
    # Gray's error is the truth's color, by scikit-image.
    squares = [
        ImageOps.fit(Image.open(outside / name), (32, 32), Image.Resampling.BICUBIC) for name in ("one.png", "two.png")
    ]
    expected = np.mean([np.abs(rgb2lab(np.asarray(square))[..., 1:]).mean() for square in squares])
    metrics = json.loads((results / "outside/metrics.json").read_text(encoding="utf-8"))
    assert metrics["gray"]["ab_mae"] == pytest.approx(expected, abs=0.01)
    protocol = json.loads((results / "outside/protocol.json").read_text(encoding="utf-8"))
    assert (protocol["photographs"]["count"], protocol["photographs"]["split"]) == (2, "outside")
    project.change(evaluate={"photographs": "nowhere"})
    refused = nursery.start(project.folder, "evaluate").wait()
    assert refused.returncode == 1
    assert "evaluate.photographs nowhere: no such directory" in refused.stdout


def test_without_a_test_split_evaluate_says_what_it_measures_on(project: Project, nursery: Nursery) -> None:
    project.change(sample={"test": 0})
    nursery.run(project.folder, "sample")
    done = nursery.start(project.folder, "evaluate").wait()
    assert done.returncode == 0, done.stdout
    assert "sample.test is 0: measuring on the photographs of validation" in done.stdout
    protocol = json.loads((project.folder / "reports/evaluate/protocol.json").read_text(encoding="utf-8"))
    assert (protocol["photographs"]["count"], protocol["photographs"]["split"]) == (3, "valid")
    nursery.run(project.folder, "export")
    card = (project.folder / "checkpoints/export/README.md").read_text(encoding="utf-8")
    assert "On 3 regions of the validation split. Training saw other regions of the same photographs" in card
