from __future__ import annotations

import os
import sys
from itertools import combinations
from pathlib import Path

import pytest

from pipeline.errors import ParamsError, SourceError
from pipeline.params.schema import Params
from pipeline.sampling.bundled import bundled
from pipeline.sampling.candidates import SPLITS, Candidate, Candidates
from pipeline.sampling.folder import folder
from pipeline.sampling.sources import list_candidates

LISTING = Path(__file__).parents[2] / "pipeline/sampling/bundled.csv"


def test_a_folder_is_listed_recursively_in_one_order(photo_folder: Path) -> None:
    (photo_folder / "notes.txt").write_text("no photograph", encoding="utf-8")
    names = [candidate.name for candidate in folder(photo_folder)]
    assert names == sorted(names)
    assert len(names) == 12
    assert "more/photo-00.png" in names


def test_hidden_files_are_no_photographs(photo_folder: Path) -> None:
    """A Mac puts ._NAME beside each file, and viewers keep thumbnails."""
    (photo_folder / "._photo-00.png").write_bytes(b"Mac OS X")
    (photo_folder / ".thumbnails").mkdir()
    (photo_folder / ".thumbnails/photo-00.png").write_bytes((photo_folder / "more/photo-00.png").read_bytes())
    assert len(folder(photo_folder)) == 12


def test_links_to_folders_are_not_followed(photo_folder: Path) -> None:
    (photo_folder / "loop").symlink_to(photo_folder)
    assert len(folder(photo_folder)) == 12


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere: no such directory; set it to a directory of photographs"):
        folder(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no image files"):
        folder(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who can read every folder."""
    real = os.scandir

    def scandir(place: Path) -> os._ScandirIterator[str]:
        if place.name == "more":
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceError, match=r"folder .*/more cannot be read: Permission denied"):
        folder(photo_folder)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("Candidates(2, lambda n: (n, 'x'))", "candidate 0: must be a Candidate"),
        ("Candidates(2, lambda n: Candidate('x', Path('x')))", "candidate 1: name 'x' is that of another"),
        ("Candidates(2, lambda n: Candidate(str(n), 'x'))", r"candidate 0: file must be a pathlib\.Path, got 'x'"),
        ("Candidates(2, lambda n: Candidate(str(n), Path('x'), split='validation'))", "one of train, valid, test, got"),
        ("Candidates(2, lambda n: Candidate(str(n), Path('x'), group=5))", "without grouped=True"),
        (
            "Candidates(2, lambda n: Candidate(str(n), Path('x'), group=5, split=['train', 'test'][n]), grouped=True)",
            "candidate 1: group 5 is in train and in test",
        ),
        ("Candidates(2, lambda n: Candidate(str(n), Path('x')), weights=np.ones(3))", "one number above 0 for each"),
        ("Candidates(2, lambda n: Candidate(str(n), Path('x')), weights=np.array([1, 0]))", "of candidate 1 is 0"),
        ("Candidates(2, lambda n: Candidate(str(n), Path('x')), weights=['a', 'b'])", "one number above 0 for each"),
        ("Candidates(2, lambda n: Candidate(str(n), Path('x'), group=[1]), grouped=True)", "None or a whole number"),
        ("Candidates(2, lambda n: Candidate('\\ud800', Path('x')))", "a text that UTF-8 can hold"),
        ("Candidates(3, lambda n: Candidate(str(n), Path('x')), weights=[1, 2, 3])", ""),
        ("Candidates(0, lambda n: 1, weights=np.zeros(0))", ""),
    ],
)
def test_what_a_source_of_ones_own_gives_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params, made: str, said: str
) -> None:
    imports = "import numpy as np\nfrom pathlib import Path\nfrom pipeline.sampling.candidates import *\n"
    (tmp_path / "own_source.py").write_text(f"{imports}def mine(path, seed): return {made}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_source", raising=False)
    sample = params.sample.model_copy(update={"source": "own_source:mine"})
    if not said:
        found = list_candidates(sample, 0)
        assert found.weights is not None
        assert found.weights.tolist() == [1, 2, 3][: len(found)]
        return
    with pytest.raises(ParamsError, match=rf"sample\.source: own_source:mine: .*{said}"):
        list_candidates(sample, 0)


def pixels(candidate: Candidate) -> set[tuple[int, int]]:
    assert candidate.box
    left, top, right, bottom = candidate.box
    return {(x, y) for x in range(left, right, 4) for y in range(top, bottom, 4)}


def touched(found: Candidates, file: Path, split: str) -> set[tuple[int, int]]:
    own = [pixels(c) for c in found if c.file == file and c.split == split]
    return set().union(*own)


@pytest.mark.parametrize("seed", [0, 123])
def test_bundled_splits_of_a_photograph_share_no_region(seed: int) -> None:
    found = bundled(LISTING, seed)
    for file in {candidate.file for candidate in found}:
        regions = [touched(found, file, split) for split in SPLITS]
        assert all(regions)
        assert not any(one & other for one, other in combinations(regions, 2))


def test_bundled_regions_follow_the_seed() -> None:
    assert list(bundled(LISTING, 1)) == list(bundled(LISTING, 1))
    assert list(bundled(LISTING, 1)) != list(bundled(LISTING, 2))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name\nx\n", "expected a CSV with the columns package and file, and there is no package"),
        ("package,file\n", "lists no photographs"),
        ("package,file\nnot_a_package,a.png\n", "package 'not_a_package' is not installed"),
        ("package,file\nskimage,data/none.png\n", "has no file 'data/none.png'"),
    ],
)
def test_a_malformed_listing_is_named(tmp_path: Path, text: str, reason: str) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=reason):
        bundled(listing, 0)


def test_a_name_that_is_not_utf8_reaches_the_manifest_escaped(photo_folder: Path) -> None:
    os.rename(os.fsencode(photo_folder / "photo-01.png"), os.fsencode(photo_folder) + b"/\xff.png")
    names = [candidate.name for candidate in folder(photo_folder)]
    assert "\\xff.png" in names
    assert all(name.encode() for name in names)
