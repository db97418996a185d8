from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from skimage import data
from skimage.color import rgb2lab

from pipeline.color.arrays import lightness
from pipeline.errors import LimitError
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.inference.film_bars import inside_bars
from pipeline.inference.hints import Hint
from pipeline.inference.margins import WHOLE, inside_margins
from pipeline.inference.video import VideoOptions, color_video
from tests.media.test_video_frames import write

PHOTOGRAPHS = {"cat": data.chelsea, "cup": data.coffee, "astronaut": data.astronaut, "rocket": data.rocket}
WIDTH = 24
Frame = Callable[[Image.Image, int], Image.Image]


@pytest.fixture(scope="module")
def starter() -> Colorizer:
    return Colorizer.load()


def _gray(name: str) -> Image.Image:
    return Image.fromarray(PHOTOGRAPHS[name]()).convert("L").resize((300, 240))


def _ab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    ab: NDArray[np.float64] = rgb2lab(rgb)[..., 1:]
    return ab


def _print(gray: Image.Image, margin: int) -> Image.Image:
    return ImageOps.expand(gray, WIDTH, margin)


def _film(gray: Image.Image, _margin: int) -> Image.Image:
    """Draw a negative's frame: black, with a number and holes, in a holder that is not quite black."""
    film = ImageOps.expand(gray, WIDTH, 4)
    draw = ImageDraw.Draw(film)
    draw.text((40, 6), "24A", fill=250)
    for x in range(10, film.width, 80):
        draw.rectangle((x, film.height - 16, x + 6, film.height - 8), fill=255)
    return ImageOps.expand(film, 6, 25)


def _aged(gray: Image.Image, margin: int) -> Image.Image:
    """Draw paper with grain, on the bed of a scanner."""
    paper = np.array(_print(gray, margin), np.float64)
    paper += np.random.default_rng(0).normal(0, 2, paper.shape)
    return ImageOps.expand(Image.fromarray(paper.clip(0, 255).astype(np.uint8)), 10, 3)


@pytest.mark.parametrize(
    ("framed", "margin"),
    [(_print, 255), (_print, 0), (_print, 215), (_film, 4), (_aged, 230)],
    ids=["white", "black", "gray", "film", "aged"],
)
@pytest.mark.parametrize("name", ["cup", "astronaut"])
def test_a_margin_changes_no_color_inside_of_it(starter: Colorizer, name: str, framed: Frame, margin: int) -> None:
    gray = _gray(name)
    whole = framed(gray, margin)
    bare, found = _ab(np.asarray(starter(gray.convert("RGB")))), _ab(np.asarray(starter(whole)))
    around = (whole.height - gray.height) // 2, (whole.width - gray.width) // 2
    inside = found[around[0] : around[0] + gray.height, around[1] : around[1] + gray.width]
    middle = (slice(10, -10), slice(10, -10))
    # What the network sees is moved by up to a pixel of its copy. With the margin, it would be off by 20 to 40 percent.
    assert np.abs(inside[middle] - bare[middle]).mean() < 0.18 * np.hypot(*np.moveaxis(bare, 2, 0)).mean()
    rim = np.ones(found.shape[:2], bool)
    rim[around[0] - 6 : around[0] + gray.height + 6, around[1] - 6 : around[1] + gray.width + 6] = False
    assert np.abs(found[rim]).max() < 1.5


def test_without_margins_the_network_sees_all() -> None:
    for name in PHOTOGRAPHS:
        assert inside_margins(lightness(np.asarray(_gray(name)))) == WHOLE
    gray = ImageOps.expand(_gray("cat"), WIDTH, 120)
    assert inside_margins(lightness(np.asarray(gray))) == WHOLE, "a margin is dark or light"


@pytest.mark.parametrize(
    ("sky", "ground"), [(250, None), (215, 10), (215, 225), (245, 245), (200, 200)],
    ids=["sky", "sky and dark ground", "sky and snow", "white both", "overcast and pavement"],
)  # fmt: skip
def test_a_landscape_has_no_margins(sky: int, ground: int | None) -> None:
    landscape = np.array(_gray("cat"))
    landscape[:80] = sky
    if ground is not None:
        landscape[-60:] = ground
    assert inside_margins(lightness(landscape)) == WHOLE


def test_a_black_suit_on_white_is_no_margin() -> None:
    portrait = Image.new("L", (300, 400), 245)
    portrait.paste(_gray("astronaut").resize((110, 150)), (95, 40))
    ImageDraw.Draw(portrait).rectangle((40, 190, 260, 400), fill=8)
    assert inside_margins(lightness(np.asarray(portrait))) == WHOLE


@pytest.mark.parametrize("render_size", [96, 256])
def test_the_network_sees_what_is_asked_for(starter: Colorizer, render_size: int) -> None:
    for border in range(11, 60, 7):
        gray = np.asarray(_gray("cup").resize((391, 307)))
        framed = np.pad(gray, ((border, border + 3), (border + 5, border)), constant_values=250)
        inside = inside_margins(lightness(framed))
        assert inside != WHOLE
        light = starter.reduced_lightness(framed, render_size, inside)
        assert min(light[inside.slices(light.shape)].shape) == render_size


