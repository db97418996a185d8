"""A draw that several processes share, over gloo: the same sample as that of one."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers import Project, environment, save_photo

SOURCES: dict[str, dict[str, Any]] = {
    "folder": {"source": "folder", "path": "mine", "group": 4},
    "weights": {"source": "folder", "path": "mine", "weights": {"a": 2.0, "b": 1.0}},
    "parquet": {"source": "parquet", "path": "mine.parquet"},
}


@pytest.fixture(scope="module")
def project(make_project: Callable[[str], Project]) -> Project:
    """Sixty photographs, some of them gray, damaged or twice there, in a folder and in a Parquet file."""
    project, rng = make_project("team"), np.random.default_rng(5)
    for kind in "ab":
        (project.folder / "mine" / kind).mkdir(parents=True)
    for number in range(60):
        save_photo(project.folder / f"mine/{'ab'[number % 2]}/{number:02d}.png", rng)
    (project.folder / "mine/a/02.png").write_bytes(b"damaged")
    shutil.copy(project.folder / "mine/a/04.png", project.folder / "mine/b/05.png")
    files = sorted((project.folder / "mine").rglob("*.png"))
    rows = pa.table({"image": [file.read_bytes() for file in files]})
    pq.write_table(rows, project.folder / "mine.parquet", row_group_size=7)
    return project


def start(folders: list[Path], commands: list[list[str]] | None = None) -> list[subprocess.Popen[str]]:
    """Start `sample`, or these arguments of Python, in a process for each folder, told as torchrun tells."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    told = {"WORLD_SIZE": str(len(folders)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *(commands[rank] if commands else ["-m", "stages", "sample"])],
            cwd=folder,
            env={**environment(), **told, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        for rank, folder in enumerate(folders)
    ]


def drawn(project: Project) -> dict[str, bytes]:
    files = [*(project.folder / "data/sample").iterdir(), project.folder / "reports/sample/metrics.json"]
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_any_number_of_processes_draws_the_same(project: Project, source: str) -> None:
    project.change(sample={"weights": "none", "group": "none", **SOURCES[source], "train": 20, "valid": 4, "test": 4})
    project.run("stages", "sample")
    alone = drawn(project)
    for count in (2, 3):
        shutil.rmtree(project.folder / "data/sample")
        processes = start([project.folder] * count)
        said = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * count, said
        assert drawn(project) == alone


@pytest.mark.slow
def test_machines_need_no_disk_in_common_but_the_same_photographs(project: Project, tmp_path: Path) -> None:
    project.change(sample={"weights": "none", "group": "none", **SOURCES["folder"], "train": 20, "valid": 4, "test": 4})
    project.run("stages", "sample")
    alone = drawn(project)
    other = tmp_path / "other"
    shutil.copytree(project.folder, other, symlinks=True)
    shutil.rmtree(other / "data/sample")
    processes = start([project.folder, other])
    assert [process.wait(120) for process in processes] == [0, 0]
    assert drawn(project) == alone
    assert not (other / "data/sample").exists(), "the first process alone writes"
    (other / "mine/b/59.png").unlink()
    processes = start([project.folder, other])
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert all("process 1 of 2 lists 59, and the first 60" in text for text in said)
    (other / "mine/b/59.png").symlink_to(project.folder / "mine/b/59.png")
    own = sorted((other / "mine/a").iterdir())
    for file in own:
        file.rename(file.with_stem(f"{file.stem}-other"))
    processes = start([project.folder, other])
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert re.search(r"process 1 of 2 has a/(\d\d)-other\.png in the place of a/\1\.png", said[0])
    for file in own:
        file.with_stem(f"{file.stem}-other").rename(file)
    params = (other / "params.yaml").read_text(encoding="utf-8")
    (other / "params.yaml").write_text(params.replace("fit: crop", "fit: stretch"), encoding="utf-8")
    processes = start([project.folder, other])
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert all("process 1 of 2 would draw another sample than the first" in text for text in said)
    assert drawn(project) == alone, "nothing is half-written"


@pytest.mark.slow
def test_one_that_is_gone_ends_the_draw_in_a_sentence(project: Project) -> None:
    project.change(sample={"weights": "none", "group": "none", **SOURCES["folder"], "train": 20, "valid": 4, "test": 4})
    code = (
        "import os, signal, sys\n"
        "import pipeline.sampling.team as team\n"
        "team.Team._answer = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from stages.__main__ import main\n"
        "sys.exit(main(['sample']))"
    )
    first, killed = start([project.folder] * 2, [["-m", "stages", "sample"], ["-c", code]])
    said = first.communicate(timeout=120)[0]
    assert killed.wait(60) == -signal.SIGKILL
    assert first.returncode not in (0, None)
    assert "another process has ended" in said
    assert "Traceback" not in said
