"""Machines that vanish: another one goes on with the states that a bucket or a shared disk has, to the same bytes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch

from pipeline.checkpointing.remote import Remote
from pipeline.checkpointing.store import SavedStates, State, mention_others, require_no_other_count
from pipeline.errors import SavedStateError
from pipeline.system import held
from tests.helpers import QUICKSTART, Project, environment, serving, twotone, until
from tests.nursery import Nursery
from tests.test_interruptions import MODULES, SHORT

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
KEY = "ab" * 32


def state(number: int) -> State:
    return State(1, number, {"weights": torch.full((1000,), float(number)), "note": "as it was"})


def states_of(folder: Path, address: Path | str) -> SavedStates:
    inputs = {"training": "one", "threads": 1, "processes": 1}
    return SavedStates(folder / ".resume/pretrain" / KEY, 300, inputs, Remote(str(address)))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A shared disk with two states and a kept folder, which machine `a` has saved."""
    saved = states_of(tmp_path / "a", tmp_path / "disk")
    saved.fetch()
    with saved.keeping("epoch-1") as folder:
        folder.mkdir()
        (folder / "weights").write_bytes(b"kept")
    with saved:
        for number in (1, 2, 3):
            saved.save(state(number))
            saved.finish()
            wait_for_copies(saved)
    return tmp_path / "disk"


def wait_for_copies(states: SavedStates) -> None:
    with states:
        pass


def test_another_machine_finds_the_newest_state_and_what_was_kept(tmp_path: Path, disk: Path) -> None:
    names = sorted(path.name for path in (disk / "pretrain" / KEY).iterdir())
    assert names == ["000001-00000002.state", "000001-00000003.state", "inputs.json", "kept-epoch-1.tar"]
    other = states_of(tmp_path / "b", disk)
    other.fetch()
    loaded = other.load()
    assert loaded is not None
    assert loaded.batches == 3
    assert torch.equal(loaded.contents["weights"], state(3).contents["weights"])
    assert (other.kept()["epoch-1"] / "weights").read_bytes() == b"kept"
    # Another stage, or another machine, may still want them.
    other.clear()
    assert not list((tmp_path / "b").rglob("*.state"))
    assert (disk / "pretrain" / KEY / "000001-00000003.state").exists()


def test_what_was_kept_comes_also_where_the_states_have_come_before(tmp_path: Path, disk: Path) -> None:
    other = states_of(tmp_path / "b", disk)
    other.fetch()
    shutil.rmtree(other.folder / "kept-epoch-1")
    other.fetch()
    assert (other.kept()["epoch-1"] / "weights").read_bytes() == b"kept"


def test_what_was_saved_before_there_was_a_place_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "a/.resume/pretrain" / KEY
    before = SavedStates(folder, 300, {"training": "one"})
    with before.keeping("epoch-1") as kept:
        kept.mkdir()
        (kept / "weights").write_bytes(b"kept")
    before.save(state(1))
    before.finish()
    with states_of(tmp_path / "a", tmp_path / "disk") as now:
        now.fetch()
    names = sorted(path.name for path in (tmp_path / "disk/pretrain" / KEY).iterdir())
    assert names == ["000001-00000001.state", "inputs.json", "kept-epoch-1.tar"]


def test_a_whole_state_replaces_a_damaged_one_here(tmp_path: Path, disk: Path) -> None:
    here = states_of(tmp_path / "a", disk)
    for path in here.files():
        path.write_bytes(path.read_bytes()[:-100])
    here.fetch()
    loaded = here.load()
    assert loaded is not None
    assert loaded.batches == 3


def test_what_is_newer_here_stays(tmp_path: Path, disk: Path) -> None:
    here = states_of(tmp_path / "a", tmp_path / "nothing")
    here.save(state(9))
    here.finish()
    again = states_of(tmp_path / "a", disk)
    again.fetch()
    loaded = again.load()
    assert loaded is not None
    assert loaded.batches == 9


