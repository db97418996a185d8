from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.shards import split_names
from pipeline.errors import SourceError
from pipeline.params.schema import Params
from pipeline.sampling.candidates import Candidate, Candidates
from pipeline.sampling.draw import draw
from pipeline.sampling.folder import folder
from pipeline.sampling.groups import Groups

SHOTS, FRAMES = 8, 6


@pytest.fixture
def film(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Eight shots of six frames, nearly the same within a shot: frames/shot-0/000.png, ..."""
    root = tmp_path / "frames"
    for shot in range(SHOTS):
        coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        still = np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
        (root / f"shot-{shot}").mkdir(parents=True)
        for frame in range(FRAMES):
            pixels = (still + rng.integers(-2, 3, still.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"shot-{shot}" / f"{frame:03d}.png")
    return root


def sample(params: Params, root: Path, out: Path, **keys: Any) -> dict[str, Any]:
    block = params.sample.model_copy(update={"source": "folder", "path": str(root), "max_rejected": 0.3, **keys})
    out.mkdir()
    return draw(folder(root), block, 32, 0, out)


def shots(out: Path, split: str) -> set[str]:
    return {Path(name).parent.name for name in split_names(out, split)}


def test_frames_of_a_film_are_refused_without_groups(params: Params, film: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nearly the same"):
        sample(params, film, tmp_path / "out", train=20, valid=8, test=8)


def test_each_folder_stays_on_one_side(params: Params, film: Path, tmp_path: Path) -> None:
    counts = sample(params, film, tmp_path / "out", train=20, valid=8, test=8, group="folder")
    assert counts["rejected"] == {}
    sides = [shots(tmp_path / "out", split) for split in ("train", "valid", "test")]
    assert [len(side) for side in sides] == [4, 2, 2]
    assert len(set.union(*sides)) == SHOTS


def test_consecutive_names_stay_on_one_side(params: Params, film: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(film.rglob("*.png"))):
        path.rename(flat / f"{number:04d}.png")
    counts = sample(params, flat, tmp_path / "out", train=20, valid=8, test=8, group=FRAMES)
    assert counts["rejected"] == {}
    runs = [
        {int(Path(name).stem) // FRAMES for name in split_names(tmp_path / "out", split)}
        for split in ("train", "valid", "test")
    ]
    assert sum(map(len, runs)) == len(set.union(*runs))


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    """As text, frame10 comes before frame9."""
    names = sorted(f"film/frame{number}.png" for number in range(1, 31))
    candidates = Candidates(len(names), lambda number: Candidate(names[number], tmp_path / names[number]))
    of = {one.name: one.group for one in Groups(10, candidates).together(np.arange(len(names)))}
    groups = [{of[f"film/frame{number}.png"] for number in range(first, first + 10)} for first in (1, 11, 21)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3


def test_more_training_photographs_leave_the_held_out_groups(params: Params, film: Path, tmp_path: Path) -> None:
    for name, train in (("few", 6), ("many", 20)):
        sample(params, film, tmp_path / name, train=train, valid=8, test=8, group="folder")
    for split in ("valid", "test"):
        assert split_names(tmp_path / "few", split) == split_names(tmp_path / "many", split)


def test_too_few_groups_are_named(params: Params, film: Path, tmp_path: Path) -> None:
    counted = r"sample\.train 30 \(there are 24\).*48 candidates in 8 groups, each in one"
    with pytest.raises(SourceError, match=rf"{counted}.*ask for fewer, or for smaller groups"):
        sample(params, film, tmp_path / "out", train=30, valid=8, test=8, group="folder")


def test_a_source_may_number_its_groups_as_it_likes(tmp_path: Path) -> None:
    given = [None, 20, -10, 20, None, -10]
    made = [Candidate(f"{number}.png", tmp_path, group=group) for number, group in enumerate(given)]
    groups = Groups("none", Candidates(len(made), made.__getitem__, grouped=True))
    assert len(groups) == 4
    together = [candidate.name for candidate in groups.together(np.arange(6))]
    assert together == ["0.png", "1.png", "3.png", "2.png", "5.png", "4.png"]


def test_a_sample_without_test_photographs(params: Params, film: Path, tmp_path: Path) -> None:
    counts = sample(params, film, tmp_path / "out", train=20, valid=8, test=0, group="folder")
    assert counts["test"] == 0
    assert not list((tmp_path / "out").glob("test-*"))
    with (tmp_path / "out/manifest.csv").open(encoding="utf-8") as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"train", "valid"}
