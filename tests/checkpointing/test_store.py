from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.checkpointing.store import SavedStates, State, read_state
from pipeline.errors import LockError, SavedStateError
from pipeline.system import held


def state(epoch: int = 1, value: float = 1.0) -> State:
    return State(epoch, 0, {"w": torch.full((1000,), value), "history": [{"epoch": epoch, "loss": 0.1}]})


@pytest.fixture
def states(tmp_path: Path) -> SavedStates:
    return SavedStates(tmp_path / "states", every=300)


def test_what_is_saved_is_loaded_and_two_are_kept(states: SavedStates) -> None:
    assert states.load() is None
    for epoch in (1, 2, 3):
        states.save(state(epoch, epoch / 3))
        states.finish()
    loaded = states.load()
    assert loaded is not None
    assert (loaded.epoch, loaded.batches) == (3, 0)
    assert torch.equal(loaded.contents["w"], torch.full((1000,), 1.0))
    assert loaded.contents["history"] == [{"epoch": 3, "loss": 0.1}]
    assert [path.stem for path in states.files()] == ["000002-00000000", "000003-00000000"]
    states.clear()
    assert list(states.folder.iterdir()) == []


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_state_gives_way_to_the_one_before(
    states: SavedStates, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    states.save(state(1))
    states.save(state(2))
    states.finish()
    newest = states.files()[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[: int(len(content) * share)])
    loaded = states.load()
    assert loaded is not None
    assert loaded.epoch == 1
    assert "000002-00000000.state is damaged" in capsys.readouterr().err


def test_every_single_flipped_bit_is_noticed(states: SavedStates) -> None:
    states.save(state(1))
    states.finish()
    (path,) = states.files()
    content = path.read_bytes()
    for position in (0, 20, 90, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(SavedStateError, match="damaged"):
            read_state(path)


def test_all_bad_is_an_error_that_says_what_to_do(states: SavedStates) -> None:
    states.save(state(1))
    states.finish()
    states.files()[0].write_bytes(b"")
    with pytest.raises(SavedStateError, match=r"every saved state in .* is damaged; clear them"):
        states.load()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def test_a_pickle_in_its_place_is_refused_and_not_executed(states: SavedStates) -> None:
    states.folder.mkdir(parents=True)
    path = states.folder / "000001-00000000.state"
    for content in (pickle.dumps(Evil()), sealed(pickle.dumps(Evil()))):
        path.write_bytes(content)
        with pytest.raises(SavedStateError):
            read_state(path)


def sealed(block: bytes) -> bytes:
    """With the checksum that makes it look whole."""
    return b"twotone-state-1 " + hashlib.sha256(block).hexdigest().encode() + b"\n" + block


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
import sys, time
from pathlib import Path
from pipeline.system import held
with held(Path({str(path)!r}), "this"):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="utf-8") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockError, match=f"that is running already, as process {other.pid}"), held(path, "that"):
            pass
        other.kill()
        other.wait()
        with held(path, "that"):
            pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_state_intact(small_disk: Path) -> None:
    states = SavedStates(small_disk / "states", every=300)
    states.save(state(1))
    states.finish()
    large = State(2, 0, {"w": torch.zeros(2**20)})
    states.save(large)
    with pytest.raises(OSError, match="No space left on device"):
        states.finish()
    loaded = states.load()
    assert loaded is not None
    assert loaded.epoch == 1
    assert sorted(path.name for path in states.folder.iterdir()) == ["000001-00000000.state", "inputs.json"]
