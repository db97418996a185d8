"""Each recipe through all its stages: its own architecture, losses and source; counts, sizes, epochs shrunk."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ParamsError
from pipeline.params import recipes
from pipeline.params.schema import parse
from tests.helpers import (
    RECIPES,
    TINY,
    Project,
    save_photo,
    smooth_photos,
    twotone,
    write_lab_arrays,
    write_stl10,
)

NAMES = recipes.names(RECIPES)


def test_the_recipes_are_there() -> None:
    assert [
        *("compact_lsgan", "hints", "lab_arrays_mse", "long_lab", "pix2pix_scratch", "quickstart"),
        *("rgb_stl10", "smoke", "starter", "starter_clean", "two_stage_resnet18", "vgg16_noise", "vivid"),
    ] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_valid_and_opens_with_command_data_and_expectation(name: str) -> None:
    parse(recipes.compose(RECIPES, name))
    text = "\n".join(recipes.opening(RECIPES, name))
    assert f"Command: twotone recipe {name} && dvc repro" in text
    assert "Data:" in text
    assert "Expect:" in text
    assert "Differs:" in text or name == "quickstart"
    # An expectation is a measurement, or says that it is none.
    assert re.search(r"\bab_mae\b|not run at full size", text)
    assert "@" not in text


@pytest.mark.parametrize("name", NAMES)
def test_params_yaml_opens_as_its_recipe_does(name: str, tmp_path: Path) -> None:
    recipes.write(recipes.compose(RECIPES, name), tmp_path / "params.yaml")
    recipe = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8").startswith(recipe[: recipe.index("\nbase:")])


def test_what_the_references_fix() -> None:
    two_stage = parse(recipes.compose(RECIPES, "two_stage_resnet18"))
    assert (two_stage.base.seed, two_stage.base.image_size) == (123, 256)
    assert (two_stage.sample.train, two_stage.sample.valid + two_stage.sample.test) == (8000, 2000)
    assert (two_stage.pretrain.epochs, two_stage.finetune.epochs) == (20, 20)
    long = parse(recipes.compose(RECIPES, "long_lab"))
    assert long.sample.train // long.finetune.batch_size == 500
    assert long.finetune.sample_epochs == (20, 80, 140)
    scratch = parse(recipes.compose(RECIPES, "pix2pix_scratch"))
    assert scratch.finetune.sample_epochs == tuple(range(5, 251, 5))
    assert (scratch.finetune.lr_generator, scratch.finetune.beta1, scratch.finetune.losses) == (
        2e-4,
        0.5,
        {"l1": 66.6667},
    )
    # 100 times the mean over L, a and b, of which the error of L is zero.
    assert scratch.finetune.losses["l1"] == pytest.approx(100 * 2 / 3, rel=1e-5)
    assert scratch.generator.architecture == "pix2pix_unet_leaky"
    assert long.finetune.keep_epochs == (20, 80)
    assert two_stage.generator.backbone == "resnet18.tv_in1k"
    arrays = parse(recipes.compose(RECIPES, "lab_arrays_mse"))
    assert (arrays.base.image_size, arrays.finetune.batch_size, arrays.finetune.epochs) == (256, 8, 60)
    compact = parse(recipes.compose(RECIPES, "compact_lsgan"))
    assert (compact.finetune.epochs, compact.finetune.losses, compact.discriminator.conditional) == (
        10,
        {"l1": 100},
        False,
    )
    systems = [scratch, two_stage, long, arrays, compact]
    assert {system.base.precision for system in systems} == {"fp32"}
    assert {system.sample.min_chroma for system in [*systems, parse(recipes.compose(RECIPES, "rgb_stl10"))]} == {0}


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no recipe 'none'"):
        recipes.compose(RECIPES, "none")
    (tmp_path / "quickstart.yaml").write_text(
        (RECIPES / "quickstart.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "bad.yaml").write_text("finetune: {epochs: -1}", encoding="utf-8")
    with pytest.raises(ParamsError, match=r"bad\.yaml: finetune\.epochs must be >= 0, got -1"):
        recipes.compose(tmp_path, "bad")
    (tmp_path / "flat.yaml").write_text("finetune: 3", encoding="utf-8")
    with pytest.raises(ParamsError, match=r"flat\.yaml: finetune must be a block"):
        recipes.compose(tmp_path, "flat")


def test_changes_name_every_difference() -> None:
    before, after = {"a": {"x": 1, "y": 2}, "old": {"z": 0}}, {"a": {"x": 1, "y": 3, "new": 4}}
    assert list(recipes.changes(before, after)) == [("a.y", 2, 3), ("a.new", None, 4), ("old.z", 0, None)]
    assert list(recipes.changes(None, {"a": {"x": 1}})) == [("a.x", None, 1)]


def data_for(project: Project, rng: np.random.Generator) -> None:
    """Small files of every source's real format."""
    kinds = {
        folder: parse(recipes.compose(RECIPES, recipe)).sample.weights
        for folder, recipe in (("mix", "starter"), ("clean", "starter_clean"))
    }
    places = ("photographs/flowers", *(f"photographs/{folder}/{kind}" for folder in kinds for kind in kinds[folder]))
    for folder in ("data/frames", "home/data/coco_sample/train_sample", *places):
        (project.folder / folder).mkdir(parents=True)
        for number in range(20):
            save_photo(project.folder / folder / f"{number:03d}.jpg", rng)
    write_stl10(project.folder / "data/stl10/unlabeled_X.bin", smooth_photos(rng, 20, 96))
    write_lab_arrays(project.folder / "data/lab_arrays", smooth_photos(rng, 20, 224), parts=2)


