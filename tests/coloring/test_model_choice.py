"""Which model colors, in a real DVC project whose stages copy models."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import dvc_project
from pipeline.coloring import model_choice
from pipeline.coloring.model_choice import ORDER, choose_model, why_stale
from pipeline.errors import ModelError
from pipeline.inference.starter import starter_folder
from tests.helpers import ROOT, Project

DVC_YAML = """
stages:
  pretrain:
    cmd: mkdir -p checkpoints && cp -r model checkpoints/pretrain
    deps: [model]
    outs: [checkpoints/pretrain]
  finetune:
    cmd: cp -r checkpoints/pretrain checkpoints/finetune
    deps: [checkpoints/pretrain]
    outs: [checkpoints/finetune]
  export:
    cmd: cp -r checkpoints/finetune checkpoints/export
    deps: [checkpoints/finetune]
    outs: [checkpoints/export]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Project:
    folder = tmp_path_factory.mktemp("choice")
    project = Project(folder)
    project.git("init", "-q", "-b", "main")
    project.dvc("init", "-q")
    (folder / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (folder / "model").mkdir()
    shutil.copytree(model, folder / "model", dirs_exist_ok=True)
    project.dvc("repro")
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    shutil.copytree(made.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def chosen(project: Project) -> str:
    return choose_model(None, project.folder).name


def retrain(project: Project) -> None:
    """Other weights, for pretrain alone."""
    config = json.loads((project.folder / "model/model.json").read_text(encoding="utf-8"))
    (project.folder / "model/model.json").write_text(json.dumps({**config, "image_size": 64}), encoding="utf-8")
    project.dvc("repro", "pretrain")


def test_a_folder_has_the_hash_that_dvc_gives_it(made: Project) -> None:
    lock = YAML(typ="safe").load((made.folder / "dvc.lock").read_text(encoding="utf-8"))
    shutil.copy(ROOT / ".dvcignore", made.folder)
    for name in ORDER:
        (out,) = lock["stages"][name]["outs"]
        (made.folder / "checkpoints" / name / ".DS_Store").write_bytes(b"Finder")
        assert dvc_project.folder_md5(made.folder / "checkpoints" / name, made.folder) == out["md5"]
        (made.folder / "checkpoints" / name / ".DS_Store").unlink()


def test_the_last_stage_colors_whatever_the_times_of_files(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(project) == "export"
    for name in ORDER:  # pretrain last
        os.utime(project.folder / "checkpoints" / name / "model.json")
    assert chosen(project) == "export"
    shutil.rmtree(project.folder / "checkpoints")
    project.dvc("checkout")
    assert chosen(project) == "export"
    for name in ("export", "finetune"):
        shutil.rmtree(project.folder / "checkpoints" / name)
        assert chosen(project) == ORDER[ORDER.index(name) + 1]
    shutil.rmtree(project.folder / "checkpoints/pretrain")
    assert choose_model(None, project.folder) == starter_folder()
    # A distribution that was built without the starter model.
    monkeypatch.setattr(model_choice, "starter_folder", lambda: None)
    with pytest.raises(ModelError, match=r"checkpoints/: no model; train one with dvc repro"):
        choose_model(None, project.folder)


def test_a_stale_model_is_said_to_be_one(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert [why_stale(name, project.folder) for name in ORDER] == ["", "", ""]
    choose_model(None, project.folder)
    assert "warning" not in capsys.readouterr().err
    retrain(project)
    earlier = "was made from an earlier checkpoints/pretrain"
    assert [why_stale(name, project.folder) for name in ORDER] == [earlier, earlier, ""]
    assert chosen(project) == "export"
    assert f"warning: checkpoints/export {earlier}; dvc repro makes it anew" in capsys.readouterr().err
    project.dvc("repro")
    assert [why_stale(name, project.folder) for name in ORDER] == ["", "", ""]
    (project.folder / "checkpoints/export/notes.txt").write_text("mine", encoding="utf-8")
    assert "is not the one in dvc.lock" in why_stale("export", project.folder)


@pytest.mark.parametrize("content", ["", "[]", "stages: 3", "stages: {export: {deps: 1}}", "a: b: c", "\x00"])
def test_without_a_usable_lock_nothing_is_said(project: Project, content: str) -> None:
    (project.folder / "dvc.lock").write_text(content, encoding="utf-8")
    assert why_stale("export", project.folder) == ""


def test_it_says_which_model_it_is(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    path = project.folder / "checkpoints/export/model.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["training"] = {"source": "flowers", "photographs": 3400, "validation_photographs": 250, "ab_mae": 12.345}
    path.write_text(json.dumps(config), encoding="utf-8")
    choose_model(None, project.folder)
    said = capsys.readouterr().err
    assert "compact_unet, 32 px; trained on 3,400 photographs (flowers); ab_mae 12.35 on 250 validation" in said
    config["scores"] = {"photographs": 1000, "ab_mae": 8.5, "lightness_table_ab_mae": 11.49}
    path.write_text(json.dumps(config), encoding="utf-8")
    choose_model(None, project.folder)
    said = capsys.readouterr().err
    assert "ab_mae 8.50 on 1,000 unseen photographs, where a table from lightness to color has 11.49" in said
