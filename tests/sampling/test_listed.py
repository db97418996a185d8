from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.shards import split_names
from pipeline.errors import SourceError
from pipeline.params.schema import Params
from pipeline.sampling.candidates import Candidates
from pipeline.sampling.draw import _passes, draw
from pipeline.sampling.groups import Groups
from pipeline.sampling.listed import listed
from tests.helpers import save_photo


@pytest.fixture
def box(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Twenty photographs in a folder beside the lists."""
    (tmp_path / "box").mkdir()
    for number in range(20):
        save_photo(tmp_path / f"box/{number:02d}.png", rng)
    return tmp_path


def write(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_splits_and_groups_of_a_list_hold(box: Path, params: Params) -> None:
    """Three photographs are test, and the groups of four are each on one side."""
    rows = [{"path": f"box/{n:02d}.png", "split": "test" if n < 3 else "", "group": "" if n < 3 else f"g{n // 4}"}
            for n in range(20)]  # fmt: skip
    listing = write(box / "list.csv", rows)
    sample = params.sample.model_copy(
        update={"source": "files", "path": str(listing), "train": 8, "valid": 4, "test": 3, "max_rejected": 1.0}
    )
    (box / "out").mkdir()
    counts = draw(listed(listing), sample, 32, 0, box / "out")
    assert (counts["train"], counts["valid"], counts["test"]) == (8, 4, 3)
    assert set(split_names(box / "out", "test")) == {"box/00.png", "box/01.png", "box/02.png"}
    sides: dict[int, set[str]] = {}
    for split in ("train", "valid"):
        for name in split_names(box / "out", split):
            sides.setdefault(int(Path(name).stem) // 4, set()).add(split)
    assert all(len(side) == 1 for side in sides.values())


def test_a_text_file_and_tabs_are_lists_too(box: Path) -> None:
    (box / "list.txt").write_text("box/03.png\n\nbox/01.png\n", encoding="utf-8")
    assert [candidate.name for candidate in listed(box / "list.txt")] == ["box/03.png", "box/01.png"]
    tabs = write(box / "list.tsv", [{"path": "box/02.png", "split": "valid"}], "\t")
    (one,) = listed(tabs)
    assert (one.file, one.split, one.group) == (box / "box/02.png", "valid", None)


def test_a_heavier_photograph_is_drawn_first_more_often(box: Path) -> None:
    """Of two of weights 3 and 1, the first comes first in three of four draws (Efraimidis and Spirakis 2006)."""
    rows = [{"path": f"box/{n:02d}.png", "weight": "3" if n < 10 else "", "caption": "a, b"} for n in range(20)]
    candidates = listed(write(box / "list.csv", rows))
    assert candidates.weights is not None
    assert candidates.weights.tolist() == [3] * 10 + [1] * 10
    pair = Candidates(2, candidates.__getitem__, weights=np.array([3.0, 1.0]))
    first = [_passes(pair, seed)[-1][0][0] for seed in range(2000)]
    # Two thousand draws have a standard deviation of a hundredth.
    assert np.mean(np.array(first) == 0) == pytest.approx(0.75, abs=0.04)
    # With stated splits, too, of which none needs to be drawn alike.
    both = [row | {"split": "train" if n % 2 else "test"} for n, row in enumerate(rows)]
    stated = listed(write(box / "stated.csv", both))
    orders = [[n for n in _passes(stated, seed)[0][0] if n % 2] for seed in range(400)]
    assert np.mean([order[0] < 10 for order in orders]) == pytest.approx(0.75, abs=0.09)
    plain = write(box / "plain.csv", [{"path": row["path"]} for row in rows])
    assert listed(plain).weights is None


@pytest.mark.parametrize("stated", [0, 30])
def test_weights_count_for_training_alone(tmp_path: Path, params: Params, stated: int) -> None:
    """Also where rejected photographs are replaced, and where the list states more of a split than is asked for."""
    rng, rows = np.random.default_rng(8), []
    for number in range(240):
        name, heavy = f"{number:03d}.png", number % 8 == 0
        pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        gray = number % 5 < 2
        image = Image.fromarray(pixels).convert("L").convert("RGB") if gray else Image.fromarray(pixels)
        image.resize((32, 32), Image.Resampling.NEAREST).save(tmp_path / name)
        split = "valid" if number < stated else ""
        rows.append({"path": name, "weight": "1000" if heavy else "", "split": split})
    listing = write(tmp_path / "list.csv", rows)
    sample = params.sample.model_copy(
        update={"source": "files", "path": str(listing), "train": 8, "valid": 10, "test": 36, "max_rejected": 1.0}
    )
    shares: dict[str, list[bool]] = {"train": [], "test": []}
    for seed in range(4):
        out = tmp_path / f"out{seed}"
        out.mkdir()
        counts = draw(listed(listing), sample, 32, seed, out)
        assert (counts["train"], counts["valid"], counts["test"]) == (8, 10, 36)
        for split, heavy_ones in shares.items():
            heavy_ones += [int(Path(name).stem) % 8 == 0 for name in split_names(out, split)]
    # Of all, an eighth is heavy: 144 draws have a standard deviation of 0.025.
    assert np.mean(shares["test"]) == pytest.approx(0.125, abs=0.08)
    assert np.mean(shares["train"]) > 0.8


def test_neighbors_by_name_are_a_group_in_a_list_of_any_order(box: Path) -> None:
    order = np.random.default_rng(3).permutation(20)
    candidates = listed(write(box / "list.csv", [{"path": f"box/{n:02d}.png"} for n in order]))
    sides = Groups(4, candidates).together(np.arange(20))
    found = {candidate.name: candidate.group for candidate in sides}
    together = [{found[f"box/{n:02d}.png"] for n in range(start, start + 4)} for start in range(0, 20, 4)]
    assert all(len(group) == 1 for group in together)
    assert len(set.union(*together)) == 5


def test_splits_that_tear_a_folder_apart_are_refused(box: Path) -> None:
    rows = [{"path": "box/00.png", "split": "train"}, {"path": "box/01.png", "split": "test"}]
    with pytest.raises(SourceError, match=r"box/01\.png is stated to be in test, and another .* of its group in train"):
        Groups("folder", listed(write(box / "list.csv", rows)))


def test_a_photograph_that_is_not_there_is_rejected_with_its_reason(box: Path, params: Params) -> None:
    (box / "list.txt").write_text("".join(f"box/{n:02d}.png\n" for n in range(21)), encoding="utf-8")
    sample = params.sample.model_copy(
        update={"source": "files", "path": str(box / "list.txt"), "train": 17, "valid": 2, "test": 2}
    )
    (box / "out").mkdir()
    with pytest.raises(SourceError, match=r"has 20 usable: 21 candidates, 1 unreadable"):
        draw(listed(box / "list.txt"), sample, 32, 0, box / "out")
    with (box / "out/manifest.csv").open(encoding="utf-8") as file:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons["box/20.png"] == "unreadable: No such file or directory"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.csv", None, "no such file; expected a CSV with the column path"),
        ("empty.csv", "path\n", "lists no photographs"),
        ("names.csv", "file,split\na.png,train\n", "found the columns file, split"),
        ("more.csv", "path,grup\na.png,a cat\n", "found the columns path, grup"),
        ("cut.csv", "path\nDSC1, final.png\n", "line 2: has more fields than the first line"),
        ("zero.csv", "path,weight\na.png,0\n", "line 2: weight must be a number above 0, got '0'"),
        ("word.csv", "path,weight\na.png,often\n", "weight must be a number above 0, got 'often'"),
        (
            "split.csv",
            "path,split\na.png,training\n",
            "split must be one of train, valid, test, got 'training'",
        ),
        ("twice.txt", "a.png\na.png\n", "line 2: a.png is listed twice"),
        ("latin.txt", "caf\xe9.png\n".encode("latin-1"), "is no text in UTF-8"),
        ("sides.csv", "path,split,group\na.png,train,g\nb.png,test,g\n", "g is stated to be in train and in test"),
        ("hole.csv", "path,split\n,train\n", "line 2: path is empty"),
        ("open.tsv", 'path\tcaption\na.png\t"a boat\nb.png\t\n', "line 2: a field cannot be read to its end"),
        ("after.tsv", 'path\tcaption\na.png\t"a boat\nb.png\t"a sea"\n', "line 2: a field cannot be read to its"),
        ("lines.csv", 'path,caption\na.png,"a boat\nb.png,on a ""sea"\n', "line 3: a field goes over several lines"),
    ],
)
def test_a_list_that_means_nothing_is_refused(
    tmp_path: Path, name: str, content: str | bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceError, match=said):
        listed(tmp_path / name)
