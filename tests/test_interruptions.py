"""Interrupted for real: the stages in processes of their own, killed at named instants, give the same bytes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import Project, environment, twotone
from tests.nursery import Nursery, Stage

# Two epochs of two steps, a state after each step.
SHORT = {
    "base": {"save_every_minutes": 1e-6},
    # The smallest states: what is tried here is when they are written and read.
    "generator": {"backbone": "test_efficientnet"},
    "pretrain": {"epochs": 2, "sample_epochs": [1, 2], "sample_steps": 3, "keep_epochs": [1], "ema_decay": 0.9},
    "finetune": {
        "epochs": 2,
        "sample_epochs": [1, 2],
        "keep_epochs": [1],
        "ema_decay": 0.9,
        "warmup_steps": 1,
        "publish": "best",
    },
}
# The names that the faults below use.
MODULES = """
import pipeline.data.loader as loader
import pipeline.files as files
import pipeline.training.objectives as objectives
import pipeline.training.trainer as trainer
import pipeline.checkpointing.store as store
import torch

# States are written while training goes on: killed when the last one is on disk.
def settled(own=store.SavedStates.save):
    def save(self, state):
        own(self, state)
        OPEN.append(self)
    store.SavedStates.save = save
    def act():
        for states in OPEN:
            states.finish()
        die()
    return act
