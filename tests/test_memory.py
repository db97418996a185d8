"""Memory that is freed is used again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

import stages.__main__ as stages
from pipeline.params.schema import read
from stages import recorded
from tests.helpers import QUICKSTART

ROUNDS = """
import resource
import sys
import numpy as np
from pipeline.system import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
def fill():
    for _ in range(4):
        one = np.ones(128 << 20, np.uint8)
        other = np.ones(48 << 20, np.uint8)
        del one, other
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
NAME, VERSION = platform.libc_ver()


@pytest.mark.skipif(
    NAME != "glibc" or tuple(map(int, VERSION.split("."))) < (2, 35), reason="needs glibc 2.35, others do as they do"
)
def test_arrays_are_not_fetched_page_by_page_again() -> None:
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    faults = {}
    for how in ("keep", "return"):
        command = [sys.executable, "-c", ROUNDS, how]
        done = subprocess.run(command, check=True, capture_output=True, env=environment)
        faults[how] = int(done.stdout)
    assert 10 * faults["keep"] < faults["return"]


@pytest.mark.parametrize(("stage", "keeps"), [("sample", False), ("pretrain", True), ("evaluate", True)])
def test_stages_of_networks_keep_it(monkeypatch: pytest.MonkeyPatch, stage: str, keeps: bool) -> None:
    done: list[str] = []
    params = read(QUICKSTART)
    monkeypatch.setattr(stages, "read", lambda _path: params)
    monkeypatch.setattr(recorded, "read", lambda _path: params)
    monkeypatch.setattr(stages, "keep_freed_memory", lambda: done.append("keep"))
    monkeypatch.setattr(stages, "_imported", lambda name: SimpleNamespace(run=lambda _params: done.append(name)))
    assert stages.run([stage]) == 0
    assert done == ["keep"] * keeps + [stage]
