"""Trainings that several processes share, over gloo: against one process, killed, stopped and resumed."""

from __future__ import annotations

import csv
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.checkpointing.store import read_state
from tests.helpers import Project, environment
from tests.nursery import Nursery, Stage

# Two epochs of two steps of six photographs, which two and three processes can share; a state after each step.
SHARED = {
    "base": {"save_every_minutes": 1e-6},
    "sample": {"train": 12},
    "generator": {"backbone": "test_efficientnet"},
    "pretrain": {"epochs": 2, "batch_size": 6, "sample_epochs": [2], "ema_decay": 0.9, "keep_epochs": [1]},
    "finetune": {"epochs": 2, "batch_size": 6, "sample_epochs": [2]},
}
# Largest difference of a weight after four steps in fp32, Adam's steps being 1e-3, whatever the size of a gradient is.
TOLERANCE = 2e-3
MODULES = "import pipeline.training.objectives as objectives\n"
KILLED = """
for objective in (objectives.ContentObjective, objectives.AdversarialObjective):
    before(objective, 'step', lambda self, c, t, number: number == 2)
"""
NO_MEMORY = """
def fail():
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
before(objectives.ContentObjective, 'step', lambda self, c, t, number: number == 2, fail)
"""


@pytest.fixture(scope="module")
def project(make_project: Callable[[str], Project]) -> Project:
    """Sampled, and trained by one process."""
    project = make_project("processes")
    project.change(**SHARED)
    return project


@pytest.fixture(scope="module")
def nursery(project: Project) -> Iterator[Nursery]:
    nursery = Nursery(project.folder, environment())
    for stage in ("sample", "pretrain", "finetune"):
        nursery.run(project.folder, stage)
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def alone(project: Project, nursery: Nursery) -> dict[str, dict[str, torch.Tensor]]:
    """The generators that one process trains."""
    assert nursery
    shutil.copytree(project.folder / "checkpoints/pretrain", project.folder / "alone")
    return {stage: weights(project, stage) for stage in ("pretrain", "finetune")}


def begin_as_alone(project: Project, stage: str) -> None:
    """Let finetune go on from what one process has pretrained, whoever has pretrained since."""
    if stage == "finetune":
        shutil.rmtree(project.folder / "checkpoints/pretrain")
        shutil.copytree(project.folder / "alone", project.folder / "checkpoints/pretrain")


def weights(project: Project, stage: str) -> dict[str, torch.Tensor]:
    return load_file(project.folder / f"checkpoints/{stage}/generator.safetensors")