OPEN = []
settled = settled()
"""
CONTENT, ADVERSARIAL = "objectives.ContentObjective", "objectives.AdversarialObjective"


@dataclass(frozen=True)
class Trainings:
    """A project, and training stages to be started and stopped in it."""

    project: Project
    nursery: Nursery

    @property
    def folder(self) -> Path:
        return self.project.folder

    def start(self, stage: str, fault: str = "") -> Stage:
        return self.nursery.start(self.folder, stage, MODULES + fault)

    def run(self, stage: str, fault: str = "") -> subprocess.CompletedProcess[str]:
        """stdout has the errors too."""
        return self.start(stage, fault).wait()


def at_step(objective: str, number: int) -> str:
    return f"before({objective}, 'step', lambda self, c, t, number: number == {number}, settled)"


@pytest.fixture(scope="module")
def trainings(make_project: Callable[[str], Project]) -> Iterator[Trainings]:
    """Sampled, and trained once without interruption."""
    project = make_project("interrupted")
    project.change(**SHORT)
    trainings = Trainings(project, Nursery(project.folder, environment()))
    for stage in ("sample", "pretrain", "finetune"):
        trainings.nursery.run(project.folder, stage)
    yield trainings
    trainings.nursery.close()


def published(trainings: Trainings, stage: str) -> dict[str, bytes]:
    return {name: content for name, content in trainings.project.outs().items() if f"/{stage}/" in name}


def states(folder: Path, stage: str) -> list[Path]:
    return sorted((folder / ".resume" / stage).glob("*/[0-9]*.state"))


@pytest.mark.parametrize(
    ("stage", "faults"),
    [
        (
            "pretrain",
            [
                at_step(CONTENT, 0),
                at_step(CONTENT, 1),
                "before(store, 'replacing', lambda path: path.stem == '000001-00000000')",
                "before(files.os, 'fsync')",
                "before(files.os, 'replace')",
                at_step(CONTENT, 2),
                at_step(CONTENT, 3),
                # Everything is published, and dvc does not know yet.
                "before(store.SavedStates, 'clear')",
            ],
        ),
        (
            "finetune",
            [
                at_step(ADVERSARIAL, 0),
                at_step(ADVERSARIAL, 1),
                # The discriminator has learnt from this batch, the generator has not.
                f"before({ADVERSARIAL}, '_step_generator', lambda *_, **__: COUNT.pop(), settled)\n"
                "COUNT = [True, False]",
                at_step(ADVERSARIAL, 3),
                "before(trainer, 'publish', lambda source, out: out.parts[0] == 'checkpoints')",
            ],
        ),
    ],
)
def test_killed_again_and_again_the_bytes_are_the_same(trainings: Trainings, stage: str, faults: list[str]) -> None:
    expected = published(trainings, stage)
    assert expected
    for number, fault in enumerate(faults):
        killed = trainings.run(stage, fault)
        assert killed.returncode == -signal.SIGKILL, fault + killed.stdout
        if number > 1:
            assert "resumed after epoch" in killed.stdout, fault
    done = trainings.run(stage)
    assert done.returncode == 0, done.stdout
    assert published(trainings, stage) == expected
    assert not states(trainings.folder, stage)


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
def waiting(trainings: Trainings) -> Iterator[tuple[Stage, Path]]:
    """A pretraining that waits at step 2, for as long as the file is there."""
    process, flag = trainings.start("pretrain", WAITING), trainings.folder / "waiting"
    deadline = time.monotonic() + 120
    while not flag.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process, flag
    flag.unlink(missing_ok=True)


def test_sigterm_saves_and_says_143(trainings: Trainings, waiting: tuple[Stage, Path]) -> None:
    process, flag = waiting
    os.kill(process.pid, signal.SIGTERM)
    flag.unlink()
    stopped = process.wait()
    assert stopped.returncode == 143, stopped.stdout
    assert "stopped by SIGTERM; state is saved, run again to continue" in stopped.stdout
    assert states(trainings.folder, "pretrain")[-1].stem == "000001-00000001"
    assert "resumed after epoch 1 and 1 batches" in trainings.run("pretrain").stdout


def test_ctrl_c_once_saves_and_stops(trainings: Trainings, waiting: tuple[Stage, Path]) -> None:
    process, flag = waiting
    os.kill(process.pid, signal.SIGINT)
    flag.unlink()
    stopped = process.wait()
    assert stopped.returncode == 130, stopped.stdout
    assert "Traceback" not in stopped.stdout
    listed = twotone(trainings.folder, "resume").stdout
    assert "pretrain" in listed
    assert "interrupted trainings in .resume: 1; " in listed
    twotone(trainings.folder, "resume", "--clear", "--yes")
    assert not states(trainings.folder, "pretrain")


def test_ctrl_c_twice_stops_now(waiting: tuple[Stage, Path]) -> None:
    process, _ = waiting
    os.kill(process.pid, signal.SIGINT)
    # The first has been heard once the stage catches no more of them: two at once would be one.
    until = time.monotonic() + 60
    while catches(process.pid, signal.SIGINT):
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait().returncode == -signal.SIGINT


def catches(pid: int, number: int) -> bool:
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
    assert caught
    return bool(int(caught[1], 16) >> (number - 1) & 1)


def test_a_second_trainer_refuses_and_names_the_first(trainings: Trainings, waiting: tuple[Stage, Path]) -> None:
    process, flag = waiting
    expected = published(trainings, "finetune")
    refused = trainings.run("pretrain")
    assert refused.returncode == 1
    assert f"pretrain in this folder is running already, as process {process.pid}" in refused.stdout
    flag.unlink()
    assert process.wait().returncode == 0
    assert published(trainings, "finetune") == expected


@pytest.mark.slow
def test_other_parameters_data_or_code_start_anew(trainings: Trainings) -> None:
    trainings.run("pretrain", at_step(CONTENT, 3))
    assert states(trainings.folder, "pretrain")
    manifest, module = trainings.folder / "data/sample/manifest.csv", trainings.folder / "pipeline/training/ema.py"
    for path, more in ((manifest, b"\n"), (module, b"OTHER = 1\n")):
        original = path.read_bytes()
        path.write_bytes(original + more)
        other = trainings.run("pretrain")
        assert "resumed" not in other.stdout
        assert "holds saved state of other parameters, data or code" in other.stdout
        path.write_bytes(original)
    params = trainings.folder / "params.yaml"
    values = params.read_text(encoding="utf-8")
    trainings.project.change(pretrain={"lr": 0.0003})
    assert "resumed" not in trainings.run("pretrain").stdout
    params.write_text(values, encoding="utf-8")
    # What no result depends on: a comment, the text of an error, a lock.
    locks = trainings.folder / "pipeline/system.py"
    for path, old, new in (
        (module, b"import torch", b"# Averages.\nimport torch"),
        (trainings.folder / "pipeline/data/shards.py", b"no shards", b"not a single shard"),
        (locks, b"blocking=False", b"blocking=bool(0)"),
    ):
        text = path.read_bytes()
        assert old in text
        path.write_bytes(text.replace(old, new, 1))
    # Another number of threads rounds otherwise: it begins anew, and says how to go on.
    other = trainings.run("pretrain", "import torch\ntorch.set_num_threads(2)\n")
    assert "begun with 1 thread(s) and begins anew with 2" in other.stdout
    assert "resumed" not in other.stdout
    assert "resumed after epoch 1" in trainings.run("pretrain").stdout


@pytest.mark.slow
def test_other_texts_train_nothing_and_another_loss_trains(trainings: Trainings) -> None:
    trainings.run("pretrain")
    expected = published(trainings, "pretrain")
    weights, losses = (trainings.folder / f"pipeline/{name}.py" for name in ("models/weights", "training/losses"))
    weights.write_text(
        weights.read_text(encoding="utf-8").replace("no such file; set none", "there is no such file; set none"),
        encoding="utf-8",
    )
    losses.write_text(losses.read_text(encoding="utf-8").replace('"""Losses:', '"""All losses:'), encoding="utf-8")
    shutil.rmtree(trainings.folder / "checkpoints/pretrain")  # as dvc does before it runs a stage
    again = trainings.run("pretrain").stdout
    assert "this training is finished, and its code does the same: publishing its results again" in again
    assert "epoch 1/2" not in again
    assert published(trainings, "pretrain") == expected
    # Nor does what dvc watches and the training does not use: the schema's texts, and a part that nothing names.
    schema = trainings.folder / "pipeline/params/schema.py"
    schema.write_text(schema.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    assert "publishing its results again" in trainings.run("pretrain").stdout
    (trainings.folder / "parts/another.py").write_text("def loss(answer): ...\n", encoding="utf-8")
    assert "publishing its results again" in trainings.run("pretrain").stdout
    # Results that are no longer what the training made are not published.
    losses.write_text(losses.read_text(encoding="utf-8").replace('"""All losses:', '"""Losses:'), encoding="utf-8")
    (trainings.folder / "logs/pretrain/history.csv").write_text("epoch\n", encoding="utf-8")
    assert "epoch 1/2" in trainings.run("pretrain").stdout
    losses.write_text(
        losses.read_text(encoding="utf-8").replace("F.l1_loss(output, target)", "1.5 * F.l1_loss(output, target)"),
        encoding="utf-8",
    )
    assert "epoch 1/2" in trainings.run("pretrain").stdout
    # The same code once more is trained once more, as dvc repro --force asks.
    assert "epoch 1/2" in trainings.run("pretrain").stdout
    # The server still has the first loss in memory.
    assert published(trainings, "pretrain") == expected


def test_what_is_changed_while_a_stage_runs_is_not_recorded(trainings: Trainings) -> None:
    """dvc looks at parameters and code when a stage has ended: it would record what is there by then."""
    params, losses = trainings.folder / "params.yaml", trainings.folder / "pipeline/training/losses.py"
    values, code = params.read_bytes(), losses.read_bytes()
    trainings.run("pretrain")
    expected = published(trainings, "pretrain")
    changes = (
        (params, values.replace(b"  lr: 0.001", b"  lr: 0.5", 1), "pretrain.lr: changed while pretrain ran"),
        (losses, code + b"# more\n", "pipeline/training/losses.py: changed while pretrain ran"),
        # Half typed, or for an experiment that is to come.
        (params, values.replace(b"  lr: 0.001", b"  lr: 2", 1), "pretrain.lr must be <= 1, got 2): changed while"),
        (params, values + b"pretrain: {", "params.yaml or dvc.yaml (params.yaml: "),
    )
    for file, content, sentence in changes:
        before = file.read_bytes()
        assert content != before
        write = f"import pathlib; pathlib.Path({str(file)!r}).write_bytes({content!r})"
        done = trainings.run(
            "pretrain", f"before({CONTENT}, 'step', lambda self, c, t, n: n == 2, lambda: exec({write!r}))"
        )
        assert done.returncode == 2, done.stdout
        assert sentence in done.stdout
        assert "dvc would record the new state" in done.stdout
        file.write_bytes(before)
        again = trainings.run("pretrain")
        assert again.returncode == 0
        assert "publishing its results again" in again.stdout
        assert "epoch 1/2" not in again.stdout
        assert published(trainings, "pretrain") == expected
    # What the stage does not read may change.
    write = values.replace(b"  lr_generator: ", b"  lr_generator: 0", 1)
    fault = f"import pathlib; pathlib.Path({str(params)!r}).write_bytes({write!r})"
    done = trainings.run(
        "pretrain", f"before({CONTENT}, 'step', lambda self, c, t, n: n == 2, lambda: exec({fault!r}))"
    )
    assert done.returncode == 0, done.stdout
    params.write_bytes(values)


def test_damaged_state_is_never_continued(trainings: Trainings) -> None:
    trainings.run("pretrain", at_step(CONTENT, 3))
    _, newest = states(trainings.folder, "pretrain")
    newest.write_bytes(newest.read_bytes()[:-100])
    killed = trainings.run("pretrain", at_step(CONTENT, 2))
    assert "is damaged: its checksum does not match; trying the one before" in killed.stdout
    assert "resumed after epoch 1 and 0 batches" in killed.stdout
    for path in states(trainings.folder, "pretrain"):
        path.write_bytes(b"")
    refused = trainings.run("pretrain")
    assert refused.returncode == 1
    assert "every saved state in" in refused.stdout
    assert "twotone states --clear" in refused.stdout
    for path in states(trainings.folder, "pretrain"):
        path.unlink()
    assert trainings.run("pretrain").returncode == 0


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
def test_what_is_not_finite_is_neither_published_nor_saved(trainings: Trainings, tampering: str) -> None:
    expected = published(trainings, "pretrain")
    stopped = trainings.run("pretrain", TAMPER.format(tampering=tampering))
    assert stopped.returncode == 1, stopped.stdout
    assert "nothing was published; lower the learning rate" in stopped.stdout
    assert "Traceback" not in stopped.stdout
    assert published(trainings, "pretrain") == expected
    # The states before it are good ones.
    resumed = trainings.run("pretrain")
    assert "resumed after epoch 1" in resumed.stdout
    assert published(trainings, "pretrain") == expected


def test_a_killed_loader_process_is_an_error_and_no_hang(trainings: Trainings) -> None:
    expected = published(trainings, "pretrain")
    trainings.project.change(base={"num_workers": 1})
    fault = """
