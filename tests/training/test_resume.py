from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load, save
from torch import nn

from pipeline.params import Params
from pipeline.training.locks import LockError, held
from pipeline.training.objectives import AdversarialObjective, ContentObjective
from pipeline.training.resume import Keeper, ResumeError, State, fingerprint, read_state
from pipeline.training.snapshot import restore, take


def state(epoch: int = 1, value: float = 1.0) -> State:
    return State(epoch, 0, {"w": torch.full((1000,), value)}, {"history": [{"epoch": epoch, "loss": 0.1}]})


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "states", every=300)


def test_what_is_saved_is_loaded_and_two_are_kept(keeper: Keeper) -> None:
    assert keeper.load() is None
    for epoch in (1, 2, 3):
        keeper.save(state(epoch, epoch / 3))
    loaded = keeper.load()
    assert loaded is not None
    assert (loaded.epoch, loaded.batches) == (3, 0)
    assert torch.equal(loaded.tensors["w"], torch.full((1000,), 1.0))
    assert loaded.values["history"] == [{"epoch": 3, "loss": 0.1}]
    assert [path.stem for path in keeper.files()] == ["000002-00000000", "000003-00000000"]
    keeper.clear()
    assert list(keeper.folder.iterdir()) == []


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_state_gives_way_to_the_one_before(
    keeper: Keeper, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper.save(state(1))
    keeper.save(state(2))
    newest = keeper.files()[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[: int(len(content) * share)])
    loaded = keeper.load()
    assert loaded is not None
    assert loaded.epoch == 1
    assert "000002-00000000.state is damaged" in capsys.readouterr().err


def test_every_single_flipped_bit_is_noticed(keeper: Keeper) -> None:
    keeper.save(state(1))
    (path,) = keeper.files()
    content = path.read_bytes()
    for position in (0, 20, 90, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(ResumeError, match="damaged"):
            read_state(path)


def test_all_bad_is_an_error_that_says_what_to_do(keeper: Keeper) -> None:
    keeper.save(state(1))
    keeper.files()[0].write_bytes(b"")
    with pytest.raises(ResumeError, match=r"every saved state in .* is damaged; clear them"):
        keeper.load()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def test_a_pickle_in_its_place_is_refused_and_not_executed(keeper: Keeper) -> None:
    keeper.folder.mkdir(parents=True)
    path = keeper.folder / "000001-00000000.state"
    for content in (pickle.dumps(Evil()), sealed(pickle.dumps(Evil()))):
        path.write_bytes(content)
        with pytest.raises(ResumeError):
            read_state(path)


def sealed(block: bytes) -> bytes:
    """With the checksum that makes it look whole."""
    return b"twotone-state-1 " + hashlib.sha256(block).hexdigest().encode() + b"\n" + block


class Tiny(nn.Module):
    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(torch.cat(given, 1)))  # type: ignore[no-any-return]


def adversarial(params: Params) -> AdversarialObjective:
    torch.manual_seed(0)
    block = params.finetune.model_copy(update={"ema_decay": 0.9})
    return AdversarialObjective(Tiny(), Tiny(3), block, Accelerator(cpu=True))


def steps(objective: AdversarialObjective | ContentObjective, first: int, count: int) -> None:
    for number in range(first, first + count):
        torch.manual_seed(number)
        objective.step(torch.randn(2, 1, 8, 8), torch.randn(2, 2, 8, 8), number)


def test_all_that_training_moves_is_in_a_snapshot(params: Params) -> None:
    """Two steps, a snapshot, two steps: the same as four steps, to the last bit."""
    whole, first, second = (adversarial(params) for _ in range(3))
    accelerator = Accelerator(cpu=True)
    steps(whole, 0, 4)
    steps(first, 0, 2)
    tensors, values = take(first, accelerator)
    saved = load(save({name: value.clone().contiguous() for name, value in tensors.items()}))
    restore(second, accelerator, State(0, 2, saved, json.loads(json.dumps(values))))
    steps(second, 2, 2)
    expected, found = take(whole, accelerator), take(second, accelerator)
    assert expected[1] == found[1]
    assert set(expected[0]) == set(found[0])
    for name, value in expected[0].items():
        assert torch.equal(value, found[0][name]), name


def test_what_is_missing_from_a_state_is_named(params: Params) -> None:
    objective, accelerator = adversarial(params), Accelerator(cpu=True)
    steps(objective, 0, 1)
    tensors, values = take(objective, accelerator)
    for name in ("network.generator.conv.weight", "optimizer.discriminator.0.exp_avg", "ema.conv.bias"):
        rest = {key: value.clone() for key, value in tensors.items() if key != name}
        with pytest.raises(ResumeError, match="is not complete") as caught:
            restore(adversarial(params), accelerator, State(1, 0, rest, values))
        assert name.split(".")[-1] in str(caught.value)
    whole = {key: value for key, value in tensors.items() if not key.startswith("optimizer.generator.1.")}
    with pytest.raises(ResumeError, match=r"1 of 4 parameters"):
        restore(adversarial(params), accelerator, State(1, 0, whole, values))


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
import sys, time
from pathlib import Path
from pipeline.training.locks import held
with held(Path({str(path)!r}), "this"):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockError, match=f"that is running already, as process {other.pid}"), held(path, "that"):
            pass
        other.kill()
        other.wait()
        with held(path, "that"):
            pass


def test_fingerprints_differ_where_anything_does() -> None:
    one = {"params": [{"lr": 0.1}], "code": "a"}
    assert fingerprint(one) == fingerprint(json.loads(json.dumps(one)))
    assert fingerprint(one) != fingerprint({**one, "code": "b"})
    assert fingerprint(one) != fingerprint({**one, "params": [{"lr": 0.2}]})


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
    keeper = Keeper(small_disk / "states", every=300)
    keeper.save(state(1))
    large = State(2, 0, {"w": torch.zeros(2**20)}, {})
    with pytest.raises(OSError, match="No space left on device"):
        keeper.save(large)
    loaded = keeper.load()
    assert loaded is not None
    assert loaded.epoch == 1
    assert [path.name for path in keeper.folder.iterdir()] == ["000001-00000000.state"]
