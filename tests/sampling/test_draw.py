from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.data.shards import Photographs, split_names
from pipeline.errors import ParamsError, SourceError
from pipeline.params.schema import Params, parse
from pipeline.sampling.draw import draw, resize_to_square
from pipeline.sampling.folder import folder
from tests.helpers import save_photo


def sample(params: Params, root: Path, out: Path, seed: int = 0, **counts: Any) -> dict[str, Any]:
    block = params.sample.model_copy(update={"source": "folder", "path": str(root), **counts})
    out.mkdir()
    return draw(folder(root), block, 32, seed, out)


def manifest(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_counts_shards_and_manifest_agree(params: Params, photo_folder: Path, tmp_path: Path) -> None:
    counts = sample(params, photo_folder, tmp_path / "out", train=6, valid=2, test=3)
    assert counts == {"candidates": 12, "train": 6, "valid": 2, "test": 3, "rejected": {}}
    rows = manifest(tmp_path / "out")
    for split, wanted in (("train", 6), ("valid", 2), ("test", 3)):
        assert len(Photographs(tmp_path / "out", split, 32)) == wanted
        assert split_names(tmp_path / "out", split) == [row["path"] for row in rows if row["split"] == split]
    row = rows[0]
    assert (row["width"], row["height"]) == ("48", "40")
    assert row["sha256"] == hashlib.sha256((photo_folder / row["path"]).read_bytes()).hexdigest()


def test_shards_hold_the_resized_photographs_in_manifest_order(
    params: Params, photo_folder: Path, tmp_path: Path
) -> None:
    sample(params, photo_folder, tmp_path / "out", train=6, valid=2, test=3, fit="stretch")
    train = Photographs(tmp_path / "out", "train", 32)
    for index, name in enumerate(split_names(tmp_path / "out", "train")):
        expected = Image.open(photo_folder / name).resize((32, 32), Image.Resampling.BICUBIC)
        assert np.array_equal(train[index], np.asarray(expected))


def test_same_seed_same_bytes_other_seed_other_sample(params: Params, photo_folder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        sample(params, photo_folder, tmp_path / name, seed, train=6, valid=2, test=3)
    content = {
        name: {file.name: file.read_bytes() for file in sorted((tmp_path / name).iterdir())} for name in ("a", "b", "c")
    }
    assert content["a"] == content["b"] != content["c"]


def test_more_training_photographs_leave_the_held_out_ones(params: Params, photo_folder: Path, tmp_path: Path) -> None:
    sample(params, photo_folder, tmp_path / "few", train=4, valid=2, test=2)
    sample(params, photo_folder, tmp_path / "many", train=8, valid=2, test=2)
    for split in ("valid", "test"):
        assert split_names(tmp_path / "few", split) == split_names(tmp_path / "many", split)


def test_gray_damaged_and_repeated_photographs_are_rejected_with_reasons(
    params: Params, photo_folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40), (90, 90, 90)).save(photo_folder / "gray.png")
    (photo_folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    Image.open(photo_folder / "photo-01.png").save(photo_folder / "copy.bmp")
    counts = sample(params, photo_folder, tmp_path / "out", train=8, valid=2, test=2)
    reasons = {row["path"]: row["reason"] for row in manifest(tmp_path / "out") if row["reason"]}
    assert reasons["gray.png"].startswith("hardly any color")
    assert reasons["broken.jpg"].startswith("unreadable")
    (repeated,) = set(reasons) - {"gray.png", "broken.jpg"}
    assert {repeated, reasons[repeated]} <= {
        *("copy.bmp", "photo-01.png"),
        *("same pixels as copy.bmp", "same pixels as photo-01.png"),
    }
    assert counts["rejected"] == {"hardly any color": 1, "unreadable": 1, "same pixels": 1}


@pytest.mark.parametrize("change", ["quality", "half", "gray", "mirrored"])
def test_nearly_the_same_photograph_is_never_on_both_sides(params: Params, tmp_path: Path, change: str) -> None:
    """Each of ten photographs twice, once saved again: both may be trained on, but not one trained and one tested."""
    root, rng = tmp_path / "photos", np.random.default_rng(3)
    root.mkdir()
    for number in range(10):
        save_photo(root / f"{number}.png", rng, (160, 120))
        with Image.open(root / f"{number}.png") as image:
            if change == "half":
                image.resize((80, 60)).save(root / f"{number}-again.png")
            elif change == "mirrored":
                ImageOps.mirror(image).save(root / f"{number}-again.jpg")
            elif change == "gray":
                image.convert("L").convert("RGB").save(root / f"{number}-again.png")
            else:
                image.save(root / f"{number}-again.jpg", quality=20)
    sample(params, root, tmp_path / "out", train=6, valid=2, test=2, min_chroma=0.0)
    split_of: dict[str, set[str]] = {}
    for split in ("train", "valid", "test"):
        for name in split_names(tmp_path / "out", split):
            split_of.setdefault(name[0], set()).add(split)
    assert all(len(splits) == 1 for splits in split_of.values())
    reasons = [row["reason"] for row in manifest(tmp_path / "out") if row["reason"]]
    assert reasons
    assert all(reason.startswith("nearly the same as ") for reason in reasons)


def test_too_large_a_share_rejected_fails(params: Params, photo_folder: Path, tmp_path: Path) -> None:
    for number in range(40):
        (photo_folder / f"broken-{number}.jpg").write_bytes(b"<html>")
    with pytest.raises(SourceError, match=r"photographs of .* were rejected .*more than sample\.max_rejected"):
        sample(params, photo_folder, tmp_path / "out", train=8, valid=2, test=2)
    sample(params, photo_folder, tmp_path / "again", train=8, valid=2, test=2, max_rejected=0.9)


def test_links_that_leave_the_folder_are_rejected(params: Params, photo_folder: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "secret.png", np.random.default_rng(9))
    (photo_folder / "link.png").symlink_to(tmp_path / "secret.png")
    (photo_folder / "own.png").symlink_to(photo_folder / "photo-01.png")
    (photo_folder / "dangling.png").symlink_to(photo_folder / "nothing.png")
    counts = sample(params, photo_folder, tmp_path / "out", train=8, valid=2, test=2)
    reasons = {row["path"]: row["reason"] for row in manifest(tmp_path / "out") if row["reason"]}
    assert reasons["link.png"] == "a link to outside of sample.path"
    assert reasons["dangling.png"].startswith("unreadable")
    assert counts["rejected"] == {"a link to outside of sample.path": 1, "unreadable": 1, "same pixels": 1}


def test_odd_names_pipes_and_devices_are_no_obstacle(params: Params, photo_folder: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(photo_folder) + b"/caf\xe9.png"))
    save_photo(odd, np.random.default_rng(9))
    os.mkfifo(photo_folder / "pipe.png")
    (photo_folder / "zero.png").symlink_to("/dev/zero")
    (photo_folder / "up.png").symlink_to(photo_folder / ".." / "elsewhere.png")
    (photo_folder / "circle.png").symlink_to("circle.png")
    save_photo(photo_folder / "return\r.png", np.random.default_rng(10))
    save_photo(photo_folder / "line\n.png", np.random.default_rng(11))
    sample(params, photo_folder, tmp_path / "out", train=11, valid=2, test=2)
    rows = {row["path"]: row["reason"] for row in manifest(tmp_path / "out")}
    assert rows["caf\\xe9.png"] == rows["return\\r.png"] == rows["line\n.png"] == ""
    assert rows["circle.png"].startswith("unreadable")
    assert rows["pipe.png"] == "not a regular file"
    assert rows["zero.png"] == rows["up.png"] == "a link to outside of sample.path"


def test_asking_for_too_many_says_how_many_there_are(params: Params, photo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"sample\.train 13 \(there are 12\)"):
        sample(params, photo_folder, tmp_path / "a", train=13, valid=1, test=1)
    for number in range(3):
        Image.new("RGB", (40, 40), (number, number, number)).save(photo_folder / f"gray-{number}.png")
    with pytest.raises(SourceError, match="12 usable: 15 candidates, 3 hardly any color"):
        sample(params, photo_folder, tmp_path / "b", train=11, valid=2, test=2)
    assert len([row for row in manifest(tmp_path / "b") if row["reason"]]) == 3


def test_each_file_is_decoded_once(params: Params, tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "one"
    root.mkdir()
    for number in range(3):
        save_photo(root / f"{number}.png", rng)
    sample(params, root, tmp_path / "out", train=1, valid=1, test=1)
    assert sorted(row["path"] for row in manifest(tmp_path / "out")) == ["0.png", "1.png", "2.png"]


def test_crop_keeps_proportions_and_stretch_keeps_all() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    wide = Image.fromarray(pixels)
    assert (resize_to_square(wide, 10, "crop") == 200).all()
    stretched = resize_to_square(wide, 10, "stretch")
    assert stretched[5, 0].max() < 20
    assert stretched[5, 5].min() > 180


def test_patterns_say_which_files_of_a_folder_are_candidates(photo_folder: Path, params: Params) -> None:
    names = {candidate.name for candidate in folder(photo_folder)}
    assert {one.name for one in folder(photo_folder, ["more/*"])} == {n for n in names if n.startswith("more/")}
    assert {one.name for one in folder(photo_folder, (), ["*-0?.png"])} == {"photo-10.png", "photo-11.png"}
    assert [one.name for one in folder(photo_folder, ["*1.PNG"], ["MORE/*"])] == ["photo-01.png", "photo-11.png"]
    with pytest.raises(SourceError, match=r"below it that sample\.include and sample\.exclude leave"):
        folder(photo_folder, ["*.jpg"])
    tree = params.model_dump(mode="json")
    tree["sample"] |= {"source": "files", "exclude": ["*-mask.png"]}
    with pytest.raises(ParamsError, match=r"sample\.exclude must be \[\] for sample\.source files; only a folder is"):
        parse(tree)


def test_photographs_that_are_too_small_are_counted(
    params: Params, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are 40 to 48 pixels, and a training on blur would say nothing of it."""
    counts = {"train": 4, "valid": 2, "test": 2}
    block = params.sample.model_copy(update={"source": "folder", "path": str(photo_folder), **counts})
    for size, enlarged in ((32, 0), (64, 8)):
        out = tmp_path / str(size)
        out.mkdir()
        assert draw(folder(photo_folder), block, size, 1, out).get("enlarged", 0) == enlarged
        said = capsys.readouterr().out
        assert ("8 of 8 photographs are smaller than 64 px, and were enlarged" in said) == bool(enlarged)
