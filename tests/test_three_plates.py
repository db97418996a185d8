from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from benchmarks.three_plates import align, read_three_plates
from pipeline.errors import ImageError
from tests.helpers import ROOT, Array

WIDTH, HEIGHT, MARGIN = 380, 330, 40
# Of blue, green and red: down and right, pixels; where each plate begins in the photograph.
OFFSETS = {
    "whole pixels": np.array([[-6.0, 3.0], [0.0, 0.0], [7.0, -2.0]]),
    "parts of a pixel": np.array([[5.3, -2.6], [0.4, 0.7], [-8.25, 3.5]]),
    "far": np.array([[-14.0, 9.5], [0.0, 0.0], [12.5, -15.0]]),
}
# Exposure, gamma: as if each plate were developed for itself.
PLAIN, DEVELOPED = [(1.0, 1.0)] * 3, [(0.6, 1.3), (0.95, 1.0), (0.8, 0.6)]


def photograph(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)())


def plates(photo: Image.Image, offsets: Array, development: list[tuple[float, float]], border: int = 0) -> Array:
    """A column of blue, green and red, with grain; Pillow cuts each out of the photograph at parts of a pixel."""
    rng, column = np.random.default_rng(0), []
    for number, ((down, right), (exposure, gamma)) in enumerate(zip(offsets, development, strict=True)):
        left, top = MARGIN + right, MARGIN + down
        box = (left, top, left + WIDTH, top + HEIGHT)
        cut = photo.getchannel("BGR"[number]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box)
        levels = 255 * exposure * (np.asarray(cut) / 255) ** gamma + rng.normal(0, 2, (HEIGHT, WIDTH))
        plate = levels.clip(0, 255).round().astype(np.uint8)
        if border:
            # Glass without emulsion, then the frame: as wide as the plate was cut.
            for level, wide in ((15, border + 3 * number), (250, border // 2 + number)):
                for edge in (plate, plate[::-1], plate.T, plate.T[::-1]):
                    edge[:wide] = level
        column.append(plate)
    return np.concatenate(column)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
@pytest.mark.parametrize("where", OFFSETS)
def test_shifts_are_found_within_half_a_pixel(name: str, where: str) -> None:
    """Whatever the contrast of the plates, and with borders that move otherwise than the picture."""
    photo = photograph(name)
    if name == "chelsea":  # 451x300: enlarged to hold a plate
        photo = photo.resize((676, 450), Image.Resampling.BICUBIC)
    aligned = align(plates(photo, OFFSETS[where], DEVELOPED, border=10))
    blue, green, red = OFFSETS[where]
    assert np.abs(aligned.blue - (blue - green)).max() < 0.5
    assert np.abs(aligned.red - (red - green)).max() < 0.5


def test_the_photograph_comes_back_in_its_colors_without_borders() -> None:
    photo, offsets = photograph("astronaut"), OFFSETS["whole pixels"]
    found = align(plates(photo, offsets, PLAIN, border=10)).rgb
    height, width, _ = found.shape
    true = np.asarray(photo)
    # Where it was cut out: the place with the smallest difference.
    errors = {
        (top, left): np.abs(found[::4, ::4].astype(int) - true[top : top + height : 4, left : left + width : 4]).mean()
        for top in range(MARGIN + 8, MARGIN + 36)
        for left in range(MARGIN + 8, MARGIN + 36)
    }
    assert min(errors.values()) < 3  # the grain, and a twentieth of a pixel
    # Borders are 10, 13 and 16 wide, and plates are up to 13 pixels apart.
    assert height >= HEIGHT - 2 * 16 - 13 - 6
    assert width >= WIDTH - 2 * 16 - 5 - 6


def test_without_borders_little_is_cut() -> None:
    aligned = align(plates(photograph("coffee"), np.zeros((3, 2)), PLAIN))
    assert np.abs([aligned.blue, aligned.red]).max() < 0.2
    assert aligned.rgb.shape[0] > 0.85 * HEIGHT


def test_sixteen_bits_give_the_same_photograph(tmp_path: Path) -> None:
    column = plates(photograph("astronaut"), OFFSETS["whole pixels"], PLAIN, border=10)
    Image.fromarray(column).save(tmp_path / "eight.png")
    Image.fromarray(column.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    eight, sixteen = (read_three_plates(tmp_path / f"{name}.png", 10**6).rgb for name in ("eight", "sixteen"))
    assert np.array_equal(eight, sixteen)


def test_what_is_no_three_plates_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    three = [photograph(name).convert("L").resize((WIDTH, HEIGHT)) for name in ("astronaut", "coffee", "chelsea")]
    with pytest.raises(ImageError, match=r"the plates do not match: .* shifts differ by"):
        align(np.concatenate([np.asarray(one) for one in three]))
    with pytest.raises(ImageError, match="do not match"):
        align(rng.integers(0, 256, (900, 300), dtype=np.uint8))
    with pytest.raises(ImageError, match=r"400x120 pixels; expected three plates below each other"):
        align(np.zeros((120, 400), np.uint8))
    photograph("astronaut").save(tmp_path / "color.png")
    with pytest.raises(ImageError, match="in color; expected one gray column"):
        read_three_plates(tmp_path / "color.png", 10**6)
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    with pytest.raises(ImageError, match="unreadable"):
        read_three_plates(tmp_path / "page.jpg", 10**6)


@pytest.mark.slow
def test_all_committed_plates_are_aligned() -> None:
    """Each has been looked at: no border is left, and no edge has a rim of color but where something moved."""
    files = sorted((ROOT / "docs/historic/prokudin-gorskii").glob("*.jpg"))
    assert len(files) == 17
    for file in files:
        aligned = read_three_plates(file, 10**6)
        assert np.abs([aligned.blue, aligned.red]).max() < 10, file
        assert min(aligned.rgb.shape[:2]) > 290, file
