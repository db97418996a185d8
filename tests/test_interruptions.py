"""Interrupted for real: the stages in processes of their own, killed at named instants, give the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, _environment

# Two epochs of two steps, a state after each step.
SHORT = {
    "base": {"save_every_minutes": 1e-6},
    # The smallest states: what is tried here is when they are written and read.
    "generator": {"architecture": "compact_unet"},
    "pretrain": {"epochs": 2, "sample_epochs": [1, 2], "ema_decay": 0.9},
    "finetune": {"epochs": 2, "sample_epochs": [1, 2], "ema_decay": 0.9, "warmup_steps": 1},
}
# Waits for orders with everything imported, and forks a process for each stage to run: a start costs nothing then,
# and what is killed is a real process. `die` is kill -9 of the process itself.
NURSERY = """
import json, os, signal, sys
import pipeline.training.objectives as objectives
import pipeline.training.outcome as outcome
import pipeline.training.resume as resume
import pipeline.training.trainer
import stages.finetune, stages.pretrain
import torch
torch.set_num_threads(1)
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def before(owner, name, when=lambda *_: True, act=die):
    own = getattr(owner, name)
    def wrapped(*given, **named):
        if when(*given): act()
        return own(*given, **named)
    setattr(owner, name, wrapped)
def child(order):
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = 0
    try:
        exec(order["fault"], globals())
        getattr(stages, order["stage"]).main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        import traceback
        traceback.print_exc()
        status = 99
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        _, status = os.waitpid(order["wait"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    pid = os.fork()
    if not pid:
        child(order)
    print(pid, flush=True)
"""
CONTENT, ADVERSARIAL = "objectives.ContentObjective", "objectives.AdversarialObjective"


class Process:
    """A stage that runs in a process of its own."""

    def __init__(self, nursery: Nursery, pid: int, log: Path):
        self._nursery, self.pid, self._log = nursery, pid, log

    def wait(self) -> subprocess.CompletedProcess[str]:
        status = int(self._nursery.ask({"wait": self.pid}))
        return subprocess.CompletedProcess([], status, self._log.read_text())


class Nursery:
    """A project, and stages to be started and stopped in it."""

    def __init__(self, project: Project):
        self.project, self.folder, self._started = project, project.folder, 0
        self._server = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            cwd=project.folder,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def ask(self, order: dict[str, Any]) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()

    def start(self, stage: str, fault: str = "") -> Process:
        self._started += 1
        log = self.folder / f"logs/process-{self._started}.txt"
        log.parent.mkdir(exist_ok=True)
        return Process(self, int(self.ask({"stage": stage, "fault": fault, "log": str(log)})), log)

    def run(self, stage: str, fault: str = "") -> subprocess.CompletedProcess[str]:
        """stdout has the errors too."""
        return self.start(stage, fault).wait()

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()


def at_step(objective: str, number: int) -> str:
    return f"before({objective}, 'step', lambda self, c, t, number: number == {number})"


@pytest.fixture(scope="module")
def nursery(make_project: Callable[[str], Project]) -> Iterator[Nursery]:
    """Sampled, and trained once without interruption."""
    project = make_project("interrupted")
    project.change(**SHORT)
    project.run("stages.sample")
    nursery = Nursery(project)
    for stage in ("pretrain", "finetune"):
        done = nursery.run(stage)
        assert done.returncode == 0, done.stdout
    yield nursery
    nursery.close()


def published(nursery: Nursery, stage: str) -> dict[str, bytes]:
    return {name: content for name, content in nursery.project.outs().items() if f"/{stage}/" in name}


def states(folder: Path, stage: str) -> list[Path]:
    return sorted((folder / ".resume" / stage).glob("*/*.state"))


@pytest.mark.parametrize(
    ("stage", "faults"),
    [
        (
            "pretrain",
            [
                at_step(CONTENT, 0),
                at_step(CONTENT, 1),
                "before(resume, '_write', lambda path, *_: path.stem == '000001-00000000')",
                "before(resume.os, 'fsync')",
                "before(resume.os, 'replace')",
                at_step(CONTENT, 2),
                at_step(CONTENT, 3),
                # Everything is published, and dvc does not know yet.
                "before(resume.Keeper, 'clear')",
            ],
        ),
        (
            "finetune",
            [
                at_step(ADVERSARIAL, 0),
                at_step(ADVERSARIAL, 1),
                # The discriminator has learnt from this batch, the generator has not.
                f"before({ADVERSARIAL}, '_step_generator', lambda *_: COUNT.pop())\nCOUNT = [True, False]",
                at_step(ADVERSARIAL, 3),
                "before(outcome, 'publish', lambda source, out: out.parts[0] == 'checkpoints')",
            ],
        ),
    ],
)
def test_killed_again_and_again_the_bytes_are_the_same(nursery: Nursery, stage: str, faults: list[str]) -> None:
    expected = published(nursery, stage)
    assert expected
    for number, fault in enumerate(faults):
        killed = nursery.run(stage, fault)
        assert killed.returncode == -signal.SIGKILL, fault + killed.stdout
        if number > 1:
            assert "resumed after epoch" in killed.stdout, fault
    done = nursery.run(stage)
    assert done.returncode == 0, done.stdout
    assert published(nursery, stage) == expected
    assert not states(nursery.folder, stage)


# At step 2 the process says so and waits for what is to come, for a minute at most.
WAITING = (
    "import time, pathlib\n"
    "def wait():\n"
    "    pathlib.Path('waiting').touch()\n"
    "    for _ in range(600):\n"
    "        if not pathlib.Path('waiting').exists(): return\n"
    "        time.sleep(0.1)\n"
    f"before({CONTENT}, 'step', lambda self, c, t, number: number == 2, wait)"
)


@pytest.fixture
def waiting(nursery: Nursery) -> Iterator[tuple[Process, Path]]:
    """A pretraining that waits at step 2, for as long as the file is there."""
    process, flag = nursery.start("pretrain", WAITING), nursery.folder / "waiting"
    deadline = time.monotonic() + 120
    while not flag.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process, flag
    flag.unlink(missing_ok=True)


def test_sigterm_saves_and_says_143(nursery: Nursery, waiting: tuple[Process, Path]) -> None:
    process, flag = waiting
    os.kill(process.pid, signal.SIGTERM)
    flag.unlink()
    stopped = process.wait()
    assert stopped.returncode == 143, stopped.stdout
    assert "stopped by SIGTERM; state is saved, run again to continue" in stopped.stdout
    assert states(nursery.folder, "pretrain")[-1].stem == "000001-00000001"
    assert "resumed after epoch 1 and 1 batches" in nursery.run("pretrain").stdout


def test_ctrl_c_once_saves_and_stops(nursery: Nursery, waiting: tuple[Process, Path]) -> None:
    process, flag = waiting
    os.kill(process.pid, signal.SIGINT)
    flag.unlink()
    stopped = process.wait()
    assert stopped.returncode == 130, stopped.stdout
    assert "Traceback" not in stopped.stdout
    listed = nursery.project.run("pipeline.cli", "resume").stdout
    assert "pretrain" in listed
    assert "2 saved states in .resume" in listed
    nursery.project.run("pipeline.cli", "resume", "--clear")
    assert not states(nursery.folder, "pretrain")


def test_ctrl_c_twice_stops_now(waiting: tuple[Process, Path]) -> None:
    process, _ = waiting
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait().returncode == -signal.SIGINT


def test_a_second_trainer_refuses_and_names_the_first(nursery: Nursery, waiting: tuple[Process, Path]) -> None:
    process, flag = waiting
    expected = published(nursery, "finetune")
    refused = nursery.run("pretrain")
    assert refused.returncode == 1
    assert f"pretrain in this folder is running already, as process {process.pid}" in refused.stdout
    flag.unlink()
    assert process.wait().returncode == 0
    assert published(nursery, "finetune") == expected


def test_other_parameters_data_or_code_start_anew(nursery: Nursery) -> None:
    nursery.run("pretrain", at_step(CONTENT, 3))
    assert states(nursery.folder, "pretrain")
    manifest, content = (
        nursery.folder / "data/sample/manifest.csv",
        (nursery.folder / "data/sample/manifest.csv").read_bytes(),
    )
    module, code = nursery.folder / "pipeline/grids.py", (nursery.folder / "pipeline/grids.py").read_bytes()
    for path, original in ((manifest, content), (module, code)):
        path.write_bytes(original + b"\n")
        other = nursery.run("pretrain")
        assert "resumed" not in other.stdout
        assert "holds saved state of other parameters, data or code" in other.stdout
        path.write_bytes(original)
    nursery.project.change(pretrain={"lr": 0.0003})
    assert "resumed" not in nursery.run("pretrain").stdout
    nursery.project.change(pretrain={"lr": 0.002})
    assert "resumed after epoch 1" in nursery.run("pretrain").stdout


def test_damaged_state_is_never_continued(nursery: Nursery) -> None:
    nursery.run("pretrain", at_step(CONTENT, 3))
    _, newest = states(nursery.folder, "pretrain")
    newest.write_bytes(newest.read_bytes()[:-100])
    killed = nursery.run("pretrain", at_step(CONTENT, 2))
    assert "is damaged: its checksum is another; trying the one before" in killed.stdout
    assert "resumed after epoch 1 and 0 batches" in killed.stdout
    for path in states(nursery.folder, "pretrain"):
        path.write_bytes(b"")
    refused = nursery.run("pretrain")
    assert refused.returncode == 1
    assert "every saved state in" in refused.stdout
    assert "twotone resume --clear" in refused.stdout
    for path in states(nursery.folder, "pretrain"):
        path.unlink()
    assert nursery.run("pretrain").returncode == 0


def test_dvc_and_trainer_killed_then_dvc_repro(make_project: Callable[[str], Project]) -> None:
    reference, killed = make_project("reference"), make_project("killed")
    for project in (reference, killed):
        project.change(base={"save_every_minutes": 1e-6}, pretrain={"epochs": 12, "sample_epochs": [1]})
    reference.dvc("repro", "pretrain")
    command = [sys.executable, "-m", "dvc", "repro", "pretrain"]
    with subprocess.Popen(
        command, cwd=killed.folder, env=_environment(), stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 200
        while not states(killed.folder, "pretrain"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (killed.folder / "checkpoints/pretrain").exists()
    resumed = killed.dvc("repro", "pretrain")
    assert "resumed after epoch" in resumed.stdout + resumed.stderr
    assert killed.outs() == reference.outs()