def test_much_paper_around_little_needs_no_more_memory_than_allowed(starter: Colorizer) -> None:
    page = np.full((500, 500), 255, np.uint8)
    page[190:320, 190:320] = np.random.default_rng(0).integers(40, 120, (130, 130))
    inside = inside_margins(lightness(page))
    assert starter.allowed(inside, page.shape, 96) == inside != WHOLE
    assert starter.allowed(inside, page.shape, 1024) == WHOLE


def test_a_film_whose_frames_grow_is_refused_at_once(tmp_path: Path, starter: Colorizer) -> None:
    film = _film_of(tmp_path / "large.mp4", [_gray("cup")] * 3)
    with pytest.raises(LimitError):
        inside_bars(film, 1000, starter)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_is_colored_too(starter: Colorizer, level: int) -> None:
    colored = starter(np.full((60, 90), level, np.uint8))
    assert colored.shape == (60, 90, 3)


def test_a_strip_within_margins_is_colored(starter: Colorizer) -> None:
    strip = np.full((40, 780), 255, np.uint8)
    strip[10:30] = np.random.default_rng(0).integers(0, 200, (20, 780))
    assert starter(strip).shape == (40, 780, 3)


def test_a_hint_keeps_its_place_within_margins(starter: Colorizer) -> None:
    whole = _print(_gray("cat"), 255)
    hint = Hint(WIDTH + 150, WIDTH + 120, "#203080", radius=12)
    blue = _ab(np.asarray(starter(whole, hints=[hint])))[..., 1]
    plain = _ab(np.asarray(starter(whole)))[..., 1]
    there = np.unravel_index((blue - plain).argmin(), blue.shape)
    assert np.hypot(there[0] - WIDTH - 120, there[1] - WIDTH - 150) < WIDTH, "moved by a margin"
    assert blue[WIDTH + 120, WIDTH + 150] < -20
    on_paper = starter(_print(_gray("cat"), 215), hints=[Hint(8, 8, "#c04040")])
    assert _ab(np.asarray(on_paper))[8, 8, 0] > 10


def _film_of(path: Path, pictures: list[Image.Image], bars: int = 0, turned: int = 0) -> Path:
    """Write a gray film with black bars at the left and the right."""
    frames = [np.asarray(ImageOps.expand(picture.convert("RGB"), (bars, 0), "black")) for picture in pictures]
    write(path, frames, turned=(turned, False, False), crf="4")
    return path


def _frame(path: Path, number: int) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][number]


def test_bars_change_no_color_of_a_film(tmp_path: Path, starter: Colorizer) -> None:
    title = Image.new("L", (300, 240))
    ImageDraw.Draw(title).text((120, 110), "TITLE", fill=250)
    pictures = [title] * 12 + [_gray("cup")] * 14
    options = VideoOptions(ColoringOptions(), smoothing=0.9, max_pixels=10**7, compare=False)
    for bars in (0, 50):
        film = _film_of(tmp_path / f"{bars}.mp4", pictures, bars)
        color_video(film, tmp_path / f"{bars}-color.mp4", starter, options)
    bare, barred = (_ab(_frame(tmp_path / f"{bars}-color.mp4", -1)) for bars in (0, 50))
    chroma = np.hypot(*np.moveaxis(bare, 2, 0)).mean()
    assert chroma > 5
    assert np.abs(barred[10:-10, 60:-60] - bare[10:-10, 10:-10]).mean() < 0.18 * chroma
    assert np.abs(barred[:, :40]).max() < 3


def test_bars_are_black_in_all_frames(tmp_path: Path, starter: Colorizer) -> None:
    title = Image.new("L", (300, 240))
    ImageDraw.Draw(title).text((120, 110), "TITLE", fill=250)
    assert inside_bars(_film_of(tmp_path / "a.mp4", [title] * 24 + [_gray("cup")] * 13), 10**7, starter) == WHOLE
    assert inside_bars(_film_of(tmp_path / "b.mp4", [Image.new("L", (300, 240))] * 3), 10**7, starter) == WHOLE
    assert inside_bars(_film_of(tmp_path / "c.mp4", [Image.new("L", (300, 240), 255)] * 3), 10**7, starter) == WHOLE
    upright = inside_bars(_film_of(tmp_path / "d.mp4", [_gray("cup")] * 3, 50), 10**7, starter)
    assert (upright.top, upright.bottom) == (0, 1)
    assert 0.12 < upright.left < 0.14
    turned = inside_bars(_film_of(tmp_path / "e.mp4", [_gray("cup")] * 3, 50, 90), 10**7, starter)
    assert (turned.left, turned.right) == (0, 1)
    assert 0.12 < turned.top < 0.14
