from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from skimage import data
from skimage.color import rgb2lab

from pipeline.color.arrays import lightness
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.hints import Hint
from pipeline.inference.margins import WHOLE, inside_margins

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
    draw.text((40, 6), "PLUS X  9", fill=250)
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
    sky = np.array(_gray("cat"))
    sky[:60] = 250
    assert inside_margins(lightness(sky)) == WHOLE, "a white sky has no other side"
    gray = ImageOps.expand(_gray("cat"), WIDTH, 120)
    assert inside_margins(lightness(np.asarray(gray))) == WHOLE, "a margin is dark or light"


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
    on_paper = starter(whole, hints=[Hint(5, 5, "#c04040")])
    assert on_paper.size == whole.size
