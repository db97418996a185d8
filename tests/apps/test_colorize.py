from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from pipeline.apps.jobs import find_jobs
from pipeline.errors import InputError
from tests.conftest import MakeModel
from tests.helpers import EIGHT_BIT, save_photo, twotone


def colorize(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return twotone(folder, "colorize", *words)


@pytest.fixture
def box(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder of photographs, one of them broken, with a folder inside."""
    (tmp_path / "box/inner").mkdir(parents=True)
    save_photo(tmp_path / "box/one.png", rng)
    save_photo(tmp_path / "box/inner/two.jpg", rng, (60, 50))
    (tmp_path / "box/inner/broken.jpg").write_bytes(b"<html>not found</html>")
    (tmp_path / "box/notes.txt").write_text("not a photograph")
    return tmp_path


def test_a_folder_is_colored_and_one_bad_file_does_not_stop_it(box: Path, model: Path) -> None:
    done = colorize(box, "box", "-o", "out", "--model", str(model), "--compare")
    assert done.returncode == 1
    assert "2 colored, 0 kept as they were, 1 failed" in done.stdout
    assert "box/inner/broken.jpg: unreadable: none of JPEG, PNG" in done.stderr
    assert "Traceback" not in done.stderr
    written = sorted(path.relative_to(box / "out").as_posix() for path in (box / "out").rglob("*.*"))
    assert written == ["inner/two-compare.jpg", "inner/two.jpg", "one-compare.png", "one.png"]
    before, after = (np.asarray(Image.open(box / place)) for place in ("box/one.png", "out/one.png"))
    assert np.abs(rgb2lab(after)[..., 0] - rgb2lab(before)[..., 0]).max() <= EIGHT_BIT
    compared = np.asarray(Image.open(box / "out/one-compare.png"))
    assert np.array_equal(compared, np.concatenate([before, after], 1))


def test_what_is_there_is_kept_unless_told_otherwise(box: Path, model: Path) -> None:
    (box / "out").mkdir()
    (box / "out/one.webp").write_bytes(b"mine")
    words = ("box/one.png", "-o", "out", "--model", str(model), "--format", "webp")
    kept = colorize(box, *words)
    assert kept.returncode == 0
    assert "0 colored, 1 kept as they were, 0 failed" in kept.stdout
    assert (box / "out/one.webp").read_bytes() == b"mine"
    # What is asked for besides is made, and what was there stays.
    assert colorize(box, *words, "--compare").returncode == 0
    assert (box / "out/one-compare.webp").exists()
    assert (box / "out/one.webp").read_bytes() == b"mine"
    assert colorize(box, *words, "--overwrite").returncode == 0
    assert Image.open(box / "out/one.webp").format == "WEBP"


def test_several_colorings_by_seed(box: Path, make_model: MakeModel) -> None:
    words = ("box/one.png", "-o", "out", "--seed", "5", "--samples", "2", "--model")
    assert colorize(box, *words, str(make_model(noise="input"))).returncode == 0
    five, six = (np.asarray(Image.open(box / f"out/one-{seed}.png")) for seed in (5, 6))
    assert not np.array_equal(five, six)
    refused = colorize(box, *words, str(make_model()))
    assert refused.returncode == 2
    assert "--samples needs a generator with noise" in refused.stderr


def test_what_cannot_be_done_is_said_before_anything_is_written(box: Path) -> None:
    cases = {
        ("nothing.jpg", "-o", "out"): "nothing.jpg: no such file or folder",
        ("box/*.bmp", "-o", "out"): "no photographs in box/*.bmp",
        ("box", "-o", "out", "--format", "gif"): "--format must be one of jpg",
        ("box", "-o", "out", "--model", "nowhere"): "nowhere: no such folder",
        ("box", "-o", "out"): "checkpoints/: no model; train one with dvc repro",
        ("box/one.png", "-o", "box"): "would be overwritten by its own colors",
    }
    for words, reason in cases.items():
        refused = colorize(box, *words)
        assert refused.returncode == 2, refused.stderr
        assert reason in refused.stderr
    assert not (box / "out").exists()


def test_jobs_keep_structure_and_refuse_collisions(box: Path, rng: np.random.Generator) -> None:
    found = {job.source: job.target for job in find_jobs([str(box / "box")], box / "out", "png")}
    assert found[box / "box/inner/two.jpg"] == box / "out/inner/two.png"
    save_photo(box / "box/one.jpg", rng)
    with pytest.raises(InputError, match=r"one\.jpg and .*one\.png would both be written to .*one\.png"):
        find_jobs([str(box / "box")], box / "out", "png")
    # What an earlier run wrote inside the folder is not colored again.
    save_photo(box / "box/one.webp", rng)
    (box / "box/colored").mkdir()
    save_photo(box / "box/colored/old.png", rng)
    assert not [j for j in find_jobs([str(box / "box")], box / "box/colored", None) if "old" in j.source.name]
    assert len(find_jobs([str(box / "box/**/*.jpg")], box / "out", None)) == 3


def test_what_cannot_be_written_is_an_error(box: Path, model: Path) -> None:
    (box / "out").write_text("a file where the folder should be")
    done = colorize(box, "box/one.png", "-o", "out", "--model", str(model))
    assert done.returncode == 1
    assert "0 colored, 0 kept as they were, 1 failed" in done.stdout
    assert "Traceback" not in done.stderr


def test_ctrl_c_leaves_no_half_written_picture(box: Path, model: Path, rng: np.random.Generator) -> None:
    for number in range(24):
        save_photo(box / f"box/{number:03d}.png", rng, (900, 900))
    script = Path(sys.executable).with_name("twotone")
    words = [str(script), "colorize", "box", "-o", "out", "--model", str(model)]
    with subprocess.Popen(words, cwd=box, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and len(list(box.glob("out/*.png"))) < 3:
            pass
        os.kill(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "Traceback" not in stderr
    assert not list((box / "out").rglob(".*"))
    for path in (box / "out").rglob("*.png"):
        Image.open(path).load()