def start(project: Project, nursery: Nursery, stage: str, count: int, fault: str = "") -> list[Stage]:
    """All processes of a stage, as torchrun would start them; the fault is in the last one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        told = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    return [
        nursery.start(
            project.folder,
            stage,
            MODULES + (fault if number == count - 1 else ""),
            {**told, "RANK": str(number), "LOCAL_RANK": str(number)},
        )
        for number in range(count)
    ]


def run(project: Project, nursery: Nursery, stage: str, count: int) -> str:
    """Returns what all of them print."""
    ended = [process.wait() for process in start(project, nursery, stage, count)]
    assert not any(one.returncode for one in ended), "\n".join(one.stdout for one in ended)
    return "\n".join(one.stdout for one in ended)


def first_gradient(project: Project, nursery: Nursery, stage: str, count: int) -> torch.Tensor:
    """Of all parameters in a row, up to a factor: Adam's averages in the state that is saved after the first step.

    The last process is killed in the third step: of a training that ends, no state is left.
    """
    for process in start(project, nursery, stage, count, KILLED):
        process.wait()
    states = project.folder / f".resume/{stage}"
    (path,) = states.glob("*/000000-00000001.state")
    contents = read_state(path).contents
    shutil.rmtree(states)
    averages = [name for name in sorted(contents) if name.startswith("optimizer.") and name.endswith(".exp_avg")]
    return torch.cat([contents[name].flatten() for name in averages])


def published(project: Project, stage: str) -> dict[str, bytes]:
    return {name: content for name, content in project.outs().items() if f"/{stage}/" in name}


@pytest.mark.parametrize(
    ("stage", "count"),
    [
        ("pretrain", 2),
        pytest.param("finetune", 3, marks=pytest.mark.slow),
        pytest.param("pretrain", 3, marks=pytest.mark.slow),
        pytest.param("finetune", 2, marks=pytest.mark.slow),
    ],
)
def test_several_processes_train_what_one_does(
    project: Project, nursery: Nursery, alone: dict[str, dict[str, torch.Tensor]], stage: str, count: int
) -> None:
    begin_as_alone(project, stage)
    printed = run(project, nursery, stage, count)
    assert printed.count(", valid ab_mae ") == 2, "one of them reports its two epochs"
    for name, value in weights(project, stage).items():
        torch.testing.assert_close(value, alone[stage][name], rtol=0.0, atol=TOLERANCE, msg=name)
    first = published(project, stage)
    run(project, nursery, stage, count)
    assert published(project, stage) == first, "again, the same bytes"
    with (project.folder / f"reports/{stage}/history.csv").open(encoding="utf-8") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


@pytest.mark.parametrize(("stage", "count"), [("pretrain", 2), pytest.param("finetune", 3, marks=pytest.mark.slow)])
def test_the_first_gradient_is_that_of_one_process(
    project: Project, nursery: Nursery, alone: dict[str, dict[str, torch.Tensor]], stage: str, count: int
) -> None:
    """What Adam makes of it says little, because a weight moves by about the rate whatever its gradient is."""
    assert alone
    whole = (project.folder / "params.yaml").read_bytes()
    # Half of the inputs are those of old photographs: the same half, whoever draws them.
    # And a smooth loss: where L1 is nearly 0, rounding turns the sign of its gradient.
    project.change(**{stage: {"degrade": 0.5, "losses": {"l1": 0, "mse": 100}}})
    one, several = first_gradient(project, nursery, stage, 1), first_gradient(project, nursery, stage, count)
    (project.folder / "params.yaml").write_bytes(whole)
    assert one.norm() > 0
    assert (several - one).norm() < 0.01 * one.norm()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "status", "sentence"),
    [(KILLED, -9, ""), (NO_MEMORY, 1, "not enough memory")],
)
def test_when_one_ends_all_end_and_the_training_goes_on(
    project: Project, nursery: Nursery, fault: str, status: int, sentence: str
) -> None:
    run(project, nursery, "pretrain", 3)
    whole = published(project, "pretrain")
    started = time.monotonic()
    first, _, last = [process.wait() for process in start(project, nursery, "pretrain", 3, fault)]
    # Without an end, the others would wait half an hour for the one that is gone.
    assert time.monotonic() - started < 300
    assert last.returncode == status
    assert sentence in last.stdout
    assert first.returncode == 75
    assert "another process has ended" in first.stdout
    assert "Traceback" not in first.stdout + last.stdout
    assert published(project, "pretrain") == whole, "nothing is lost that was published"
    refused = start(project, nursery, "pretrain", 2)[0].wait()
    assert refused.returncode == 1
    assert "was begun by 3 processes and cannot go on with 2" in refused.stdout
    printed = run(project, nursery, "pretrain", 3)
    assert "resumed after epoch 1 and 0 batches of the next" in printed or "resumed after epoch 0" in printed
    assert published(project, "pretrain") == whole


@pytest.mark.slow
def test_srun_is_understood(project: Project, nursery: Nursery) -> None:
    run(project, nursery, "pretrain", 2)
    whole = published(project, "pretrain")
    told = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_JOB_ID": str(time.time_ns() % 10**6),
    }
    processes = [
        nursery.start(project.folder, "pretrain", "", {**told, "SLURM_PROCID": str(n), "SLURM_LOCALID": str(n)})
        for n in range(2)
    ]
    assert [process.wait().returncode for process in processes] == [0, 0]
    assert published(project, "pretrain") == whole


def test_batches_that_cannot_be_shared_are_refused(project: Project, nursery: Nursery) -> None:
    refused = start(project, nursery, "pretrain", 4)[0].wait()
    assert refused.returncode == 2
    assert "pretrain.batch_size must be a multiple of the number of processes (4)" in refused.stdout
    alone = start(project, nursery, "evaluate", 2)[0].wait()
    assert alone.returncode == 2
    assert "the stage evaluate runs in one process, and 2 were started" in alone.stdout


@pytest.mark.slow
def test_under_dvc_the_number_is_a_parameter(make_project: Callable[[str], Project]) -> None:
    """Stopped by SIGTERM, then one of its processes killed, then left alone."""
    project = make_project("launched")
    project.change(**SHARED)
    project.change(base={"processes": 2}, pretrain={"epochs": 10})
    project.run("stages", "sample")
    command = [sys.executable, "-m", "stages", "pretrain"]
    for number, status, words in (
        (signal.SIGTERM, 143, "stopped by SIGTERM; state is saved"),
        (signal.SIGKILL, 137, "process 1 of 2 (from 0) was ended by SIGKILL"),
    ):
        running = subprocess.Popen(
            command,
            cwd=project.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        wait_for_a_state(project.folder)
        if number == signal.SIGTERM:
            running.send_signal(number)
        else:
            subprocess.run(["kill", "-9", str(children(running.pid)[1])], check=True)
        _, errors = running.communicate(timeout=120)
        assert running.returncode == status, errors
        assert words in errors
        assert "Traceback" not in errors
    done = project.dvc("repro", "pretrain")
    assert "resumed after epoch" in done.stdout + done.stderr
    assert (project.folder / "checkpoints/pretrain/generator.safetensors").is_file()
    refused = project.run("pipeline.cli", "check", "-S", "base.processes=4", ok=False)
    assert "pretrain.batch_size must be a multiple of the number of processes (4)" in refused.stderr


def wait_for_a_state(folder: Path) -> None:
    newest = max(map(str, (folder / ".resume").glob("*/*/[0-9]*.state")), default="")
    until = time.monotonic() + 300
    while max(map(str, (folder / ".resume").glob("*/*/[0-9]*.state")), default="") == newest:
        assert time.monotonic() < until
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """In the order in which they were started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(word) for word in text.split()]