def test_of_a_damaged_state_the_one_before_counts(
    tmp_path: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = disk / "pretrain" / KEY / "000001-00000003.state"
    newest.write_bytes(newest.read_bytes()[:-100])
    (newest.parent / ".writing-000001-00000004.state").write_bytes(b"half")
    other = states_of(tmp_path / "b", disk)
    other.fetch()
    loaded = other.load()
    assert loaded is not None
    assert loaded.batches == 2
    said = capsys.readouterr()
    assert "000001-00000003.state is damaged: its checksum does not match" in said.err
    assert f"1 file(s) of this training in {disk} have not been uploaded to their end" in said.out


def test_what_is_kept_anew_replaces_what_is_there(tmp_path: Path, disk: Path) -> None:
    """Without base.deterministic, a machine that goes on makes other weights of the same name."""
    other = states_of(tmp_path / "b", disk)
    other.fetch()
    there = disk / "pretrain" / KEY / "kept-epoch-1.tar"
    before = there.stat().st_mtime_ns
    with other:
        other.save(state(4))
    assert there.stat().st_mtime_ns == before
    with other.keeping("epoch-1") as folder:
        folder.mkdir()
        (folder / "weights").write_bytes(b"anew")
    with other:
        other.save(state(5))
    third = states_of(tmp_path / "c", disk)
    third.fetch()
    assert (third.kept()["epoch-1"] / "weights").read_bytes() == b"anew"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("shared/disk", "base.states shared/disk: expected an address such as s3://bucket/states"),
        ("nonsense://bucket/states", "base.states nonsense://bucket/states: Protocol not known: nonsense"),
    ],
)
def test_other_addresses_have_a_sentence(address: str, sentence: str) -> None:
    with pytest.raises(SavedStateError, match=sentence):
        Remote(address)


def test_a_place_that_cannot_be_written_to_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SavedStateError, match=r"base\.states .*file/states cannot be (read|written to) \("):
        states_of(tmp_path / "a", tmp_path / "file/states").fetch()


def test_a_copy_that_fails_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = states_of(tmp_path / "a", tmp_path / "disk")
    saved.fetch()
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "disk").write_bytes(b"")
    with saved:
        saved.save(state(1))
    assert saved.load() is not None
    assert "warning: 000001-00000001.state could not be copied in base.states" in capsys.readouterr().err


def test_they_are_listed_and_deleted(tmp_path: Path, disk: Path) -> None:
    values = QUICKSTART.read_text(encoding="utf-8").replace("states: none", f"states: {disk}", 1)
    (tmp_path / "params.yaml").write_text(values, encoding="utf-8")
    listed = twotone(tmp_path, "states")
    assert listed.returncode == 0, listed.stderr
    rows = [" ".join(line.split()) for line in listed.stdout.splitlines()]
    assert f"trainings with states in {disk}: 1" in rows
    assert any(row.startswith(f"pretrain {KEY[:12]} 1 3 ") for row in rows)
    # What else lies there is no training.
    (disk / ".DS_Store").write_bytes(b"icons")
    (disk / "pretrain/.DS_Store").write_bytes(b"icons")
    (disk / "README").mkdir()
    assert twotone(tmp_path, "states").stdout == listed.stdout
    # Of a training that runs here, what is there stays, too.
    lock = tmp_path / ".resume/pretrain" / KEY / "lock"
    save_state = states_of(tmp_path, disk)
    save_state.fetch()
    with held(lock, "this"):
        spared = twotone(tmp_path, "states", "--clear", "--yes")
    assert f"kept: pretrain {KEY[:12]} is running already" in spared.stdout
    assert "deleted" not in spared.stdout
    assert list((disk / "pretrain" / KEY).glob("*.state"))
    shutil.rmtree(tmp_path / ".resume")
    cleared = twotone(tmp_path, "states", "abab", "--clear", "--yes")
    assert f"deleted: pretrain {KEY[:12]} in {disk}" in cleared.stdout
    assert f"trainings with states in {disk}: none" in twotone(tmp_path, "states").stdout


