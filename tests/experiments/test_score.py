"""`twotone score` against arithmetic done by hand and by scikit-image."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from pipeline.media.pictures import read_picture
from pipeline.media.provenance import Origin
from tests.helpers import save_photo, twotone, write_picture


@pytest.fixture
def true(tmp_path: Path) -> Path:
    """Six photographs in two folders."""
    rng = np.random.default_rng(5)
    for number in range(6):
        (tmp_path / "true" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        save_photo(tmp_path / "true" / "ab"[number % 2] / f"{number}.png", rng, (64, 48))
    return tmp_path / "true"


def copies(true: Path, out: Path, saturation: float, suffix: str = ".png", size: tuple[int, int] | None = None) -> None:
    """What a colorizer made that is right but for the saturation."""
    for file in sorted(true.rglob("*.png")):
        image = Image.open(file).convert("RGB")
        gray = image.convert("L").convert("RGB")
        target = (out / file.relative_to(true)).with_name(file.stem + suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        mixed = Image.blend(gray, image, saturation)
        (mixed.resize(size) if size else mixed).save(target)


def scored(tmp_path: Path, *words: str) -> dict[str, dict[str, float]]:
    done = twotone(tmp_path, "score", "--true", "true", *words, "--no-classifier")
    assert done.returncode == 0, done.stderr
    means: dict[str, dict[str, float]] = json.loads((tmp_path / "score/metrics.json").read_text(encoding="utf-8"))
    return means


def test_a_folder_is_scored_as_by_hand(true: Path, tmp_path: Path) -> None:
    copies(true, tmp_path / "half", 0.5)
    copies(true, tmp_path / "same", 1.0, "-color.png")
    means = scored(tmp_path, "--colored", "half", "--colored", "same")
    assert set(means) == {"gray", "constant", "lightness_table", "half", "same"}
    assert means["same"]["ab_mae"] == 0
    assert means["same"]["psnr_rgb"] == 100
    labs = [
        [
            rgb2lab(np.asarray(Image.open(folder / file.relative_to(true)).convert("RGB")))
            for folder in (true, tmp_path / "half")
        ]
        for file in sorted(true.rglob("*.png"))
    ]
    assert means["half"]["ab_mae"] == pytest.approx(np.mean([np.abs(a - b)[..., 1:].mean() for a, b in labs]), abs=0.02)
    assert means["half"]["ciede2000"] == pytest.approx(
        np.mean([deltaE_ciede2000(a, b).mean() for a, b in labs]), abs=0.02
    )
    with (tmp_path / "score/per_image.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 5
    assert sorted({row["path"] for row in rows}) == ["a/0", "a/2", "a/4", "b/1", "b/3", "b/5"]
    compared = json.loads((tmp_path / "score/comparisons.json").read_text(encoding="utf-8"))
    assert set(compared) == {"same - half", "half - lightness_table", "same - lightness_table"}
    assert compared["same - half"]["ab_mae"]["change"] == pytest.approx(-means["half"]["ab_mae"], abs=1e-4)
    with Image.open(tmp_path / "score/extremes.png") as picture:
        assert picture.height >= 6 * 128
    assert json.loads((tmp_path / "score/protocol.json").read_text(encoding="utf-8"))["photographs"]["count"] == 6


def test_copies_of_another_size_are_resized_to_the_photograph(true: Path, tmp_path: Path) -> None:
    copies(true, tmp_path / "large", 1.0, ".jpg", (128, 96))
    assert 0 < scored(tmp_path, "--colored", "large")["large"]["ab_mae"] < 6


def test_a_perfect_copy_of_a_large_photograph_has_no_error(tmp_path: Path) -> None:
    """Both are reduced, and by the same filter."""
    rng = np.random.default_rng(1)
    for folder in ("true", "same"):
        (tmp_path / folder).mkdir()
    for name in ("one.png", "two.png"):
        noise = Image.fromarray(rng.integers(0, 256, (600, 800, 3), dtype=np.uint8))
        noise.save(tmp_path / "true" / name)
        noise.save(tmp_path / "same" / name)
    means = scored(tmp_path, "--colored", "same", "--size", "64")
    assert means["same"]["ab_mae"] == 0
    assert means["same"]["psnr_rgb"] == 100


def test_a_model_is_scored_and_a_result_replaced_by_a_result_alone(true: Path, tmp_path: Path) -> None:
    means = scored(tmp_path, "--model", "starter")
    assert 0 < means["starter"]["ab_mae"] < 60
    first = (tmp_path / "score/metrics.json").read_bytes()
    scored(tmp_path, "--model", "starter")
    assert (tmp_path / "score/metrics.json").read_bytes() == first
    # With what lies in the folder itself, the place of results by default.
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/0.png").write_bytes((tmp_path / "true/a/0.png").read_bytes())
    done = twotone(tmp_path, "score", "--true", ".", "--model", "starter", "--no-classifier")
    assert "6 photographs, 0 left out" in done.stdout
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    done = twotone(tmp_path, "score", "--true", "true", "--model", "starter", "-o", "mine", "--no-classifier")
    assert done.returncode == 2
    assert "--out mine: exists, and is no result of `twotone score`" in done.stderr
    assert (tmp_path / "mine/thesis.txt").read_text() == "years"
    # Beside a result, too; and what is to be scored is not replaced by its scores.
    copies(true, tmp_path / "score/next", 0.5)
    words = ("score", "--true", "true", "--colored", "score/next", "--no-classifier")
    done = twotone(tmp_path, *words)
    assert done.returncode == 2
    assert "--out score: is replaced as a whole, and holds next beside an earlier result" in done.stderr
    assert (tmp_path / "score/next/a/0.png").exists()
    # What a desktop puts there is nobody's.
    shutil.move(tmp_path / "score/next", tmp_path / "next")
    (tmp_path / "score/.DS_Store").write_bytes(b"")
    assert twotone(tmp_path, "score", "--true", "true", "--colored", "next", "--no-classifier").returncode == 0


def test_what_cannot_be_compared_is_left_out_with_its_reason(true: Path, tmp_path: Path) -> None:
    copies(true, tmp_path / "half", 0.5)
    (tmp_path / "half/a/0.png").unlink()
    (tmp_path / "half/a/2.png").write_bytes(b"no picture")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "half/b/1.png")
    done = twotone(tmp_path, "score", "--true", "true", "--colored", "half", "--no-classifier")
    assert done.returncode == 0, done.stderr
    for reason in ("a/0: half has no copy of it", "a/2: half/a/2.png: unreadable", "b/1: half/b/1.png: 64x64 pixels"):
        assert f"left out: {reason}" in done.stdout
    assert "3 photographs, 3 left out" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to score; name folders of colored copies with --colored, or models with --model"),
        (("--colored", "nowhere"), "nowhere: no such folder"),
        (("--colored", "empty"), "true: 0 photographs can be compared, and 2 are the least"),
        (("--colored", "half", "--colored", "half"), "half is named twice"),
        (("--colored", "twice"), "has the same name"),
        (("--colored", "half", "-o", "."), "--out .: the folder is written as a whole"),
    ],
)
def test_what_cannot_be_scored_is_refused(true: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "empty").mkdir()
    copies(true, tmp_path / "half", 0.5)
    copies(true, tmp_path / "twice", 0.5)
    copies(true, tmp_path / "twice", 0.5, ".jpg")
    done = twotone(tmp_path, "score", "--true", "true", *words, "--no-classifier")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "score").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf_8_is_written_all_the_same(true: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    (true / "a/0.png").rename(true / "a" / odd)
    copies(true, tmp_path / "half", 0.5)
    scored(tmp_path, "--colored", "half")
    assert "caf\\udce9" in "".join(file.read_text("utf-8") for file in (tmp_path / "score").rglob("*.csv"))


def test_copies_beside_their_photographs_are_no_photographs(true: Path, tmp_path: Path) -> None:
    copies(true, tmp_path / "half", 0.5)
    for file in sorted((tmp_path / "half").rglob("*.png")):
        beside = true / file.relative_to(tmp_path / "half")
        beside.with_name(f"{file.stem}-color.png").write_bytes(file.read_bytes())
    assert scored(tmp_path, "--colored", "true")["true"] == scored(tmp_path, "--colored", "half")["half"]
    copies(true, tmp_path / "gray", 0.5)
    done = twotone(tmp_path, "score", "--true", "true", "--colored", "gray", "--no-classifier")
    assert "gray is what a baseline is called" in done.stderr
    (tmp_path / "score/protocol.json").write_text("{}", encoding="utf-8")
    done = twotone(tmp_path, "score", "--true", "true", "--colored", "half", "--no-classifier")
    assert "is no result of `twotone score`" in done.stderr


def test_a_photograph_may_be_called_color(true: Path, tmp_path: Path) -> None:
    (true / "b/1.png").rename(true / "a/0-color.png")
    copies(true, tmp_path / "half", 0.5)
    copies(true, tmp_path / "gray", 0.0)
    # The copy of 0-color is gray. Of 2 there is the gray photograph, too, beside its copy 2-color.
    for name in ("a/0-color.png", "a/2.png"):
        (tmp_path / "half" / name).rename(tmp_path / "half/a/2-color.png")
        (tmp_path / "half" / name).write_bytes((tmp_path / "gray" / name).read_bytes())
    done = twotone(tmp_path, "score", "--true", "true", "--colored", "half", "--no-classifier")
    assert "6 photographs, 0 left out" in done.stdout
    assert "6 photographs are too few for any verdict" in done.stdout
    with (tmp_path / "score/per_image.csv").open(encoding="utf-8") as file:
        found = {row["path"]: row["near_gray"] for row in csv.DictReader(file) if row["colorizer"] == "half"}
    assert [name for name, share in found.items() if float(share) == 1] == ["a/0-color"]
    assert sorted(found) == ["a/0", "a/0-color", "a/2", "a/4", "b/3", "b/5"]


def test_what_is_named_as_a_copy_and_says_nothing_is_named(true: Path, tmp_path: Path) -> None:
    for file in sorted(true.rglob("*.png")):
        picture = read_picture(file, 10**6)
        write_picture(file.with_name(f"{file.stem}-color.bmp"), picture.pixels, picture, "BMP", Origin("", "", ""))
    Image.open(true / "a/0.png").convert("L").save(true / "a/2-color-color.png")
    copies(true, tmp_path / "half", 0.5)
    done = twotone(tmp_path, "score", "--true", "true", "--colored", "half", "--no-classifier")
    assert "note: a/2-color-color is taken for a photograph, since nothing but its name says" in done.stdout
    assert "7 photographs, 0 left out" in done.stdout


def test_a_folder_of_originals_is_no_folder_of_copies(true: Path, tmp_path: Path) -> None:
    done = twotone(tmp_path, "score", "--true", "true", "--colored", "true", "--no-classifier", "-o", "deep/er/score")
    assert "is the photograph itself, and no copy of it" in done.stdout
    assert done.returncode == 2
    copies(true, tmp_path / "half", 0.5)
    words = ("--true", "true", "--colored", "half", "--no-classifier", "-o", "deep/er/score")
    assert twotone(tmp_path, "score", *words).returncode == 0
    assert (tmp_path / "deep/er/score/metrics.json").exists()
