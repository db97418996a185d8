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


# What a step does to the generator before it runs.
TAMPER = """
own = objectives.ContentObjective.step
def step(self, condition, target, number):
    weight = next(self.networks["generator"].parameters())
    if number == 2: {tampering}
    return own(self, condition, target, number)
objectives.ContentObjective.step = step
"""


@pytest.mark.parametrize(
    "tampering",
    [
        "weight.data.fill_(float('nan'))",
        "weight.register_hook(lambda gradient: gradient * float('inf'))",
        "condition = condition * float('inf')",
    ],
)
def test_what_is_not_finite_is_neither_published_nor_saved(nursery: Nursery, tampering: str) -> None:
    expected = published(nursery, "pretrain")
    stopped = nursery.run("pretrain", TAMPER.format(tampering=tampering))
    assert stopped.returncode == 1, stopped.stdout
    assert "nothing was published; lower the learning rate" in stopped.stdout
    assert "Traceback" not in stopped.stdout
    assert published(nursery, "pretrain") == expected
    # The states before it are good ones.
    resumed = nursery.run("pretrain")
    assert "resumed after epoch 1" in resumed.stdout
    assert published(nursery, "pretrain") == expected


def test_a_killed_loader_process_is_an_error_and_no_hang(nursery: Nursery) -> None:
    expected = published(nursery, "pretrain")
    nursery.project.change(base={"num_workers": 1})
    fault = """
import pipeline.data.loader as loader, torch.utils.data as data
before(loader._View, '__getitem__', lambda self, position: position == 5 and data.get_worker_info() is not None)
"""
    stopped = nursery.run("pretrain", fault)
    nursery.project.change(base={"num_workers": 0})
    assert stopped.returncode == 1, stopped.stdout
    assert "a process that loads photographs ended" in stopped.stdout
    assert "set base.num_workers to 0" in stopped.stdout
    assert nursery.run("pretrain").returncode == 0
    assert published(nursery, "pretrain") == expected


def test_an_operation_that_is_not_deterministic_is_an_error(nursery: Nursery) -> None:
    tampering = "torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))"
    stopped = nursery.run("pretrain", TAMPER.format(tampering=tampering))
    assert stopped.returncode == 1, stopped.stdout
    assert "an operation may give other bits on the next run" in stopped.stdout
    assert nursery.run("pretrain").returncode == 0


def test_an_output_that_cannot_be_written_is_found_before_training(nursery: Nursery) -> None:
    checkpoints, away = nursery.folder / "checkpoints", nursery.folder / "checkpoints-away"
    checkpoints.rename(away)
    checkpoints.write_text("a file where the folder should be")
    stopped = nursery.run("pretrain")
    checkpoints.unlink()
    away.rename(checkpoints)
    assert stopped.returncode == 1
    assert "error: checkpoints: File exists" in stopped.stdout
    assert "epoch" not in stopped.stdout


def test_a_disk_that_is_full_when_publishing_loses_nothing(nursery: Nursery) -> None:
    expected, checkpoints = published(nursery, "pretrain"), nursery.folder / "checkpoints"
    away = nursery.folder / "checkpoints-away"
    checkpoints.rename(away)
    checkpoints.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(checkpoints)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    stopped = nursery.run("pretrain") if mounted.returncode == 0 else None
    if stopped:
        left = list(checkpoints.iterdir())
        subprocess.run(["umount", str(checkpoints)], check=True)
    checkpoints.rmdir()
    away.rename(checkpoints)
    if not stopped:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    assert stopped.returncode == 1, stopped.stdout
    assert "No space left on device; the stage is not complete" in stopped.stdout
    assert left == []
    # All that is left to do is to publish.
    done = nursery.run("pretrain")
    assert "resumed after epoch 2 and 0 batches" in done.stdout
    assert published(nursery, "pretrain") == expected


def test_dvc_killed_then_its_trainer_then_dvc_repro(make_project: Callable[[str], Project]) -> None:
    reference, killed = make_project("reference"), make_project("killed")
    for project in (reference, killed):
        project.change(
            base={"save_every_minutes": 1e-6},
            generator={"architecture": "compact_unet"},
            pretrain={"epochs": 12, "sample_epochs": [1]},
        )
    reference.dvc("repro", "pretrain")
    command = [sys.executable, "-m", "dvc", "repro", "pretrain"]
    with subprocess.Popen(command, cwd=killed.folder, env=_environment(), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 200
        while not states(killed.folder, "pretrain"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        trainer = int((killed.folder / "logs/pretrain.lock").read_text().split()[-1])
        os.kill(trainer, signal.SIGSTOP)  # alive, and in no hurry
        process.kill()
    refused = killed.dvc("repro", "pretrain", ok=False)
    assert refused.returncode != 0
    assert f"pretrain in this folder is running already, as process {trainer}" in refused.stderr
    os.kill(trainer, signal.SIGKILL)
    assert not (killed.folder / "checkpoints/pretrain").exists()
    assert "pretrain:" not in (killed.folder / "dvc.lock").read_text()
    resumed = killed.dvc("repro", "pretrain")
    assert "resumed after epoch" in resumed.stdout + resumed.stderr
    assert killed.outs() == reference.outs()


def test_a_damaged_lock_file_is_recovered_as_documented(make_project: Callable[[str], Project]) -> None:
    """docs/reliability.md: put back the committed one, or delete it."""
    project = make_project("lock")
    project.dvc("repro", "sample")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "sampled")
    lock = project.folder / "dvc.lock"
    whole = lock.read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        lock.write_bytes(content)
        project.dvc("repro", "sample", ok=False)
        project.git("checkout", "-q", "dvc.lock")
        assert "didn't change, skipping" in project.dvc("repro", "sample").stdout
        lock.write_bytes(content)
        lock.unlink()
        project.dvc("repro", "sample")
        assert lock.read_bytes() == whole


@pytest.mark.slow
def test_two_experiments_at_once(make_project: Callable[[str], Project]) -> None:
    """Equal ones: one trains and the other refuses or is as good; others run independently."""
    project = make_project("at-once")
    project.change(pretrain={"epochs": 6, "sample_epochs": [1]})
    project.dvc("repro", "sample")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "sampled")

    def experiment(name: str, lr: float) -> subprocess.Popen[str]:
        words = ["exp", "run", "--temp", "--name", name, "-S", f"pretrain.lr={lr}", "pretrain"]
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", *words],
            cwd=project.folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    equal = [experiment(f"equal-{number}", 0.001) for number in range(2)]
    other = experiment("other", 0.002)
    outputs = [process.communicate(timeout=600)[0] for process in (*equal, other)]
    assert other.returncode == 0, outputs[2]
    statuses = [process.returncode for process in equal]
    assert 0 in statuses, outputs
    for status, output in zip(statuses, outputs, strict=False):
        assert status == 0 or "is running already, as process" in output or "lock" in output.lower(), output
