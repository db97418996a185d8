"""Several machines: one trains and pushes, others fetch and go on, by the commands of docs/how-to/remotes.md."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from tests.helpers import ROOT, Project, environment, save_photo, serving, until

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/how-to/remotes.md").read_text(encoding="utf-8")
TRAIN, BUCKET, CLONE, CHANGE, EXPORT, STATES, NEXT, TAG, GET = re.findall(
    r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)
(PYTHON,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
URL = "https://git.example.org/team/twotone.git"
PEOPLE = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Team:
    """Machine A, the git server, and other machines, each a folder."""

    def __init__(self, machine: Project, folder: Path):
        self.machine, self.folder = machine, folder
        self.address = str(folder / "twotone.git")
        machine.git("init", "-q", "--bare", "-b", "main", self.address)
        machine.git("remote", "add", "origin", self.address)

    def place(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def type(self, block: str, folder: Path, ok: bool = True) -> str:
        """Run a block of the page in a shell; what it prints, errors too."""
        script = self.as_typed(block)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**environment(), **PEOPLE, **KEYS},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=900,
        )
        assert (done.returncode == 0) == ok, f"{script}\n{done.stdout[-3000:]}"
        return done.stdout

    def as_typed(self, block: str) -> str:
        storage = str(self.folder / "storage")
        for old, new in (("uv run ", ""), (URL, self.address), ("/absolute/path/to/storage", storage)):
            block = block.replace(old, new)
        return block


@pytest.fixture(scope="module")
def team(make_project: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory) -> Team:
    """Machine A has trained and pushed to a folder."""
    machine = make_project("machine-a")
    machine.change(generator={"backbone": "test_efficientnet"})
    team = Team(machine, tmp_path_factory.mktemp("team"))
    assert "files pushed" in team.type(TRAIN, machine.folder)
    return team


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an S3-compatible server, with its address and its fault."""
    with serving("tests/s3_server.py", tmp_path_factory.mktemp("server")) as folder:
        yield folder


def stages_run(printed: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)'", printed, re.MULTILINE)


def test_machine_b_fetches_everything_and_trains_only_what_changed(team: Team) -> None:
    place = team.place("b")
    fetched = team.type(CLONE, place)
    assert stages_run(fetched) == []
    clone = Project(place / "twotone")
    assert clone.outs() == team.machine.outs()
    assert "up to date" in clone.dvc("status").stdout
    changed = team.type(CHANGE, clone.folder)
    assert stages_run(changed) == ["finetune", "evaluate", "export"]
    before, after = team.machine.outs(), clone.outs()
    other = {name for name in before if before[name] != after[name]}
    assert "checkpoints/finetune/generator.safetensors" in other
    assert not [name for name in other if "pretrain/" in name or "sample/" in name]


def test_only_what_is_needed_is_fetched(team: Team) -> None:
    place = team.place("c")
    assert stages_run(team.type(EXPORT, place)) == ["export"]
    there = Project(place / "another").outs()
    assert "checkpoints/export/generator.onnx" in there
    assert not [name for name in there if name.startswith("reports/finetune/samples")]


def test_states_are_copied_and_save_the_next_machine_the_training(team: Team) -> None:
    """tests/test_spot.py kills machines; here the commands are typed."""
    place, places = team.place("spot"), team.folder / "storage/states"
    fetched = team.type(CLONE, place)
    assert stages_run(fetched) == []
    assert stages_run(team.type(STATES, place / "twotone")) == []
    assert stages_run(team.type(NEXT, place)) == ["sample", "pretrain", "finetune", "evaluate", "export"]
    assert sorted(path.parents[1].name for path in places.rglob("inputs.json")) == ["finetune", "pretrain"]
    assert Project(place / "next").outs() == team.machine.outs()
    last = team.type(NEXT, team.place("last"))
    assert last.count("resumed after epoch 1 and 0 batches of the next") == 2
    assert Project(team.folder / "last/next").outs() == team.machine.outs()


def test_the_model_is_fetched_by_its_name(team: Team) -> None:
    team.type(TAG, team.machine.folder)
    place = team.place("guest")
    save_photo(place / "street.jpg", np.random.default_rng(0), (120, 90))
    team.type(GET, place)
    assert (place / "street-in-color.jpg").exists()
    (place / "fetch.py").write_text(team.as_typed(PYTHON), encoding="utf-8")
    team.type("python fetch.py", place)
    weights = (team.machine.folder / "checkpoints/finetune/generator.safetensors").read_bytes()
    for name in ("model", "model-by-api"):
        assert (place / name / "generator.safetensors").read_bytes() == weights
    assert "Unable to find artifact" in team.type(f"dvc artifacts get {URL} nobody", place, ok=False)


def into_bucket(team: Team, server: Path, name: str) -> Any:
    """Machine A, and all that clone it, push to a new bucket from now on; a client that looks into it."""
    address = (server / "address").read_text(encoding="utf-8")
    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=name)
    block = BUCKET.replace("s3://bucket", f"s3://{name}").replace("https://minio.example.org", address)
    team.type(block.replace("remote add", "remote add --force"), team.machine.folder)
    team.type("git commit -qam 'Another remote'; git push -q origin HEAD", team.machine.folder)
    return client


def test_a_refused_push_to_a_bucket_leaves_both_sides_usable(team: Team, server: Path) -> None:
    into_bucket(team, server, "refusing")
    (server / "fault").write_text("6 refuse", encoding="utf-8")
    refused = team.type("dvc push", team.machine.folder, ok=False)
    (server / "fault").unlink()
    assert "The provided token has expired" in refused
    assert "files failed to upload" in refused
    expected = team.machine.outs()
    assert stages_run(team.machine.dvc("repro").stdout) == []
    early = Project(team.place("early") / "twotone")
    team.type(CLONE.splitlines()[0], early.folder.parent)
    assert "Missing cache files" in team.type("dvc pull", early.folder, ok=False)
    assert stages_run(team.type("dvc repro --pull", early.folder))
    assert early.outs() == expected
    assert "files pushed" in team.type("dvc push", team.machine.folder)
    late = Project(team.place("late") / "twotone")
    assert stages_run(team.type(CLONE, late.folder.parent)) == []
    assert late.outs() == expected


def test_a_killed_push_goes_on(team: Team, server: Path) -> None:
    client = into_bucket(team, server, "killing")
    (server / "fault").write_text("6 hold", encoding="utf-8")
    command = [sys.executable, "-m", "dvc", "push"]
    with subprocess.Popen(command, cwd=team.machine.folder, env={**environment(), **KEYS}) as push:
        until(lambda: client.list_objects_v2(Bucket="killing")["KeyCount"] == 6)
        push.kill()
    (server / "fault").unlink()
    assert stages_run(team.machine.dvc("repro").stdout) == []
    assert "files pushed" in team.type("dvc push", team.machine.folder)
    other = Project(team.place("after-kill") / "twotone")
    assert stages_run(team.type(CLONE, other.folder.parent)) == []
    assert other.outs() == team.machine.outs()