@pytest.mark.slow
def test_torchrun_on_two_machines_and_accelerate(project: Project, nursery: Nursery, tmp_path: Path) -> None:
    """Each machine with a folder of its own. Without a GPU, accelerate starts what it would start on two."""
    run(project, nursery, "pretrain", 2)
    whole = published(project, "pretrain")
    folders = [tmp_path / name for name in ("one", "two", "accelerate")]
    for folder in folders:
        without = shutil.ignore_patterns(".dvc", ".git", ".resume", "checkpoints", "logs", "reports")
        shutil.copytree(project.folder, folder, ignore=without)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{probe.getsockname()[1]}"
    meet = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint]
    command = [sys.executable, "-m", "torch.distributed.run", *meet, "-m", "stages", "pretrain"]
    machines = [subprocess.Popen(command, cwd=folder, env=environment()) for folder in folders[:2]]
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    # torchrun decides which machine is the first.
    (first,) = [folder for folder in folders if (folder / "checkpoints").is_dir()]
    assert published(Project(first), "pretrain") == whole
    accelerated = Project(folders[2])
    accelerated.run("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m", "stages", "pretrain")
    assert published(accelerated, "pretrain") == whole


def test_processes_with_other_photographs_are_refused(project: Project, nursery: Nursery, tmp_path: Path) -> None:
    """As where a second machine has an old data/sample."""
    other = tmp_path / "other"
    shutil.copytree(project.folder, other, ignore=shutil.ignore_patterns(".dvc", ".git", ".resume"))
    (other / "data/sample/sample.json").write_text('{"source": "folder"}', encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    places = (project.folder, other)
    both = [nursery.start(place, "pretrain", "", {**told, "RANK": str(n)}) for n, place in enumerate(places)]
    for process, words in zip(both, ("since another one differs", "trains something else than the first"), strict=True):
        ended = process.wait()
        assert ended.returncode == 2, ended.stdout
        assert words in ended.stdout
