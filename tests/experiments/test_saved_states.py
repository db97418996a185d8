"""`twotone states` beside trainings that run, and after those that were interrupted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.checkpointing.store import SavedStates, State
from pipeline.experiments.saved_states import find_trainings
from tests.helpers import QUICKSTART, ROOT, twotone


def save(folder: Path, stage: str, fingerprint: str, lr: float = 0.001) -> SavedStates:
    inputs = {"base": {"seed": 123}, "pretrain": {"lr": lr, "sample_epochs": [1, 10], "losses": {"l1": 1.0}}}
    states = SavedStates(folder / ".resume" / stage / fingerprint, every=300, inputs=inputs)
    states.save(State(3, 41, {"weights": torch.zeros(300_000)}))
    states.finish()
    return states


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(QUICKSTART.read_text(encoding="utf-8"), encoding="utf-8")
    save(tmp_path, "pretrain", "aa" * 32)
    save(tmp_path, "pretrain", "bb" * 32, lr=0.0005)
    save(tmp_path, "finetune", "cc" * 32)
    return tmp_path


def test_age_stage_position_size_and_what_differs_are_listed(project: Path) -> None:
    newest = project / ".resume/finetune" / ("cc" * 32) / "000003-00000041.state"
    os.utime(newest, (time.time() - 7300,) * 2)
    lines = twotone(project, "states").stdout.splitlines()
    assert " ".join(lines[0].split()) == "stage fingerprint after epoch and batches saved MiB parameters"
    first, *others = lines[1:-1]
    assert " ".join(first.split()) == "finetune cccccccccccc 3 41 2 h ago 1.1 the same"
    assert len(others) == 2
    assert "pretrain.lr 0.0005, now 0.001" in next(line for line in others if "bbbb" in line)
    # The same in another form, as -S leaves it.
    params = project / "params.yaml"
    values = params.read_text(encoding="utf-8")
    params.write_text(values.replace("losses: {l1: 1.0}", "losses: l1:1", 1), encoding="utf-8")
    assert params.read_text(encoding="utf-8") != values
    assert "losses" not in twotone(project, "states").stdout
    params.write_text(values, encoding="utf-8")
    assert lines[-1].startswith("interrupted trainings in .resume: 3; ")
    one = twotone(project, "states", "bbb").stdout
    assert "bbbbbbbbbbbb" in one
    assert "aaaa" not in one
    unknown = twotone(project, "states", "zzz")
    assert unknown.returncode == 2
    assert ".resume has no saved state of fingerprint zzz" in unknown.stderr


def test_a_generator_that_was_kept_before_the_first_state_is_found_and_deleted(project: Path) -> None:
    states = SavedStates(project / ".resume/finetune" / ("dd" * 32), every=300)
    states.folder.mkdir(parents=True)
    with states.keeping("best-0002") as folder:
        folder.mkdir()
        (folder / "generator.safetensors").write_bytes(bytes(2**20))
    listed = " ".join(twotone(project, "states").stdout.split())
    assert re.search(r"finetune dddddddddddd no state yet \d+ s ago 1.0 unknown", listed)
    assert "deleted: finetune dddddddddddd, 1.0 MiB" in twotone(project, "states", "dddd", "--clear", "--yes").stdout
    assert not states.kept()


def test_an_empty_block_of_params_yaml_is_no_obstacle(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(
        re.sub(r"^pretrain:\n(  .*\n)*", "pretrain:\n", params.read_text(encoding="utf-8"), flags=re.MULTILINE),
        encoding="utf-8",
    )
    done = twotone(project, "states")
    assert done.returncode == 0, done.stderr
    assert "pretrain.lr 0.0005, now None" in done.stdout


def test_damaged_and_vanished_states_are_no_obstacle(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged, vanishing = (project / f".resume/pretrain/{key * 32}/000003-00000041.state" for key in ("aa", "bb"))
    damaged.write_bytes(b"no state")
    assert "damaged" in twotone(project, "states").stdout
    original = Path.stat

    def stat(self: Path, **named: bool) -> os.stat_result:
        if self == vanishing:
            vanishing.unlink(missing_ok=True)
        return original(self, **named)

    monkeypatch.setattr(Path, "stat", stat)
    assert sorted(training.fingerprint[:2] for training in find_trainings(project / ".resume")) == ["aa", "cc"]


def states(project: Path) -> list[str]:
    return sorted(path.parent.name[:2] for path in (project / ".resume").glob("*/*/*.state"))


def test_clear_asks_and_takes_a_fingerprint(project: Path) -> None:
    script = [str(Path(sys.executable).with_name("twotone")), "states", "--clear"]

    def answer(text: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*script, *words], cwd=project, input=text, capture_output=True, encoding="utf-8", timeout=60
        )

    # Nothing at all is what a command of this helper is answered.
    for refused in (answer("n\n"), twotone(project, "states", "--clear")):
        assert refused.returncode == 1
        assert "Delete the saved states of" in refused.stdout
        assert "pretrain aaaaaaaaaaaa" in refused.stdout
    assert states(project) == ["aa", "bb", "cc"]
    assert twotone(project, "states", "--clear", "dd").returncode == 2
    done = answer("y\n", "bb")
    assert "deleted: pretrain bbbbbbbbbbbb, 1.1 MiB" in done.stdout
    assert states(project) == ["aa", "cc"]
    assert twotone(project, "states", "--clear", "--yes").returncode == 0
    assert states(project) == []
    assert "no saved states in .resume" in twotone(project, "states", "--clear").stdout


@pytest.fixture
def running(project: Path) -> Iterator[int]:
    """A process that holds the lock of one training, as a trainer does."""
    code = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from pipeline.system import held
with held(Path({str(project)!r}, ".resume/pretrain", "aa" * 32, "lock"), "this"):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.kill()


def test_clear_spares_a_training_that_runs(project: Path, running: int) -> None:
    done = twotone(project, "states", "--clear", "--yes")
    assert done.returncode == 0
    assert f"kept: pretrain aaaaaaaaaaaa is running already, as process {running}" in done.stdout
    assert states(project) == ["aa"]


def test_the_old_name_says_the_new_one(project: Path) -> None:
    old, new = (twotone(project, name) for name in ("resume", "states"))
    # The seconds since each was saved go on meanwhile.
    assert re.sub(r"\d+ s", "", old.stdout) == re.sub(r"\d+ s", "", new.stdout)
    assert "`twotone resume` is `twotone states` now" in old.stderr