import torch.utils.data as data
before(loader._Shuffled, '__getitems__', lambda self, positions: 5 in positions and data.get_worker_info() is not None)
"""
    stopped = trainings.run("pretrain", fault)
    trainings.project.change(base={"num_workers": 0})
    assert stopped.returncode == 1, stopped.stdout
    assert "a process that loads photographs ended" in stopped.stdout
    assert "set base.num_workers to 0" in stopped.stdout
    assert trainings.run("pretrain").returncode == 0
    assert published(trainings, "pretrain") == expected


def test_an_operation_that_is_not_deterministic_is_an_error(trainings: Trainings) -> None:
    tampering = "torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))"
    stopped = trainings.run("pretrain", TAMPER.format(tampering=tampering))
    assert stopped.returncode == 1, stopped.stdout
    assert "an operation may give other bits on the next run" in stopped.stdout
    assert trainings.run("pretrain").returncode == 0


def test_an_output_that_cannot_be_written_is_found_before_training(trainings: Trainings) -> None:
    checkpoints, away = trainings.folder / "checkpoints", trainings.folder / "checkpoints-away"
    checkpoints.rename(away)
    checkpoints.write_text("a file where the folder should be", encoding="utf-8")
    stopped = trainings.run("pretrain")
    checkpoints.unlink()
    away.rename(checkpoints)
    assert stopped.returncode == 1
    assert "error: checkpoints: File exists" in stopped.stdout
    assert "epoch" not in stopped.stdout


def test_a_disk_that_is_full_when_publishing_loses_nothing(trainings: Trainings) -> None:
    expected, checkpoints = published(trainings, "pretrain"), trainings.folder / "checkpoints"
    away = trainings.folder / "checkpoints-away"
    checkpoints.rename(away)
    checkpoints.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(checkpoints)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    stopped = trainings.run("pretrain") if mounted.returncode == 0 else None
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
    done = trainings.run("pretrain")
    assert "resumed after epoch 2 and 0 batches" in done.stdout
    assert published(trainings, "pretrain") == expected


@pytest.mark.slow
def test_dvc_killed_then_its_trainer_then_dvc_repro(make_project: Callable[[str], Project], nursery: Nursery) -> None:
    reference, killed = make_project("reference"), make_project("killed")
    for project in (reference, killed):
        project.change(
            base={"save_every_minutes": 1e-6},
            generator={"backbone": "test_efficientnet"},
            pretrain={"epochs": 40, "sample_epochs": [1]},
        )
    for stage in ("sample", "pretrain"):
        nursery.run(reference.folder, stage)
    command = [sys.executable, "-m", "dvc", "repro", "pretrain"]
    with subprocess.Popen(command, cwd=killed.folder, env=environment(), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 200
        while not states(killed.folder, "pretrain"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        trainer = int((killed.folder / "logs/pretrain.lock").read_text(encoding="utf-8").split()[-1])
        os.kill(trainer, signal.SIGSTOP)  # alive, and in no hurry
        process.kill()
    refused = killed.dvc("repro", "pretrain", ok=False)
    assert refused.returncode != 0
    assert f"pretrain in this folder is running already, as process {trainer}" in refused.stderr
    os.kill(trainer, signal.SIGKILL)
    assert not (killed.folder / "checkpoints/pretrain").exists()
    assert "pretrain:" not in (killed.folder / "dvc.lock").read_text(encoding="utf-8")
    resumed = killed.dvc("repro", "pretrain")
    assert "resumed after epoch" in resumed.stdout + resumed.stderr
    assert killed.outs() == reference.outs()


@pytest.mark.slow
def test_a_damaged_lock_file_is_recovered_as_documented(make_project: Callable[[str], Project]) -> None:
    """docs/explanation/reliability.md: put back the committed one, or delete it."""
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
    project.change(base={"save_every_minutes": 1e-6}, pretrain={"epochs": 6, "sample_epochs": [1]})
    project.dvc("repro", "sample")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "sampled")

    def experiment(name: str, lr: float) -> subprocess.Popen[str]:
        # DVC waits three seconds for its own lock, and a busy machine may hold it for longer.
        words = ["--wait-for-lock", "exp", "run", "--temp", "--name", name, "-S", f"pretrain.lr={lr}", "pretrain"]
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", *words],
            cwd=project.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    equal = [experiment(f"equal-{number}", 0.001) for number in range(2)]
    # The other is put aside once these are: DVC may run one's entry in the place of another's.
    until = time.monotonic() + 300
    while not states(project.folder, "pretrain"):
        assert time.monotonic() < until
        time.sleep(0.05)
    other = experiment("other", 0.002)
    outputs = [process.communicate(timeout=600)[0] for process in (*equal, other)]
    assert other.returncode == 0, outputs[2]
    statuses = [process.returncode for process in equal]
    assert 0 in statuses, outputs
    busy = ("is running already, as process", "Unable to acquire lock", "is busy, it is being blocked by")
    for status, output in zip(statuses, outputs, strict=False):
        assert status == 0 or any(words in output for words in busy), output
