from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.format import open_memmap

from pipeline.params.schema import Params
from pipeline.sampling.arrays import lab_arrays, stl10
from pipeline.sampling.candidates import Candidates
from pipeline.sampling.draw import refuse_impossible
from pipeline.sampling.duplicates import DuplicateFinder, ImageHash
from pipeline.sampling.folder import folder
from pipeline.sampling.groups import Groups

COUNT = 4000
# A Candidate alone has over 100 bytes.
MOST_BYTES = 50 * COUNT


def a_folder(place: Path) -> Candidates:
    for number in range(COUNT):
        (place / f"{number:05d}.jpg").touch()
    return folder(place)


def in_stl10(place: Path) -> Candidates:
    np.memmap(place / "unlabeled_X.bin", np.uint8, "w+", shape=COUNT * 27_648).flush()
    return stl10(place)


def in_arrays(place: Path) -> Candidates:
    open_memmap(place / "gray_scale.npy", "w+", np.uint8, (COUNT, 8, 8)).flush()
    open_memmap(place / "ab1.npy", "w+", np.uint8, (COUNT, 8, 8, 2)).flush()
    return lab_arrays(place)


def held_bytes() -> int:
    """What is held since tracemalloc.start()."""
    snapshot = tracemalloc.take_snapshot()
    tracemalloc.stop()
    # pathlib lets Python remember names for as long as they are used, in a table that grows in steps.
    others = snapshot.filter_traces([tracemalloc.Filter(inclusive=False, filename_pattern="*pathlib*")])
    return sum(entry.size for entry in others.statistics("filename"))


@pytest.mark.parametrize("listed", [a_folder, in_stl10, in_arrays])
def test_a_long_list_takes_hardly_any_memory(
    params: Params, tmp_path: Path, listed: Callable[[Path], Candidates]
) -> None:
    few = params.sample.model_copy(update={"train": 1, "valid": 1, "test": 1})
    tracemalloc.start()
    candidates = listed(tmp_path)
    refuse_impossible(candidates, few)
    groups = Groups(10, candidates)
    assert len({candidate.group for candidate in groups.together(np.arange(COUNT))}) == COUNT / 10
    assert held_bytes() < MOST_BYTES
    assert len(candidates) == COUNT


def test_photographs_that_were_seen_take_hardly_any_memory() -> None:
    thumbnail = np.zeros((32, 32), np.uint8)
    hashes = [ImageHash(hashlib.sha256(b"%d" % n).digest(), n << 32, 2**64 - 1 - n, thumbnail) for n in range(COUNT)]
    finder = DuplicateFinder()
    tracemalloc.start()
    for number, hashed in enumerate(hashes):
        assert not finder.find_duplicate(f"photograph {number}", hashed, "test", near=True)
        finder.add(f"photograph {number}", hashed, "test")
    assert held_bytes() < MOST_BYTES
    again = ImageHash(hashes[7].exact, hashes[7].perceptual, hashes[7].mirrored, thumbnail)
    assert finder.find_duplicate("other", again, "train", near=True) == "same pixels as photograph 7"
    saved_again = ImageHash(b"others", hashes[7].perceptual, hashes[7].mirrored, thumbnail + np.uint8(3))
    assert finder.find_duplicate("other", saved_again, "test", near=True) == ""
    found = finder.find_duplicate(
        "another", ImageHash(b"", hashes[7].perceptual, hashes[7].mirrored, thumbnail), "train", near=True
    )
    assert found.startswith("nearly the same as photograph ")
