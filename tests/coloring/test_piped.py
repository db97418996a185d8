"""`twotone colorize -`, through real pipes and at a real terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from tests.helpers import EIGHT_BIT, environment, save_photo

TWOTONE = str(Path(sys.executable).with_name("twotone"))


@pytest.fixture
def street(tmp_path: Path, rng: np.random.Generator) -> Path:
    save_photo(tmp_path / "street.png", rng)
    return tmp_path / "street.png"


def piped(folder: Path, content: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [TWOTONE, "colorize", *words], cwd=folder, input=content, env=environment(), capture_output=True, timeout=300
    )


@pytest.mark.slow
def test_a_photograph_goes_through_a_pipe(street: Path, model: Path) -> None:
    """Standard output holds the picture and nothing else, byte for byte what the file would be."""
    script = f"cat street.png | {TWOTONE} colorize - --model {model} | cat > through.png"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=street.parent,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "standard input -> standard output: 48x40" in done.stderr
    before, after = (np.asarray(Image.open(street.parent / name)) for name in ("street.png", "through.png"))
    assert np.abs(rgb2lab(after)[..., 0] - rgb2lab(before)[..., 0]).max() <= EIGHT_BIT
    assert piped(street.parent, b"", "street.png", "--model", str(model)).returncode == 0
    assert (street.parent / "through.png").read_bytes() == (street.parent / "street-color.png").read_bytes()


@pytest.mark.slow
def test_formats_and_a_file(street: Path, model: Path, rng: np.random.Generator) -> None:
    folder, words = street.parent, ("-", "--model", str(model))
    for ending, kind in (("jpg", "JPEG"), ("avif", "JPEG"), ("gif", "PNG")):
        save_photo(folder / f"in.{ending}", rng)
        done = piped(folder, (folder / f"in.{ending}").read_bytes(), *words)
        assert done.returncode == 0, done.stderr
        assert Image.open(io.BytesIO(done.stdout)).format == kind
        assert (f"is written as {kind}" in done.stderr.decode()) == (ending != "jpg")
    assert (
        Image.open(io.BytesIO(piped(folder, street.read_bytes(), *words, "--format", "webp").stdout)).format == "WEBP"
    )
    for _ in range(2):
        done = piped(folder, street.read_bytes(), *words, "-o", "there/out.tif")
        assert (done.returncode, done.stdout) == (0, b"")
    assert b"kept, because it was there already: there/out.tif; --overwrite replaces it" in done.stderr
    assert Image.open(folder / "there/out.tif").format == "TIFF"


@pytest.mark.slow
def test_what_cannot_be_colored_is_one_sentence(street: Path, model: Path) -> None:
    photo, chosen = street.read_bytes(), ("--model", str(model))
    opened = io.BytesIO()
    Image.new("L", (80_000, 16)).save(opened, "PNG")
    long = opened.getvalue()
    for content, words, status, sentence in (
        (b"", ("-",), 1, "standard input: empty"),
        (b"<html>not found</html>", ("-",), 1, "standard input: unreadable: none of JPEG, PNG"),
        (photo[:200], ("-",), 1, "standard input: unreadable"),
        (photo, ("-", "--max-pixels", "1024"), 1, "standard input: too many pixels: 48x40 is over --max-pixels 1024"),
        (b"x" * 2**21, ("-", "--max-pixels", "1024"), 1, "standard input: too many bytes: more than --max-pixels 1024"),
        (photo, ("-", "--compare"), 2, "--compare is for files, and standard input is one photograph"),
        (photo, ("-", "--format", "gif"), 2, "--format must be one of jpg"),
        (photo, ("-", "--format", "jpg", "-o", "a.png"), 2, "--format jpg and --out a.png name different formats"),
        (long, ("-",), 1, "standard input: at a render size of"),
        (photo, ("-", "-o", "folder"), 2, "--out folder: standard input has no name; name a file in .jpg"),
        (photo, ("-", "street.png"), 2, "- is standard input, and is colored alone; a file of that name is ./-"),
    ):
        done = piped(street.parent, content, *words, *chosen)
        said = done.stderr.decode()
        assert (done.returncode, done.stdout) == (status, b""), said
        assert said.splitlines()[-1].startswith(f"error: {sentence}"), said
        assert "Traceback" not in said
    assert [path.name for path in street.parent.iterdir()] == ["street.png"]


def test_nothing_is_read_from_or_written_to_a_terminal(street: Path) -> None:
    ours, terminal = pty.openpty()
    try:
        for stdin, stdout, sentence in (
            (subprocess.PIPE, terminal, b"error: standard output is a terminal; send it to a file, such as"),
            (terminal, subprocess.PIPE, b"error: standard input is a terminal; send a photograph, such as"),
        ):
            with subprocess.Popen(
                [TWOTONE, "colorize", "-"], cwd=street.parent, env=environment(),
                stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
            ) as process:  # fmt: skip
                said = process.communicate(timeout=120)[1]
            assert process.returncode == 2
            assert said.startswith(sentence)
    finally:
        os.close(ours)
        os.close(terminal)


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_traceback(street: Path, model: Path, rng: np.random.Generator) -> None:
    save_photo(street, rng, (900, 900))
    script = f"{TWOTONE} colorize - --model {model} < street.png | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=street.parent, env=environment(), capture_output=True, encoding="utf-8"
    )
    assert done.stdout == "1\n"  # as click ends where nobody reads what it writes
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_closed_ends_are_said(street: Path, model: Path) -> None:
    """As cron and service managers start a command."""
    for script, status, said in (
        (f"{TWOTONE} colorize - --model {model} <&-", 1, "standard input: empty"),
        (f"{TWOTONE} colorize - --model {model} < street.png >&-", 2, "standard output is closed; send it to a file"),
        (f"{TWOTONE} --version >&-", 0, ""),
        (f"{TWOTONE} colorize street.png --model {model} -o out 2>&-", 0, ""),
    ):
        done = subprocess.run(
            ["bash", "-c", script], cwd=street.parent, env=environment(), capture_output=True, encoding="utf-8"
        )
        assert done.returncode == status, (script, done)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert (street.parent / "out/street.png").is_file()