def test_a_training_of_another_count_of_threads_is_mentioned(
    tmp_path: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = {"training": "one", "threads": 4, "processes": 1}
    mention_others(SavedStates(tmp_path / "c/.resume/pretrain" / ("cd" * 32), 300, ours, Remote(str(disk))))
    assert "was begun with 1 thread(s) and begins anew with 4" in capsys.readouterr().out


def test_a_finished_training_may_begin_anew_with_another_count_of_processes(tmp_path: Path, disk: Path) -> None:
    ours = {"training": "one", "threads": 1, "processes": 2}
    another = SavedStates(tmp_path / "c/.resume/pretrain" / ("cd" * 32), 300, ours, Remote(str(disk)))
    with pytest.raises(SavedStateError, match="was begun by 1 processes and cannot go on with 2"):
        require_no_other_count(another)
    states_of(tmp_path / "a", disk).end()
    require_no_other_count(another)
    assert list((disk / "pretrain" / KEY).glob("*.state")), "another machine publishes from them"


def test_the_states_of_another_training_are_said_to_be_where_they_are(
    tmp_path: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = {"training": "another", "threads": 1, "processes": 1}
    mention_others(SavedStates(tmp_path / "c/.resume/pretrain" / ("cd" * 32), 300, ours, Remote(str(disk))))
    assert f"note: {disk} holds saved state of other parameters, data or code" in capsys.readouterr().out


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an S3-compatible server, with its address and its fault."""
    with serving("tests/s3_server.py", tmp_path_factory.mktemp("server")) as folder:
        yield folder


@pytest.fixture(scope="module")
def machine(make_project: Callable[[str], Project], server: Path) -> Iterator[tuple[Project, Nursery, Any]]:
    """Sampled and pretrained without interruption; its DVC remote `storage` is a bucket."""
    project = make_project("spot")
    project.change(**SHORT)
    project.change(pretrain={"keep_epochs": []})
    nursery = Nursery(project.folder, {**environment(), **KEYS})
    for stage in ("sample", "pretrain"):
        nursery.run(project.folder, stage)
    address = (server / "address").read_text(encoding="utf-8")
    client = boto3.client("s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test",
                          region_name="us-east-1")  # fmt: skip
    client.create_bucket(Bucket="spot")
    project.dvc("remote", "add", "storage", "s3://spot/team")
    project.dvc("remote", "modify", "storage", "endpointurl", address)
    yield project, nursery, client
    nursery.close()


@pytest.mark.slow
@pytest.mark.parametrize(("uploads", "left"), [("4 hold", 1), ("5 hold", 2)])
def test_killed_while_it_uploads_another_machine_goes_on_to_the_same_bytes(
    machine: tuple[Project, Nursery, Any], server: Path, tmp_path: Path, uploads: str, left: int
) -> None:
    """Parameters and a state are there whole, by two requests each; then an upload, or the renaming after it, hangs."""
    project, nursery, client = machine
    expected = {name: content for name, content in project.outs().items() if "/pretrain/" in name}
    without = shutil.ignore_patterns(".resume", "logs", "pretrain")
    first, second = (shutil.copytree(project.folder, tmp_path / name, ignore=without) for name in ("one", "two"))

    def keys() -> list[str]:
        found = client.list_objects_v2(Bucket="spot").get("Contents", [])
        return [one["Key"].rpartition("/")[2] for one in found]

    for folder in (first, second):
        Project(folder).change(base={"states": "storage"})
    (server / "fault").write_text(uploads, encoding="utf-8")
    running = nursery.start(first, "pretrain", MODULES)
    until(lambda: len([key for key in keys() if key.endswith(".state")]) == left)
    time.sleep(3)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    (server / "fault").unlink()
    done = nursery.start(second, "pretrain", MODULES).wait()
    assert done.returncode == 0, done.stdout
    assert "saved state(s) of this training came from storage" in done.stdout
    # The server may finish what it was asked for.
    assert re.search("resumed after epoch [012] and [01] batches of the next", done.stdout)
    found = {name: content for name, content in Project(second).outs().items() if "/pretrain/" in name}
    assert found == expected
    # A third machine has what was trained without training it.
    third = shutil.copytree(second, tmp_path / "three", ignore=without)
    done = nursery.start(third, "pretrain", MODULES).wait()
    assert "resumed after epoch 2 and 0 batches of the next" in done.stdout
    assert {name: content for name, content in Project(third).outs().items() if "/pretrain/" in name} == expected
    assert "in storage" in Project(third).run("pipeline.cli", "states", "--clear", "--yes", env=KEYS).stdout
    assert keys() == []


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_not_made(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = (server / "address").read_text(encoding="utf-8")
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SavedStateError, match=r"base\.states s3://nobody/states cannot be written to"):
        states_of(tmp_path, "s3://nobody/states").fetch()
    client = boto3.client("s3", endpoint_url=address)
    assert "nobody" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
