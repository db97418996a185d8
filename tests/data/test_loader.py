from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.loader import LoaderConfig, plain_batches, train_batches
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.errors import SampleError
from tests.helpers import ROOT


@pytest.fixture
def photographs(tmp_path: Path, rng: np.random.Generator) -> Photographs:
    writer = ShardWriter(tmp_path, "train")
    for number in range(10):
        writer.add(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        if number == 6:
            writer.close()
    writer.close()
    return Photographs(tmp_path, "train", 32)


def epoch(photographs: Photographs, number: int = 1, workers: int = 0, flip: bool = True) -> torch.Tensor:
    config = LoaderConfig(batch_size=4, seed=7, flip=flip, num_workers=workers)
    return torch.cat(list(train_batches(photographs, config, number)))


def test_workers_do_not_change_batches(photographs: Photographs) -> None:
    assert torch.equal(epoch(photographs, workers=0), epoch(photographs, workers=2))


def test_an_epoch_is_a_function_of_its_number(photographs: Photographs) -> None:
    assert torch.equal(epoch(photographs, 1), epoch(photographs, 1))
    assert not torch.equal(epoch(photographs, 1), epoch(photographs, 2))


def test_each_photograph_comes_once_and_some_are_mirrored(photographs: Photographs) -> None:
    batches = epoch(photographs)
    assert batches.shape == (8, 3, 32, 32)
    originals = [torch.from_numpy(photographs[i]).permute(2, 0, 1) for i in range(10)]
    plain = [i for b in batches for i, o in enumerate(originals) if torch.equal(b, o)]
    mirrored = [i for b in batches for i, o in enumerate(originals) if torch.equal(b, o.flip(-1))]
    assert len(set(plain + mirrored)) == 8
    assert plain
    assert mirrored
    assert not [b for b in epoch(photographs, flip=False) if not any(torch.equal(b, o) for o in originals)]


def test_a_short_epoch_sees_other_photographs_each_time(photographs: Photographs) -> None:
    config = LoaderConfig(batch_size=4, seed=7, flip=False, epoch_steps=1)
    assert config.steps(len(photographs)) == 1
    assert LoaderConfig(batch_size=4, seed=7, flip=False, epoch_steps=9).steps(len(photographs)) == 2
    epochs = [torch.cat(list(train_batches(photographs, config, number))) for number in range(1, 8)]
    assert {len(epoch) for epoch in epochs} == {4}
    assert len({photograph.numpy().tobytes() for epoch in epochs for photograph in epoch}) == len(photographs)


def test_a_crop_is_a_square_of_the_photograph_enlarged(tmp_path: Path) -> None:
    """Where red grows to the right and green downward, a crop shows which square it is: in its corners."""
    across, down = np.meshgrid(np.arange(64), np.arange(64))
    photograph = np.stack([across * 4, down * 4, np.full_like(across, 9)], -1).astype(np.uint8)
    writer = ShardWriter(tmp_path, "train")
    for _ in range(64):
        writer.add(photograph)
    writer.close()
    config = LoaderConfig(batch_size=64, seed=7, flip=False, crop=0.5)
    (batch,) = train_batches(Photographs(tmp_path, "train", 64), config, 1)
    red, green, blue = batch[:, :, 8:-8, 8:-8].float().unbind(1)  # the rim is reflected
    assert (blue == 9).all()
    sides = [(plane.amax((1, 2)) - plane.amin((1, 2))) / (4 * 47) for plane in (red, green)]
    torch.testing.assert_close(sides[0], sides[1], atol=0.03, rtol=0)
    assert 0.47 < sides[0].min() < 0.6
    assert 0.9 < sides[0].max() < 1.03
    assert red.mean((1, 2)).std() > 10  # here and there
    assert not torch.equal(red, green.transpose(1, 2))
    assert torch.equal(batch, next(iter(train_batches(Photographs(tmp_path, "train", 64), config, 1))))
    plain = LoaderConfig(batch_size=64, seed=7, flip=False)
    (whole,) = train_batches(Photographs(tmp_path, "train", 64), plain, 1)
    assert torch.equal(whole[0].permute(1, 2, 0), torch.from_numpy(photograph))


def test_plain_batches_keep_order_and_the_rest(photographs: Photographs) -> None:
    batches = list(plain_batches(photographs, batch_size=4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert np.array_equal(torch.cat(batches)[8].permute(1, 2, 0).numpy(), photographs[8])


def test_processes_share_plain_batches(photographs: Photographs) -> None:
    whole = list(plain_batches(photographs, batch_size=4))
    shared = [list(plain_batches(photographs, 4, rank, 2)) for rank in range(2)]
    assert [len(own) for own in shared] == [2, 1]
    for number, batch in enumerate(whole):
        assert torch.equal(shared[number % 2][number // 2], batch)
    assert not list(plain_batches(photographs, 4, 3, 4)), "more processes than batches"


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    """In a process of its own, whose limit is lowered to that of most systems divided by 16."""
    for number in range(100):
        np.save(tmp_path / f"train-{number:05d}.npy", np.full((1, 32, 32, 3), number, np.uint8))
    code = (
        "import resource, sys; from pathlib import Path; from pipeline.data.shards import Photographs\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))\n"
        "print(Photographs(Path(sys.argv[2]), 'train', 32)[99].mean())"
    )
    for hard, said in ((4096, "99.0"), (64, "this system lets too few files be open at once; see `ulimit -n`")):
        words = [sys.executable, "-c", code, str(hard), str(tmp_path)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        assert said in done.stdout + done.stderr
        assert "damaged" not in done.stderr


def test_another_process_is_sent_no_pixels(photographs: Photographs) -> None:
    sent = pickle.dumps(photographs)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    assert len(again) == 10
    assert np.array_equal(again[8], photographs[8])


@pytest.mark.usefixtures("photographs")
def test_missing_damaged_and_other_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="no shards valid"):
        Photographs(tmp_path, "valid", 32)
    with pytest.raises(SampleError, match=r"expected \(N, 64, 64, 3\) uint8, found \(7, 32, 32, 3\)"):
        Photographs(tmp_path, "train", 64)
    shard = tmp_path / "train-00001.npy"
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(SampleError, match=r"train-00001\.npy: damaged"):
        Photographs(tmp_path, "train", 32)
