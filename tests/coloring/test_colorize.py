from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from pipeline.color.tensors import ColorSpace
from pipeline.coloring.colorize import stoppable, until_stopped
from pipeline.coloring.jobs import Naming, select
from pipeline.coloring.one_file import BatchOptions, color_file
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.models.checkpoint import load_generator
from tests.conftest import MakeModel
from tests.helpers import EIGHT_BIT, save_photo, twotone
from tests.media.test_video_frames import moving, write


def colorize(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return twotone(folder, "colorize", *words)


@pytest.fixture
def box(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder of photographs, one of them broken, with a folder inside."""
    (tmp_path / "box/inner").mkdir(parents=True)
    save_photo(tmp_path / "box/one.png", rng)
    save_photo(tmp_path / "box/inner/two.jpg", rng, (60, 50))
    (tmp_path / "box/inner/broken.jpg").write_bytes(b"<html>not found</html>")
    (tmp_path / "box/notes.txt").write_text("not a photograph", encoding="utf-8")
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
    done = colorize(box, *words, "--compare")
    assert done.returncode == 0
    assert "-> out/one-compare.webp; out/one.webp was there already, and was kept" in done.stdout
    assert (box / "out/one-compare.webp").exists()
    assert (box / "out/one.webp").read_bytes() == b"mine"
    assert colorize(box, *words, "--overwrite").returncode == 0
    assert Image.open(box / "out/one.webp").format == "WEBP"


def test_the_comparison_shows_the_copy_that_is_kept(box: Path, model: Path) -> None:
    words = ("box/one.png", "-o", "out", "--model", str(model))
    assert colorize(box, *words).returncode == 0
    done = colorize(box, *words, "--saturation", "0", "--compare")
    assert done.returncode == 0
    before, after = (np.asarray(Image.open(box / place)) for place in ("box/one.png", "out/one.png"))
    compared = np.asarray(Image.open(box / "out/one-compare.png"))
    assert np.array_equal(compared, np.concatenate([before, after], 1))
    assert len(np.unique(after - after[..., :1])) > 1


@pytest.mark.slow
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
        ("box/one.png", "-o", "box"): "would be overwritten by its own colors",
    }
    for words, reason in cases.items():
        refused = colorize(box, *words)
        assert refused.returncode == 2, refused.stderr
        assert reason in refused.stderr
    assert not (box / "out").exists()


@pytest.mark.slow
def test_copies_beside_and_above_the_photographs(box: Path, model: Path) -> None:
    """Only a folder inside that of the photographs holds copies of an earlier run."""
    for words, copy in (
        (("box/inner/*.jpg", "-o", "."), "two.jpg"),
        (("box/**/two.*", "-o", "box"), "box/two.jpg"),
        (("box/inner", "-o", "above"), "above/two.jpg"),
    ):
        done = colorize(box, *words, "--model", str(model))
        assert "1 colored" in done.stdout, done.stderr
        assert (box / copy).exists()


@pytest.mark.slow
def test_the_own_lightness_of_an_rgb_generator(box: Path, make_model: MakeModel) -> None:
    rgb, lab = str(make_model(space="rgb")), str(make_model())
    done = colorize(box, "box/one.png", "-o", "own", "--own-lightness", "--model", rgb)
    assert done.returncode == 0, done.stderr
    before, own = (np.asarray(Image.open(box / place)) for place in ("box/one.png", "own/one.png"))
    assert own.shape == before.shape
    assert np.abs(rgb2lab(own)[..., 0] - rgb2lab(before)[..., 0]).max() > 5
    # What the network gives, enlarged, and nothing else.
    network = load_generator(Path(rgb)).network
    gray = ColorSpace("rgb").encode(torch.from_numpy(resized(before, 32)).permute(2, 0, 1)[None])[0]
    expected = ((network(gray)[0, :, : gray.shape[2], : gray.shape[3]] + 1) / 2).clamp(0, 1).detach()
    shrunk = np.asarray(Image.fromarray(own).resize(expected.shape[:0:-1], Image.Resampling.BOX)) / 255
    assert np.abs(shrunk - expected.permute(1, 2, 0).numpy()).mean() < 0.06
    for words, reason in (
        (("--model", lab), "--own-lightness needs a generator of base.color_space rgb, and that of"),
        (("--model", rgb, "--saturation", "2"), "leave --saturation out"),
    ):
        refused = colorize(box, "box/one.png", "-o", "out", "--own-lightness", *words)
        assert refused.returncode == 2
        assert reason in refused.stderr


def resized(pixels: np.ndarray, short_side: int) -> np.ndarray:
    """To a short side, and mirrored to multiples of 32."""
    height, width = pixels.shape[:2]
    scale = short_side / min(height, width)
    size = (round(width * scale), round(height * scale))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    return np.pad(small, ((0, -size[1] % 32), (0, -size[0] % 32), (0, 0)), "symmetric")


@pytest.mark.slow
def test_shards_color_each_photograph_once_side_by_side(box: Path, model: Path, rng: np.random.Generator) -> None:
    (box / "box/inner/broken.jpg").unlink()
    for number in range(9):
        save_photo(box / f"box/{number}.png", rng)
        save_photo(box / f"box/{number}.gif", rng)  # whose copies are PNG files, too
    words = [str(Path(sys.executable).with_name("twotone")), "colorize", "box", "-o", "out", "--model", str(model)]
    running = [
        subprocess.Popen(
            [*words, "--shard", f"{n}/3"], cwd=box, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )
        for n in (1, 2, 3)
    ]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    colored = [int(re.findall(r"(\d+) colored, 0 kept", text)[0]) for text in said]
    assert colored == [7, 7, 6]
    whole = colorize(box, "box", "-o", "out", "--model", str(model))
    assert "0 colored, 20 kept as they were, 0 failed" in whole.stdout
    for shard in ("0/3", "4/3", "1", "a/b"):
        refused = colorize(box, "box", "-o", "out", "--model", str(model), "--shard", shard)
        assert refused.returncode == 2
        assert "--shard must be NUMBER/COUNT" in refused.stderr


def naming(out: Path, **options: Any) -> Naming:
    return Naming(out, **options)


def test_structure_is_kept_and_names_that_are_taken_get_a_number(box: Path, rng: np.random.Generator) -> None:
    def targets(*inputs: str, **options: Any) -> dict[str, str]:
        jobs = select([str(box / text) for text in inputs], naming(box / "out", **options)).jobs
        return {str(job.source.relative_to(box)): str(job.targets[0].relative_to(box / "out")) for job in jobs}

    assert targets("box", ending="png")["box/inner/two.jpg"] == "inner/two.png"
    save_photo(box / "box/one.jpg", rng)
    assert targets("box", ending="png") == {
        "box/inner/broken.jpg": "inner/broken.png",
        "box/inner/two.jpg": "inner/two.png",
        "box/one.jpg": "one.png",
        "box/one.png": "one-2.png",
    }
    # The same name in two folders; and a name that the comparison of another would have.
    (box / "other").mkdir()
    save_photo(box / "other/one.png", rng)
    save_photo(box / "box/one-compare.png", rng)
    found = targets("box/one.png", "other/one.png", "box/one-compare.png", compare=True)
    assert found == {"box/one.png": "one.png", "other/one.png": "one-2.png", "box/one-compare.png": "one-compare-2.png"}
    # One that is named twice is colored once.
    assert len(targets("box", "box/one.png", "box/*.png")) == len(targets("box"))


def test_no_result_is_lost_and_no_source_overwritten(box: Path, model: Path, rng: np.random.Generator) -> None:
    for name in ("x.png", "x-compare.png", "x.gif"):
        save_photo(box / name, rng)
    for _ in range(2):
        words = ("x.png", "x-compare.png", "x.gif", "-o", "out", "--compare", "--overwrite")
        done = colorize(box, *words, "--model", str(model))
        assert done.returncode == 0, done.stderr
        assert "3 colored, 0 kept as they were, 0 failed" in done.stdout
        assert "written under another name, since another file has that name" in done.stdout
        assert ".gif pictures are written as .png" in done.stdout
    written = sorted(path.name for path in (box / "out").iterdir())
    assert written == [
        *("x-2-compare.png", "x-2.png", "x-compare-2-compare.png", "x-compare-2.png", "x-compare.png", "x.png"),
    ]
    before, after = (rgb2lab(np.asarray(Image.open(box / name))) for name in ("x-compare.png", "out/x-compare-2.png"))
    assert np.abs(after[..., 0] - before[..., 0]).max() <= EIGHT_BIT
    # A copy that would have the name of another source.
    (box / "first").mkdir()
    source = (box / "x.png").read_bytes()
    save_photo(box / "first/x.png", rng)
    assert colorize(box, "first/x.png", "x-compare.png", "x.png", "-o", ".", "--overwrite").returncode == 2
    colorize(box, "first/x.png", "out/x.png", "-o", "out", "--model", str(model), "--overwrite")
    assert (box / "x.png").read_bytes() == source


def test_what_is_left_out_is_counted_by_kind(box: Path, model: Path, rng: np.random.Generator) -> None:
    save_photo(box / "box/._one.jpg", rng)
    (box / "box/.street.writing.mp4").write_bytes(b"half a film")
    (box / "box/.thumbnails").mkdir()
    save_photo(box / "box/.thumbnails/one.png", rng)
    (box / "box/README").write_text("no ending", encoding="utf-8")
    (box / "box/inner/broken.jpg").unlink()
    pattern = colorize(box, "box/*", "-o", "other", "--model", str(model))
    assert pattern.returncode == 0
    assert "not colored: 1 .txt, 1 without an ending" in pattern.stdout
    done = colorize(box, "box", "-o", "out", "--model", str(model))
    assert done.returncode == 0
    assert "not colored: 1 .txt, 3 hidden, 1 without an ending" in done.stdout
    assert "2 colored, 0 kept as they were, 0 failed" in done.stdout


def test_links_are_counted_and_a_photograph_comes_before_its_link(
    box: Path, model: Path, rng: np.random.Generator
) -> None:
    (box / "elsewhere").mkdir()
    save_photo(box / "elsewhere/three.png", rng)
    (box / "box/linked").symlink_to(box / "elsewhere")
    (box / "box/again.png").symlink_to("one.png")
    for name in ("three.png", "third.png"):
        (box / "box" / name).symlink_to(box / "elsewhere/three.png")
    (box / "box/.cache").mkdir()
    (box / "box/.cache/linked").symlink_to(box / "elsewhere")
    (box / "box/inner/broken.jpg").unlink()
    done = colorize(box, "box", "elsewhere/../box", "-o", "out", "--model", str(model))
    assert "3 colored, 0 kept as they were, 0 failed" in done.stdout
    names = sorted(path.relative_to(box / "out").as_posix() for path in (box / "out").rglob("*.*"))
    assert names == ["inner/two.jpg", "one.png", "third.png"]
    found = colorize(box, "box", "-o", "out", "--model", str(model)).stdout
    assert "not colored: 1 .txt, 1 links to folders, 2 links to what is colored" in found


@pytest.mark.slow
def test_the_output_can_be_a_file(box: Path, model: Path) -> None:
    words = ("--model", str(model))
    assert colorize(box, "box/one.png", "-o", "there/in-color.jpg", *words).returncode == 0
    assert Image.open(box / "there/in-color.jpg").format == "JPEG"
    for inputs, out, sentence in (
        (("box",), "out.jpg", "--out out.jpg names one file for 3 photographs; name a folder"),
        (("box/one.png",), "out.mp4", "--out out.mp4: one.png can be written as .bmp, .jpeg, .jpg, .png"),
        (("box/one.png",), "box/one.png", "box/one.png would be overwritten by its own colors"),
        (("box/one.png",), "out.gif", "--out out.gif: .gif cannot be written; name a folder, or a file in .bmp, .jpeg"),
    ):
        refused = colorize(box, *inputs, "-o", out, *words)
        assert refused.returncode == 2
        assert sentence in refused.stderr


def test_an_output_that_cannot_be_written_is_found_before_coloring(box: Path, model: Path) -> None:
    (box / "out").write_text("a file where the folder should be", encoding="utf-8")
    done = colorize(box, "box/one.png", "-o", "out", "--model", str(model))
    assert done.returncode == 2
    assert "error: --out out is a file, and no folder to write into; name a folder" in done.stderr
    assert "colorize:" not in done.stderr  # no progress bar yet


def test_long_names_and_loose_options(box: Path, model: Path, rng: np.random.Generator) -> None:
    long = "x" * 250 + ".png"
    save_photo(box / long, rng)
    (box / "model").symlink_to(model)
    done = colorize(box, long, "-o", "out", "--model", "model/generator.safetensors", "--format", ".PNG")
    assert done.returncode == 0, done.stderr
    assert (box / "out" / long).exists()
    assert "model model: compact_unet, 32 px" in done.stderr
    version = twotone(box, "--version")
    assert (version.returncode, version.stdout) == (0, f"twotone {metadata.version('twotone-colorizer')}\n")


def test_names_that_no_copy_can_have_or_no_terminal_can_show(box: Path, model: Path, rng: np.random.Generator) -> None:
    """A copy beside the photograph is called NAME-color: too long for the file system."""
    (box / "names").mkdir()
    save_photo(box / "names" / ("x" * 250 + ".png"), rng)
    save_photo(Path(os.fsdecode(os.fsencode(box) + b"/names/caf\xe9.png")), rng)
    save_photo(box / "names/zzz.png", rng)
    planned = twotone(box, "colorize", "names", "--dry-run", env={"PYTHONIOENCODING": "utf-8:strict"})
    assert planned.returncode == 0, planned.stderr
    assert "names/zzz-color.png" in planned.stdout
    (box / "names/circle.png").symlink_to("circle.png")
    done = twotone(box, "colorize", "names", "--model", str(model), env={"PYTHONIOENCODING": "utf-8:strict"})
    assert done.returncode == 1
    assert "2 colored, 0 kept as they were, 1 failed" in done.stdout
    assert "names/caf\\udce9.png" in done.stdout
    assert "File name too long" in done.stderr
    assert (box / "names/zzz-color.png").exists()
    assert "Traceback" not in done.stderr


def test_whatever_one_file_does_it_fails_alone_and_in_words(
    box: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def color(_self: Colorizer, _pixels: Any, _options: Any) -> Any:
        raise RuntimeError("Error setting from dictionary")

    options = BatchOptions(naming(box / "out"), ColoringOptions(), 0.9, overwrite=False, max_pixels=10**6)
    (job,) = select([str(box / "box/one.png")], options.naming).jobs
    colorizer = Colorizer.load(model)
    monkeypatch.setattr(Colorizer, "color", color)
    outcome = color_file(job, colorizer, options)
    assert (outcome.status, outcome.detail) == (
        "failed",
        "cannot be colored: RuntimeError: Error setting from dictionary",
    )


@pytest.mark.slow
def test_of_many_photographs_only_what_matters_is_listed(box: Path, model: Path, rng: np.random.Generator) -> None:
    for number in range(30):
        save_photo(box / f"box/{number:03d}.gif", rng, (20, 20))
    words = ("box", "-o", "out", "--model", str(model))
    first = colorize(box, *words)
    note = (
        "note: 30 of them: .gif pictures are written as .png: box/000.gif, box/001.gif, box/002.gif, box/003.gif, box/"
    )
    assert note in first.stdout
    second = colorize(box, *words)
    for done, colored, kept in ((first, 32, 0), (second, 0, 32)):
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert lines[-2].startswith("failed: box/inner/broken.jpg: unreadable: none of JPEG")
        assert lines[-1].startswith(f"{colored} colored, {kept} kept as they were, 1 failed; model ")
        assert len(lines) < 6
    assert "kept, because there was a copy already: " in second.stdout
    assert ": out/000.png, out/001.png, out/002.png, out/003.png, out/004.png and 27 more; --ov" in second.stdout


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_leaves_no_half_written_picture(
    box: Path, model: Path, rng: np.random.Generator, processes: str
) -> None:
    for number in range(24):
        save_photo(box / f"box/{number:03d}.png", rng, (900, 900))
    script = Path(sys.executable).with_name("twotone")
    words = [str(script), "colorize", "box", "-o", "out", "--model", str(model), "--processes", processes]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=box, start_new_session=True, **pipes) as process:
        while process.poll() is None and len(list(box.glob("out/*.png"))) < 3:
            pass
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stdout + stderr
    assert "Traceback" not in stderr
    assert re.search(r"stopped by Ctrl-C after \d+ of 27; the same command again goes on", stderr)
    assert " colored, 0 kept as they were, " in stdout
    assert not list((box / "out").rglob(".*"))
    for path in (box / "out").rglob("*.png"):
        Image.open(path).load()


def hears_sighup() -> None:
    """In a new process, as in a terminal: these tests may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_to_all_processes_leaves_nothing_hidden(
    box: Path, model: Path, rng: np.random.Generator, name: str, status: int
) -> None:
    """As timeout, systemd and a closed terminal send it; twice, as a shell and the system do."""
    for number in range(24):
        save_photo(box / f"box/{number:03d}.png", rng, (900, 900))
    script = Path(sys.executable).with_name("twotone")
    words = [str(script), "colorize", "box", "-o", "out", "--model", str(model), "--processes", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=box, start_new_session=True, preexec_fn=hears_sighup, **pipes) as process:
        while process.poll() is None and len(list(box.glob("out/*.png"))) < 3:
            time.sleep(0.01)
        os.killpg(process.pid, getattr(signal, name))
        time.sleep(0.02)
        os.killpg(process.pid, getattr(signal, name))
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == status, stderr
    assert "Traceback" not in stderr
    assert re.search(rf"stopped by {name} after \d+ of 27; the same command again goes on", stderr)
    assert not list((box / "out").rglob(".*"))


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_film_that_is_ended_leaves_nothing_hidden(box: Path, model: Path, name: str, status: int) -> None:
    write(box / "film.mp4", moving(0.0) * 60)
    script = Path(sys.executable).with_name("twotone")
    words = [str(script), "colorize", "film.mp4", "-o", "out", "--model", str(model), "--compare"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(words, cwd=box, preexec_fn=hears_sighup, **pipes) as process:
        while process.poll() is None and not list(box.glob("out/.writing-*.mp4")):
            time.sleep(0.02)
        process.send_signal(getattr(signal, name))
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == status, stderr
    assert f"stopped by {name} after 0 of 1; the same command again goes on" in stderr
    assert not list((box / "out").iterdir())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_drops_is_not_lost() -> None:
    class Freed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    begun = []

    def work() -> None:
        with stoppable() as came:
            for number in until_stopped(range(5), came):
                begun.append(number)
                freed = Freed()
                del freed  # Python can only say "Exception ignored in" here

    with pytest.raises(KeyboardInterrupt):
        work()
    assert begun == [0]


def test_a_dry_run_says_what_would_be_and_writes_nothing(box: Path) -> None:
    (box / "out").mkdir()
    (box / "out/one.png").write_bytes(b"mine")
    before = sorted(box.rglob("*"))
    assert "nowhere: no such folder" in colorize(box, "box", "-o", "out", "--dry-run", "--model", "nowhere").stderr
    done = colorize(box, "box", "-o", "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{Path('box/inner/two.jpg')} -> {Path('out/inner/two.jpg')}" in done.stdout
    assert "2 would be colored, 1 kept as they were; nothing was written" in done.stdout
    assert sorted(box.rglob("*")) == before
    assert colorize(box, "box/inner/two.jpg", "-o", "copies/two.jpg").returncode == 0
    done = colorize(box, "copies", "-o", "again", "--dry-run")
    assert "1 colored copies" in done.stdout + done.stderr
    assert "--dry-run is for files" in colorize(box, "-", "--dry-run", "-o", "one.png").stderr


def test_the_quality_of_a_jpeg_can_be_said(box: Path, model: Path) -> None:
    for quality in (60, 95):
        words = ("-o", f"q{quality}", "--jpeg-quality", str(quality), "--model", str(model))
        assert colorize(box, "box/inner/two.jpg", *words).returncode == 0
    rough, fine = (Image.open(box / f"q{quality}/two.jpg") for quality in (60, 95))
    assert sum(rough.quantization[0]) > 3 * sum(fine.quantization[0])  # type: ignore[attr-defined]
    assert {layer[1:3] for layer in rough.layer} == {(1, 1)}  # type: ignore[attr-defined]
    assert colorize(box, "box/inner/two.jpg", "--jpeg-quality", "0").returncode == 2


def test_a_bmp_is_not_replaced_for_its_name_alone(tmp_path: Path, model: Path, rng: np.random.Generator) -> None:
    """Its owner may have called a color scan so."""
    for name in ("a.bmp", "a-color.bmp"):
        save_photo(tmp_path / name, rng)
    before = (tmp_path / "a-color.bmp").read_bytes()
    for _ in range(2):
        done = twotone(tmp_path, "colorize", "a.bmp", "--overwrite", "--model", str(model))
        assert done.returncode == 0, done.stderr
        assert "a-color-2.bmp" in done.stdout
    assert (tmp_path / "a-color.bmp").read_bytes() == before
    done = twotone(tmp_path, "colorize", ".", "--dry-run", "--model", str(model))
    assert "1 colored copies" in done.stdout + done.stderr
