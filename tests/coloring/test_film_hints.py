"""Colors that are said for a film: they hold along the motion, and no further than to the next cut."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from pipeline.inference.hints import color_of
from tests.helpers import twotone

WIDTH, HEIGHT, FRAMES, CUT, RATE = 160, 96, 24, 14, 10
STEP = 2


def frames() -> list[np.ndarray]:
    """A bright square that moves over a dark ground with grain; from CUT on, another picture."""
    rng = np.random.default_rng(4)
    ground = rng.normal(60, 4, (HEIGHT, WIDTH))
    other = np.linspace(40, 220, WIDTH)[None].repeat(HEIGHT, 0) + rng.normal(0, 4, (HEIGHT, WIDTH))
    texture = rng.normal(170, 6, (40, 40))
    found = []
    for number in range(FRAMES):
        gray = (other if number >= CUT else ground).copy()
        if number < CUT:
            gray[28:68, 20 + STEP * number : 60 + STEP * number] = texture
        found.append(np.repeat(gray.clip(0, 255).round().astype(np.uint8)[..., None], 3, 2))
    return found


@pytest.fixture
def film(tmp_path: Path) -> Path:
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "12"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in frames():
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
    return tmp_path


def colored(folder: Path, *words: str) -> tuple[list[np.ndarray], str]:
    """The L*a*b* of the frames of the colored film, and what was printed."""
    done = twotone(folder, "colorize", "film.mp4", "-o", "out.mp4", "--overwrite", *words)
    assert done.returncode == 0, done.stderr
    with av.open(str(folder / "out.mp4")) as container:
        return [rgb2lab(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)], done.stdout


def square(lab: np.ndarray, number: int) -> np.ndarray:
    """Mean a* and b* of the middle of the square."""
    left = 20 + STEP * number
    mean: np.ndarray = lab[38:58, left + 10 : left + 30, 1:].mean((0, 1))
    return mean


def say(folder: Path, **more: float) -> None:
    hint = {"x": 40, "y": 48, "color": "#a03030", "radius": 8, **more}
    (folder / "film.hints.json").write_text(json.dumps({"hints": [hint]}), encoding="utf-8")


@pytest.mark.slow
def test_a_color_follows_the_thing_to_the_next_cut(film: Path) -> None:
    plain, _ = colored(film)
    say(film)
    said, printed = colored(film)
    assert "1 hint of film.hints.json" in printed
    for number in (0, 5, CUT - 1):
        assert np.linalg.norm(square(said[number], number) - color_of("#a03030")) < 12
    # The ground that the square has left, and all that comes after the cut, are as without.
    assert np.abs(said[CUT - 1][30:66, 4:16, 1:] - plain[CUT - 1][30:66, 4:16, 1:]).mean() < 4
    assert np.abs(said[CUT][..., 1:] - plain[CUT][..., 1:]).mean() < 1


@pytest.mark.slow
def test_a_hint_holds_for_its_shot_before_and_after_its_time(film: Path) -> None:
    plain, _ = colored(film)
    say(film, x=20 + STEP * 6 + 20, time=0.6)
    said, _ = colored(film)
    for number in (0, 3, 6, 8, CUT - 1):
        assert np.linalg.norm(square(said[number], number) - color_of("#a03030")) < 12
    assert np.abs(said[CUT][..., 1:] - plain[CUT][..., 1:]).mean() < 1
    # One of the second shot says nothing of the first.
    say(film, time=(CUT + 4) / RATE)
    said, _ = colored(film)
    assert np.abs(said[CUT - 1][..., 1:] - plain[CUT - 1][..., 1:]).mean() < 1
    for number in (CUT, CUT + 4, FRAMES - 1):
        assert np.abs(said[number][44:52, 36:44, 1:].mean((0, 1)) - color_of("#a03030")).max() < 12


def test_two_hints_of_one_thing_do_not_add_up_and_a_time_after_the_end_is_said(film: Path) -> None:
    hints = [{"x": 20 + STEP * n + 20, "y": 48, "color": "#a03030", "radius": 8, "time": n / RATE} for n in (2, 10)]
    after = {"x": 100, "y": 48, "color": "green", "time": 100.0}
    (film / "film.hints.json").write_text(json.dumps({"hints": [*hints, after]}), encoding="utf-8")
    said, printed = colored(film)
    assert "1 hints have a time after its end" in printed
    for number in (0, 2, 6, 10, CUT - 1):
        assert np.linalg.norm(square(said[number], number) - color_of("#a03030")) < 12


@pytest.mark.parametrize(
    ("time", "first"), [((CUT - 0.5) / RATE, True), (CUT / RATE, False), ((FRAMES - 0.5) / RATE, False)]
)
def test_a_hint_is_of_the_frame_that_is_shown_at_its_time(film: Path, time: float, first: bool) -> None:
    """A player that was stopped between two frames shows the one before."""
    say(film, x=20 + STEP * (CUT - 1) + 20, time=time)
    said, printed = colored(film)
    assert "after its end" not in printed
    reds = [np.linalg.norm(lab[44:52, 60:72, 1:].mean((0, 1)) - color_of("#a03030")) for lab in said]
    assert (reds[CUT - 1] < 12) == first
    assert (reds[CUT] < 12) != first


@pytest.mark.slow
def test_the_first_frame_may_be_colored_by_hand(film: Path) -> None:
    by_hand = np.stack([frames()[0][..., 0]] * 3, 2).astype(float)
    by_hand[..., 2] *= 0.5  # all of it yellowish
    by_hand[28:68, 20:60, 1] *= 0.4  # but the square, which is red
    Image.fromarray(by_hand.astype(np.uint8)).save(film / "film.hints.png")
    said, printed = colored(film)
    assert "painted hints of film.hints.png" in printed
    wanted = rgb2lab(by_hand.astype(np.uint8))
    assert np.linalg.norm(square(said[0], 0) - square(wanted, 0)) < 10
    assert np.linalg.norm(square(said[9], 9) - square(wanted, 0)) < 14
    assert np.abs(said[9][75:90, 100:150, 1:].mean((0, 1)) - wanted[75:90, 100:150, 1:].mean((0, 1))).max() < 6


@pytest.mark.slow
def test_what_means_nothing_is_said_and_the_next_film_goes_on(film: Path) -> None:
    (film / "second.mp4").write_bytes((film / "film.mp4").read_bytes())
    say(film, x=1000)
    done = twotone(film, "colorize", "film.mp4", "second.mp4", "-o", "out")
    assert done.returncode == 1
    assert "hint 1: x is 1000, outside of the photograph, which is 160x96 pixels" in done.stderr
    assert (film / "out/second.mp4").exists()
    assert not (film / "out/film.mp4").exists()
    say(film, x=1000, time=100.0)  # which is told at once, and not at the end of the film
    assert "outside of the photograph" in twotone(film, "colorize", "film.mp4", "-o", "out").stderr
    Image.fromarray(frames()[0]).save(film / "film.png")
    done = twotone(film, "colorize", "film.mp4", "-o", "out")
    assert "film.hints.json is taken for that of film.png" in done.stdout
    Image.fromarray(frames()[0]).save(film / "photo.png")
    (film / "photo.hints.json").write_text(json.dumps([{"x": 9, "y": 9, "color": "red", "time": 2}]), encoding="utf-8")
    done = twotone(film, "colorize", "photo.png", "-o", "out")
    assert "a hint has a time, and a photograph has none" in done.stderr
