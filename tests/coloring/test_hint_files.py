"""Hints as files: beside photographs, named, or painted; what the copies say, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from pipeline.coloring.hint_files import belongs_to_another, hints_beside, read_hints, write_hints
from pipeline.errors import HintError
from pipeline.inference.hints import Hint, color_of
from tests.helpers import twotone

HINTS = {"hints": [{"x": "25%", "y": "50%", "color": "#c05050", "radius": "10%"}]}


def gray_photo(path: Path) -> Path:
    gray = np.full((60, 80), 90, np.uint8)
    gray[:, 40:] = 170
    Image.fromarray(gray).save(path)
    return path


def said_there(path: Path) -> bool:
    with Image.open(path) as image:
        found = rgb2lab(np.asarray(image.convert("RGB")))[30, 20, 1:]
    return bool(np.abs(found - color_of("#c05050")).max() < 3)


def test_hints_beside_a_photograph_are_found_and_said(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("street.png", "other.png"):
        gray_photo(photos / name)
    (photos / "street.hints.json").write_text(json.dumps(HINTS), encoding="utf-8")
    done = twotone(tmp_path, "colorize", str(photos), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "street.png: 80x60" in done.stdout
    assert "; 1 hint of street.hints.json" in done.stdout
    assert "1 files of hints" in done.stdout
    assert said_there(tmp_path / "out/street.png")
    assert not said_there(tmp_path / "out/other.png")
    assert b", 1 hint" in (tmp_path / "out/street.png").read_bytes()
    assert b", 1 hint" not in (tmp_path / "out/other.png").read_bytes()
    without = twotone(tmp_path, "colorize", str(photos), "-o", str(tmp_path / "plain"), "--no-hints")
    assert without.returncode == 0
    assert not said_there(tmp_path / "plain/street.png")


def test_a_painted_copy_is_hints_and_no_photograph(tmp_path: Path) -> None:
    photo = gray_photo(tmp_path / "street.png")
    with Image.open(photo) as image:
        painted = image.convert("RGB")
    painted.paste((192, 80, 80), (14, 24, 27, 37))
    painted.save(tmp_path / "street.hints.png")
    # As a shell writes *.png.
    done = twotone(tmp_path, "colorize", str(photo), str(tmp_path / "street.hints.png"), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "painted hints of street.hints.png" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["street.png"]
    assert said_there(tmp_path / "out/street.png")


@pytest.mark.parametrize("ending", ["jpg", "PNG", "webp"])
def test_paint_programs_save_in_other_formats(tmp_path: Path, ending: str) -> None:
    photo = gray_photo(tmp_path / "street.png")
    with Image.open(photo) as image:
        painted = image.convert("RGB")
    painted.paste((192, 80, 80), (10, 20, 30, 40))
    painted.save(tmp_path / f"street.hints.{ending}")
    done = twotone(tmp_path, "colorize", str(tmp_path), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert f"painted hints of street.hints.{ending}" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["street.png"]


@pytest.mark.slow
def test_a_copy_that_is_older_than_its_hints_is_named(tmp_path: Path) -> None:
    photo = gray_photo(tmp_path / "street.png")
    assert twotone(tmp_path, "colorize", str(photo)).returncode == 0
    hints = tmp_path / "street.hints.json"
    hints.write_text(json.dumps(HINTS), encoding="utf-8")
    later = (tmp_path / "street-color.png").stat().st_mtime + 10
    os.utime(hints, (later, later))
    kept = twotone(tmp_path, "colorize", str(photo))
    assert "street-color.png (older than street.hints.json)" in kept.stdout
    assert twotone(tmp_path, "colorize", str(photo), "--overwrite").returncode == 0
    assert said_there(tmp_path / "street-color.png")


def test_hints_can_be_named_for_one_photograph(tmp_path: Path) -> None:
    photo = gray_photo(tmp_path / "street.png")
    (tmp_path / "mine.json").write_text(json.dumps(HINTS["hints"]), encoding="utf-8")
    named = ["--hints", str(tmp_path / "mine.json")]
    done = twotone(tmp_path, "colorize", str(photo), *named, "-o", str(tmp_path / "out.png"))
    assert done.returncode == 0, done.stderr
    assert said_there(tmp_path / "out.png")
    gray_photo(tmp_path / "other.png")
    refused = twotone(tmp_path, "colorize", str(tmp_path / "*.png"), *named)
    assert refused.returncode == 2
    assert "has the hints of one photograph, and there are" in refused.stderr
    refused = twotone(tmp_path, "colorize", str(photo), *named, "--shard", "2/2")
    assert refused.returncode == 2
    assert "--shard shares out many" in refused.stderr


def test_positions_may_be_of_a_photograph_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "a.hints.json"
    path.write_text(
        json.dumps({"width": 800, "height": 600, "hints": [{"x": 200, "y": 300, "color": "red"}]}), encoding="utf-8"
    )
    assert read_hints(path) == (Hint("25.0%", "50.0%", "red", size=(800, 600)),)
    one = {"x": "200", "y": "50%", "color": "red", "radius": 30}
    path.write_text(json.dumps({"width": 400, "height": 300, "hints": [one]}), encoding="utf-8")
    assert read_hints(path) == (Hint("50.0%", "50%", "red", "10.0%", size=(400, 300)),)


def test_hints_are_found_in_capitals_and_after_the_whole_name(tmp_path: Path) -> None:
    for name in ("a.hints.JSON", "b.jpg.hints.json"):
        (tmp_path / name).write_text("[]", encoding="utf-8")
        assert hints_beside(tmp_path / f"{name[0]}.jpg") == tmp_path / name
        (tmp_path / f"{name[0]}.jpg").touch()
        assert belongs_to_another(tmp_path / name)


def test_positions_of_another_shape_are_refused(tmp_path: Path) -> None:
    gray_photo(tmp_path / "street.png")
    hints = {"width": 60, "height": 80, "hints": [{"x": 50, "y": 10, "color": "red"}]}
    (tmp_path / "street.hints.json").write_text(json.dumps(hints), encoding="utf-8")
    done = twotone(tmp_path, "colorize", "street.png", "-o", "out")
    assert done.returncode == 1
    assert "hint 1: is of 60x80 pixels, and the photograph is 80x60: it must show the same, at any size" in done.stderr


def test_written_hints_are_read_again(tmp_path: Path) -> None:
    hints = (Hint("25.5%", 12.0, "#123456"), Hint(1.0, 2.0, "navy", "3%"))
    write_hints(tmp_path / "a.hints.json", hints)
    assert read_hints(tmp_path / "a.hints.json") == hints


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "line 1, column 2: this is no JSON ("),
        ("[]", "no hints in it"),
        ('{"width": 4, "hints": []}', "the file: value error, width and height belong together"),
        ('{"width": 1e400, "height": 3, "hints": []}', "width"),
        ('{"dots": []}', "dots: no such key"),
        ('[{"x": 1, "y": 2}]', "hint 1: color: field required"),
        ('[{"x": 1, "y": 2, "color": "red", "size": 3}]', "hint 1: size: no such key"),
        ('[{"x": null, "y": 2, "color": "red"}]', "hint 1: x"),
        ('[{"x": true, "y": 2, "color": "red"}]', "hint 1: x"),
        ('{"hints": [], "hints": [{"x": 1, "y": 2, "color": "red"}]}', "'hints' stands twice in one object"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "street.hints.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HintError) as error:
        read_hints(path)
    assert str(error.value).startswith(f"{path}: {sentence}")


def test_bad_hints_of_one_photograph_do_not_stop_the_others(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("good.png", "bad.png"):
        gray_photo(photos / name)
    (photos / "bad.hints.json").write_text('[{"x": 500, "y": 2, "color": "red"}]', encoding="utf-8")
    done = twotone(tmp_path, "colorize", str(photos), "-o", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "bad.png: hint 1: x is 500, outside of the photograph, which is 80x60 pixels" in done.stderr
    assert (tmp_path / "out/good.png").is_file()
    assert not (tmp_path / "out/bad.png").exists()
