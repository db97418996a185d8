from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.params.schema import Params
from pipeline.sampling.arrays import lab_arrays, stl10
from pipeline.sampling.candidates import Candidate
from pipeline.sampling.sources import list_candidates
from tests.helpers import Array, save_photo, smooth_photos, write_lab_arrays, write_stl10


def read(candidate: Candidate) -> Array:
    return candidate.reader(candidate.file, 10**6, 0).pixels


def test_stl10_photographs_come_back(tmp_path: Path, rng: np.random.Generator) -> None:
    photographs = rng.integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    write_stl10(tmp_path / "unlabeled_X.bin", photographs)
    found = stl10(tmp_path)
    assert [candidate.name for candidate in found] == [f"unlabeled_X.bin#{i}" for i in range(3)]
    assert all(np.array_equal(read(c), p) for c, p in zip(found, photographs, strict=True))
    assert len(stl10(tmp_path / "unlabeled_X.bin")) == 3


def test_a_malformed_stl10_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no such file; set it to STL-10's unlabeled_X\.bin"):
        stl10(tmp_path)
    (tmp_path / "unlabeled_X.bin").write_bytes(b"x" * 27_649)
    with pytest.raises(SourceError, match=r"expected a multiple of 27,648 bytes .* found 27,649"):
        stl10(tmp_path)


def test_lab_arrays_decode_to_the_photographs(tmp_path: Path, rng: np.random.Generator) -> None:
    photographs = smooth_photos(rng, 12, 224)
    write_lab_arrays(tmp_path / "arrays", photographs, parts=11)
    found = lab_arrays(tmp_path / "arrays")
    # ab10 and ab11 follow ab9, not ab1.
    assert [candidate.name for candidate in found][-3:] == ["ab9.npy#0", "ab10.npy#0", "ab11.npy#0"]
    for candidate, photograph in zip(found, photographs, strict=True):
        # 8-bit L*a*b* is coarse: whole units of a and b.
        assert np.abs(read(candidate).astype(int) - photograph).mean() < 2


def test_malformed_lab_arrays_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = tmp_path / "arrays"
    with pytest.raises(SourceError, match=r"gray_scale\.npy: no such file; expected a \.npy array"):
        lab_arrays(folder)
    write_lab_arrays(folder, smooth_photos(rng, 3, 32), parts=1)
    (folder / "ab1.npy").rename(folder / "ab2.npy")
    with pytest.raises(SourceError, match=r"without a gap .* but no ab1\.npy"):
        lab_arrays(folder)
    np.save(folder / "ab1.npy", np.zeros((3, 32, 32), np.uint8))
    with pytest.raises(SourceError, match=r"ab1\.npy: expected uint8 with 4 dimensions, found uint8 of shape"):
        lab_arrays(folder)
    np.save(folder / "ab1.npy", np.zeros((3, 16, 16, 2), np.uint8))
    with pytest.raises(SourceError, match=r"expected \(N, 32, 32, 2\) uint8 as gray_scale\.npy has it"):
        lab_arrays(folder)
    shutil.copy(folder / "ab2.npy", folder / "ab1.npy")
    with pytest.raises(SourceError, match=r"expected at most as many ab \(6 found\) as gray images \(3\)"):
        lab_arrays(folder)
    np.save(folder / "ab1.npy", np.array([{"an": "object"}]), allow_pickle=True)
    with pytest.raises(SourceError, match=r"ab1\.npy: no \.npy array"):
        lab_arrays(folder)


def fastai_params(params: Params, dataset: str) -> Params:
    changes = {"source": "fastai", "dataset": dataset, "train": 5, "valid": 2, "test": 1}
    return params.model_copy(update={"sample": params.sample.model_copy(update=changes)})


def test_fastai_unpacks_an_archive_from_its_cache_and_draws_as_the_notebooks_do(
    params: Params, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "home"))
    photos = tmp_path / "mnist_var_size_tiny"
    photos.mkdir()
    for number in range(20):
        save_photo(photos / f"{number:03d}.jpg", rng)
    archive = tmp_path / "home/archive/mnist_var_size_tiny.tgz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as file:
        file.add(photos, photos.name)
    # fastai knows the checksum of the real archive: tell it this one's.
    monkeypatch.setattr("fastdownload.core.read_checks", lambda _: {})
    sample = fastai_params(params, "MNIST_VAR_SIZE_TINY").sample
    found = list_candidates(sample, seed=123)

    np.random.seed(123)
    names = [f"{number:03d}.jpg" for number in range(20)]
    subset = np.random.choice(names, 8, replace=False)
    order = np.random.permutation(8)
    assert [c.name for c in found if c.split == "train"] == subset[order[:5]].tolist()
    assert [c.name for c in found if c.split in ("valid", "test")] == subset[order[5:]].tolist()
    assert sum(c.split is None for c in found) == 12


def test_a_fastai_data_set_that_cannot_be_had_is_named(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path))
    monkeypatch.setattr("fastdownload.core.urlsave", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(SourceError, match=r"COCO_SAMPLE: neither found nor downloaded .*put coco_sample\.tgz into"):
        list_candidates(fastai_params(params, "COCO_SAMPLE").sample, 1)
    with pytest.raises(SourceError, match="'COCO_SAMPEL' is no fastai data set; similar names: COCO_SAMPLE"):
        list_candidates(fastai_params(params, "COCO_SAMPEL").sample, 1)
