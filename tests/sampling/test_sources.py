from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.sampling.bundled import bundled
from pipeline.sampling.candidates import SPLITS, Candidate, Candidates
from pipeline.sampling.folder import folder

LISTING = Path(__file__).parents[2] / "pipeline/sampling/bundled.csv"


def test_a_folder_is_listed_recursively_in_one_order(photo_folder: Path) -> None:
    (photo_folder / "notes.txt").write_text("no photograph", encoding="utf-8")
    names = [candidate.name for candidate in folder(photo_folder)]
    assert names == sorted(names)
    assert len(names) == 12
    assert "more/photo-00.png" in names


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
