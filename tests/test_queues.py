"""Queued experiments whose machine dies, with `dvc exp run --queue` and `--temp`: queued again, they go on."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import Project, environment

pytestmark = pytest.mark.slow

EPOCHS = 60
# DVC's queue reads the name of whoever commits from here.
PEOPLE = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def project(make_project: Callable[[str], Project]) -> Iterator[Project]:
    """Sampled and committed; a pretraining saves a state after each of its steps."""
    project = make_project("queues")
    project.change(
        base={"save_every_minutes": 1e-6},
        generator={"backbone": "test_efficientnet"},
        pretrain={"epochs": EPOCHS, "sample_epochs": [1]},
    )
    project.dvc("repro", "sample")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "sampled")
    yield project
    project.the_machine_dies()


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def queue(project: Project, name: str, lr: float) -> None:
    words = ["exp", "run", "--queue", "-n", name, "-S", f"pretrain.lr={lr}", "pretrain"]
    project.dvc(*words, env=PEOPLE)


def start(project: Project, workers: int) -> None:
    """Not by Project.dvc: the workers would keep its pipe open, and it would wait for them."""
    subprocess.run(
        [sys.executable, "-m", "dvc", "queue", "start", "-j", str(workers)],
        cwd=project.folder,
        env={**environment(), **PEOPLE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )


def status(project: Project) -> tuple[dict[str, str], int]:
    """The state of each task by its name, of several of a name the last; and how many workers there are."""
    printed = project.queue_status()
    tasks = re.findall(r"^[0-9a-f]{7}\s+(\S+)\s+.*\s(\w+)$", printed, re.MULTILINE)
    workers = re.search(r"Worker status: (\d+) active, (\d+) idle", printed)
    assert workers, printed
    return dict(tasks), int(workers[1]) + int(workers[2])


def finish(project: Project, names: list[str], workers: int) -> None:
    """Start the queue, and again where it stops early, as README says."""
    start(project, workers)

    def done() -> bool:
        tasks, alive = status(project)
        assert "Failed" not in tasks.values(), tasks
        if all(tasks[name] == "Success" for name in names):
            return True
        if not alive:
            start(project, 1)
        time.sleep(3)
        return False

    until(done, 600)


def trainings_with(project: Project, count: int) -> list[Path]:
    """Trainings with a saved state of the fifth epoch or a later one, once there are so many."""
    found: list[Path] = []

    def there() -> bool:
        states = (project.folder / ".resume/pretrain").glob("*/[0-9]*.state")
        found[:] = sorted({state.parent for state in states if int(state.name.split("-")[0]) >= 5})
        return len(found) == count

    until(there)
    return found


def log_of(project: Project, name: str) -> str:
    return project.dvc("queue", "logs", name).stdout


def epochs_of(project: Project, name: str) -> list[int]:
    """Those that the experiment's history has."""
    ref = subprocess.run(["git", "for-each-ref", "--format=%(refname)", f"refs/exps/**/{name}"],
                         cwd=project.folder, capture_output=True, encoding="utf-8").stdout.strip()  # fmt: skip
    shown = subprocess.run(["git", "show", f"{ref}:reports/pretrain/history.csv"],
                           cwd=project.folder, capture_output=True, encoding="utf-8").stdout  # fmt: skip
    return [int(line.split(",")[0]) for line in shown.splitlines()[1:]]


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_with_its_machine_and_queued_again_it_resumes(project: Project, workers: int) -> None:
    rates = {f"rate-{number}": 0.0005 * number for number in range(1, workers + 1)}
    for name, rate in rates.items():
        queue(project, name, rate)
    start(project, workers)
    trainings_with(project, workers)
    project.the_machine_dies()
    # DVC does not notice: what README calls a dead task.
    assert status(project) == (dict.fromkeys(rates, "Running"), 0)
    for name in rates:
        project.dvc("queue", "kill", name)
    assert status(project) == (dict.fromkeys(rates, "Failed"), 0)
    project.dvc("queue", "remove", "--failed")
    for name, rate in rates.items():
        queue(project, name, rate)
    finish(project, list(rates), workers)
    for name in rates:
        resumed = re.search(r"resumed after epoch (\d+)", log_of(project, name))
        assert resumed
        assert int(resumed[1]) >= 4
        assert epochs_of(project, name) == list(range(1, EPOCHS + 1))
    assert not list((project.folder / ".resume/pretrain").glob("*/*.state"))


def test_a_killed_temp_experiment_resumes(project: Project) -> None:
    command = ["exp", "run", "--temp", "-n", "temp", "-S", "pretrain.lr=0.0005", "pretrain"]
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", *command],
        cwd=project.folder,
        env={**environment(), **PEOPLE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        trainings_with(project, 1)
        project.the_machine_dies()
    again = project.dvc(*command, env=PEOPLE)
    assert "resumed after epoch" in again.stdout + again.stderr
    assert epochs_of(project, "temp") == list(range(1, EPOCHS + 1))
