"""How many processes share a training, and which of them this is: told by whatever started them.

torchrun, accelerate and `launch` set RANK, LOCAL_RANK and WORLD_SIZE, which torch.distributed reads; srun sets names of
its own, which are translated. https://docs.pytorch.org/docs/stable/elastic/run.html and https://slurm.schedmd.com/srun.html.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, MutableMapping

from pipeline.errors import InputError


def world_size() -> int:
    """Count the processes that share this training; 1 where nobody has started several."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Of this process, from 0."""
    return _number("RANK", 0)


def adopt_slurm(environment: MutableMapping[str, str] = os.environ) -> None:
    """Under srun with several tasks, set what torch.distributed reads.

    Raises:
        InputError: the first machine is not named where torch.distributed could find it.
    """
    # Of the step, not of the job: a batch script alone is one process, however many tasks its job may have.
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if "WORLD_SIZE" in environment or tasks == "1":
        return
    if "MASTER_ADDR" not in environment:
        first = first_host(environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST") or "")
        if not first:
            raise InputError("srun started several processes and names no machine; set MASTER_ADDR to the first one's")
        environment["MASTER_ADDR"] = first
    # The same for all tasks of a job, and another one for most jobs that share a machine.
    environment.setdefault("MASTER_PORT", str(20000 + int(environment.get("SLURM_JOB_ID", "0")) % 20000))
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["WORLD_SIZE"] = tasks
    here, visible = _tasks_here(environment), len(environment.get("CUDA_VISIBLE_DEVICES", "").split(","))
    # With --gpus-per-task, but for --gpu-bind=none, a process sees its own GPUs alone, and counts them from 0.
    alone = "SLURM_GPUS_PER_TASK" in environment and visible < here
    environment["LOCAL_RANK"] = "0" if alone else environment["SLURM_LOCALID"]
    environment["LOCAL_WORLD_SIZE"] = "1" if alone else str(here)


def tasks_per_node(counts: str) -> list[int]:
    """Write out Slurm's counts: 2(x3),1 -> [2, 2, 2, 1]."""
    each = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [int(tasks) for tasks, nodes in each for _ in range(int(nodes or 1))]


def _tasks_here(environment: Mapping[str, str]) -> int:
    """Tasks of this machine; 1 where Slurm does not say."""
    nodes, node = tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", "")), environment.get("SLURM_NODEID", "")
    return nodes[int(node)] if node.isdecimal() and int(node) < len(nodes) else 1


def first_host(nodes: str) -> str:
    """Return the first of Slurm's hosts: gpu[07-09,12],cpu1 -> gpu07."""
    name = re.match(r"[^,\[]*", nodes)
    inside = re.match(r"[^,\[]*\[([^,\-\]]+)[^\]]*\]([^,]*)", nodes)
    return f"{name[0]}{inside[1]}{inside[2]}" if name and inside else name[0] if name else ""


def hush() -> None:
    """Let the first process alone report progress; errors of the others still come out."""
    if rank() > 0:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise InputError(f"the environment's {name} must be a number, got {text!r}")
    return int(text)
