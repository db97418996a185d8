"""Whatever goes wrong ends in one sentence and an exit status, also where a library raises it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BackboneError, PeerError, StoppedError, TwotoneError, exit_status
from tests.conftest import MakeModel
from tests.helpers import QUICKSTART, ROOT, Project, save_photo, twotone
from tests.nursery import Nursery

TWOTONE = str(Path(sys.executable).with_name("twotone"))


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (TwotoneError("this went wrong"), 1, "error: this went wrong\n"),
        (BackboneError("vit", "no skips", ["resnet18"]), 1, "error: generator.backbone 'vit' cannot be the encoder"),
        (StoppedError("stopped by SIGTERM", 143), 143, "error: stopped by SIGTERM\n"),
        (KeyboardInterrupt(), 130, "error: stopped by Ctrl-C\n"),
        (MemoryError(), 1, "error: not enough memory; the stage is not complete\n"),
        (OSError(28, "No space left on device", "out.csv"), 1, "error: out.csv: No space left on device; the stage is"),
        (
            PermissionError(13, "Permission denied", "out"),
            1,
            "error: out: Permission denied; the stage is not complete",
        ),
    ],
)
def test_an_error_is_one_sentence_and_its_status(
    error: BaseException, status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(raising(error), "the stage") == status
    said = capsys.readouterr().err
    assert said.startswith(sentence)
    assert said.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_status(raising(ZeroDivisionError()), "the stage")


def test_a_success_has_the_status_of_the_work() -> None:
    assert exit_status(lambda: None, "the stage") == 0
    assert exit_status(lambda: 3, "the stage") == 3


def test_every_error_has_a_reason_and_a_status() -> None:
    kinds = TwotoneError.__subclasses__()
    assert len(kinds) > 10
    for kind in kinds:
        assert kind.__doc__
        # 75, EX_TEMPFAIL: the process is not to blame, and another one's error says what is.
        assert kind.status in ((75,) if kind is PeerError else (1, 2))


@pytest.fixture
def unknown_backbone(make_model: MakeModel) -> Path:
    """A model on a backbone that timm does not know any more."""
    folder = make_model("dynamic_unet")
    config = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    config["generator"]["backbone"] = "resnet18_of_another_timm"
    (folder / "model.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_backbone_that_timm_no_longer_knows(
    unknown_backbone: Path,
    make_project: Callable[[str], Project],
    nursery: Nursery,
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    project = make_project("backbone")
    nursery.run(project.folder, "sample")
    (project.folder / "checkpoints").mkdir(exist_ok=True)
    for name in ("pretrain", "finetune"):
        (project.folder / "checkpoints" / name).symlink_to(unknown_backbone)
    for stage in ("finetune", "evaluate", "export"):
        done = nursery.start(project.folder, stage).wait()
        assert done.returncode == 2, done.stdout
        assert "timm has no model of that name" in done.stdout
        assert "install the version that the model was trained with" in done.stdout
        assert "Traceback" not in done.stdout
    save_photo(tmp_path / "photo.png", rng)
    colored = twotone(tmp_path, "colorize", "photo.png", "-o", "out", "--model", str(unknown_backbone))
    assert colored.returncode == 2
    assert f"{unknown_backbone}/model.json: generator.backbone 'resnet18_of_another_timm'" in colored.stderr
    assert "Traceback" not in colored.stderr


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, encoding="utf-8")
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_every_stage_in_a_sentence(
    full_disk: Path, make_project: Callable[[str], Project], nursery: Nursery
) -> None:
    """The disk where a stage works is full: sample, training, evaluation and export fail at other places each."""
    project = make_project("full")
    project.change(generator={"backbone": "test_efficientnet"})
    for stage in ("sample", "pretrain", "finetune", "evaluate"):
        nursery.run(project.folder, stage)
    before = project.outs()
    for stage in ("sample", "pretrain", "finetune", "evaluate", "export"):
        done = nursery.start(project.folder, stage, WORK_ELSEWHERE.format(full_disk)).wait()
        assert done.returncode == 1, (stage, done.stdout)
        assert "; the stage is not complete" in done.stdout, (stage, done.stdout)
        assert "Traceback" not in done.stdout, done.stdout
    assert project.outs() == before


# The folder in which the stage works is a link to the full disk.
WORK_ELSEWHERE = """
import pathlib
import pipeline.files, pipeline.training.recorder as recorder
import stages.evaluate, stages.export, stages.sample
real = pipeline.files.fresh_folder
def fresh_folder(folder):
    if folder.parent.name != "logs":
        return real(folder)
    pipeline.files.remove(folder)
    folder.symlink_to(real(pathlib.Path("{0}/work")))
    return folder
for module in (stages.sample, stages.evaluate, stages.export, recorder):
    module.fresh_folder = fresh_folder
"""


def test_a_full_output_and_one_that_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(QUICKSTART.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [TWOTONE, "recipe"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, encoding="utf-8", timeout=60
        )
    assert done.returncode == 1
    assert "No space left on device; the command is not complete" in done.stderr
    assert "Traceback" not in done.stderr
    script = f"set -o pipefail; {TWOTONE} recipe | true"
    for _ in range(3):
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


def test_a_stage_that_does_not_exist_is_named(tmp_path: Path) -> None:
    for words in (["pretrian"], [], ["sample", "pretrain"]):
        done = subprocess.run(
            [sys.executable, "-m", "stages", *words],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert done.returncode == 2
        assert "needs the name of a stage: sample, pretrain, finetune, evaluate, export; got" in done.stderr


FILL = """
import sys
from pipeline.errors import exit_status
from pipeline.sampling.candidates import TemporaryTables
def fill():
    tables = TemporaryTables("CREATE TABLE many (number INTEGER, bytes BLOB)")
    tables.add("INSERT INTO many VALUES (?, ?)", ((number, bytes(10_000)) for number in range(100_000)))
sys.exit(exit_status(fill, "the stage"))
"""


def test_a_full_disk_for_temporary_files_ends_in_a_sentence(full_disk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL], env={"SQLITE_TMPDIR": str(full_disk)}, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 1
    assert "SQLite's temporary file (TMPDIR says where): database or disk is full" in done.stderr
    assert "Traceback" not in done.stderr