def shrunk(name: str, make_project: Callable[[str], Project]) -> Project:
    """A project with the recipe, as a user sets it up, at the smallest size."""
    project = make_project(name)
    data_for(project, np.random.default_rng(0))
    printed = twotone(project.folder, "recipe", name).stdout
    assert f"params.yaml is {name} now" in printed
    assert "next: dvc repro" in printed
    whole = parse(recipes.compose(RECIPES, name))
    # Tests have no network: the encoder's weights are drawn.
    small = {**TINY, "generator": {"max_width": 64, "weights": "none"}}
    # A start has other widths than this small network.
    start = {"start_from": "none"}
    small["pretrain"] = {**TINY["pretrain"], **start, "epochs": min(1, whole.pretrain.epochs)}
    small["finetune"] = {**TINY["finetune"], "keep_epochs": [1] if whole.finetune.keep_epochs else []}
    # The frames are 20 and random: runs of 50 would put all of them on one side.
    small["sample"] = {**TINY["sample"], "group": "none" if whole.sample.group == "none" else 2}
    project.change(**small)
    return project


def check_results(name: str, project: Project) -> None:
    whole = parse(recipes.compose(RECIPES, name))
    model = json.loads((project.folder / "checkpoints/finetune/model.json").read_text(encoding="utf-8"))
    assert model["generator"]["architecture"] == whole.generator.architecture
    assert model["generator"]["backbone"] == whole.generator.backbone
    assert model["generator"]["noise"] == whole.generator.noise
    assert model["color_space"] == whole.base.color_space
    judged = whole.finetune.adversarial_loss != "none"
    assert ("discriminator" in model) == judged
    assert (project.folder / "checkpoints/finetune/discriminator.safetensors").exists() == judged
    metrics = json.loads((project.folder / "reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    assert 0 < metrics["finetune"]["ab_mae"] < 60
    assert (project.folder / "checkpoints/export/generator.onnx").stat().st_size > 0


OTHERS = [name for name in NAMES if name != "quickstart"]  # which tests/test_pipeline.py runs


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_recipe_runs_through_dvc_repro(name: str, make_project: Callable[[str], Project]) -> None:
    project = shrunk(name, make_project)
    project.dvc("repro", env={"FASTAI_HOME": str(project.folder / "home")})
    check_results(name, project)
