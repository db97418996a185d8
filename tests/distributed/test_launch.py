from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from pipeline.distributed.launch import launch
from pipeline.distributed.world import adopt_slurm, first_host, tasks_per_node
from pipeline.errors import InputError
from tests.helpers import ROOT, Project
from tests.nursery import Nursery


def program(first: str, second: str) -> list[str]:
    """Python code for each of two processes."""
    return [sys.executable, "-c", f"import os, sys, time\nif os.environ['RANK'] == '0':\n {first}\nelse:\n {second}"]


def test_all_succeed() -> None:
    check = "sys.exit(os.environ['WORLD_SIZE'] != '2' or not os.environ['MASTER_PORT'])"
    assert launch(program(check, check), 2) == 0


def test_the_one_that_failed_is_named_and_not_the_one_that_noticed(capfd: pytest.CaptureFixture[str]) -> None:
    noticed = "time.sleep(0.2); sys.exit(75)"
    assert launch(program(noticed, "print('error: not enough memory', file=sys.stderr); sys.exit(3)"), 2) == 3
    assert "process 1 of 2 (from 0): error: not enough memory" in capfd.readouterr().err


def test_those_that_hang_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.distributed.launch._GRACE", 0.5)
    started = time.monotonic()
    assert launch(program("time.sleep(60)", "os.kill(os.getpid(), 9)"), 2) == 137
    assert time.monotonic() - started < 50


def test_processes_end_with_their_launcher() -> None:
    stage = "from pipeline.distributed.launch import end_with_launcher; end_with_launcher(); time.sleep(60)"
    told = "print(os.getpid(), flush=True)"
    code = f"from pipeline.distributed.launch import launch\nlaunch({program(f'{told}; {stage}', stage)!r}, 2)"
    running = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8")
    assert running.stdout
    assert running.stdout.readline().strip().isdecimal()
    killed = time.monotonic()
    running.kill()
    assert running.stdout.read() == ""
    assert time.monotonic() - killed < 50, "the processes have closed their ends of the pipe: they are gone"
    running.wait()


@pytest.mark.parametrize(
    ("nodes", "first"), [("gpu[07-09,12],cpu1", "gpu07"), ("a1,a2", "a1"), ("n[3,5]-ib", "n3-ib"), ("one", "one")]
)
def test_the_first_of_slurms_machines(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(("counts", "each"), [("2(x3),1", [2, 2, 2, 1]), ("8", [8]), ("3,1(x2)", [3, 1, 1]), ("", [])])
def test_the_tasks_of_each_of_slurms_machines(counts: str, each: list[int]) -> None:
    assert tasks_per_node(counts) == each


def test_slurms_names_become_torchs() -> None:
    told = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "41",
            "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_NODEID": "1"}  # fmt: skip
    own_gpu = {**told, "SLURM_GPUS_PER_TASK": "1", "CUDA_VISIBLE_DEVICES": "0"}
    unbound = {**own_gpu, "CUDA_VISIBLE_DEVICES": "0,1"}
    adopt_slurm(told)
    assert (told["RANK"], told["LOCAL_RANK"], told["WORLD_SIZE"], told["LOCAL_WORLD_SIZE"]) == ("3", "1", "4", "2")
    assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("n1", "20041")
    adopt_slurm(own_gpu)
    assert (own_gpu["RANK"], own_gpu["LOCAL_RANK"], own_gpu["LOCAL_WORLD_SIZE"]) == ("3", "0", "1")
    adopt_slurm(unbound)
    assert (unbound["LOCAL_RANK"], unbound["LOCAL_WORLD_SIZE"]) == ("1", "2"), "it sees the GPUs of the others, too"
    batch_script = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
    adopt_slurm(batch_script)
    assert "WORLD_SIZE" not in batch_script
    with pytest.raises(InputError, match="set MASTER_ADDR"):
        adopt_slurm({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"})


def test_a_count_from_outside_is_said(make_project: Callable[[str], Project], nursery: Nursery) -> None:
    project = make_project("outside")
    project.change(generator={"architecture": "compact_unet"}, pretrain={"epochs": 0})
    nursery.run(project.folder, "sample")
    for wanted, said in ((2, True), (1, False)):
        project.change(base={"processes": wanted})
        done = nursery.start(project.folder, "pretrain", env={"WORLD_SIZE": "1"}).wait()
        assert done.returncode == 0, done.stdout
        sentence = "note: WORLD_SIZE 1 comes from outside, so base.processes 2 has no effect"
        assert (sentence in done.stdout) == said
