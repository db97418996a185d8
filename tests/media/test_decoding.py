from __future__ import annotations

import hashlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ImageError
from pipeline.sampling.draw import resize_to_square
from pipeline.sampling.photographs import decode

LIMIT = 10_000


def big(pixels: np.ndarray) -> np.ndarray:
    """Each pixel 20 x 20: files under 16 pixels are rejected."""
    return pixels.repeat(20, 0).repeat(20, 1)


def read(path: Path) -> np.ndarray:
    """The pixels that big() enlarged."""
    return decode(path, LIMIT).pixels[::20, ::20]


def test_a_large_jpeg_is_decoded_smaller_and_resized_looks_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((1600, 1200), Image.Resampling.BICUBIC))
    grainy = (smooth + rng.integers(-20, 20, (1200, 1600, 1))).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grainy).save(tmp_path / "large.jpg", quality=90, exif=exif)
    whole, small = (decode(tmp_path / "large.jpg", 10**7, side) for side in (0, 128))
    assert (whole.width, whole.height) == (small.width, small.height) == (1200, 1600)
    assert whole.pixels.shape == (1600, 1200, 3)
    assert small.pixels.shape == (400, 300, 3)
    resized = [resize_to_square(found.image, 128, "crop").astype(int) for found in (whole, small)]
    assert np.abs(resized[0] - resized[1]).max() <= 4


def test_pixels_and_checksum_of_a_png(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    decoded = decode(path, LIMIT)
    assert np.array_equal(decoded.pixels, pixels)
    assert decoded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((2, 3, 3), np.uint8)
    upright[0, 0] = 255
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(big(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(tmp_path / "a.png"), upright)


def test_modes_are_converted_by_the_stated_rule(tmp_path: Path) -> None:
    sixteen = np.array([[0, 0x1234, 0xFFFF]], np.uint16)
    Image.fromarray(big(sixteen)).save(tmp_path / "sixteen.png")
    assert read(tmp_path / "sixteen.png")[0, :, 0].tolist() == [0, 0x12, 0xFF]

    see_through = np.array([[[200, 0, 0, 0], [200, 0, 0, 255]]], np.uint8)
    Image.fromarray(big(see_through)).save(tmp_path / "alpha.png")
    assert read(tmp_path / "alpha.png").tolist() == [[[255, 255, 255], [200, 0, 0]]]

    palette = Image.new("P", (20, 20))
    palette.putpalette([10, 20, 30] * 256)
    palette.save(tmp_path / "palette.gif")
    assert read(tmp_path / "palette.gif").tolist() == [[[10, 20, 30]]]

    Image.new("CMYK", (32, 32), (255, 0, 0, 0)).save(tmp_path / "cmyk.jpg")
    red, green, blue = decode(tmp_path / "cmyk.jpg", LIMIT).pixels[0, 0].tolist()
    assert red < 10
    assert min(green, blue) > 245


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert decode(tmp_path / "a.gif", LIMIT).pixels[0, 0].tolist() == [255, 0, 0]


def forged_png(width: int, height: int) -> bytes:
    """A header that claims a large picture, and no data."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "empty file"),
        ("page.jpg", b"<!doctype html><html></html>", "unreadable: none of JPEG, PNG"),
        ("bomb.png", forged_png(60_000, 60_000), "60000x60000 is over 10000"),
        ("vector.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unreadable"),
    ],
)
def test_what_is_no_photograph_is_rejected_with_a_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        decode(tmp_path / name, LIMIT)


def test_a_photograph_that_ends_in_zeros_is_rejected(tmp_path: Path, rng: np.random.Generator) -> None:
    """As an interrupted download or a recovered disk leaves it: libjpeg makes the rest gray without a word."""
    path = tmp_path / "a.jpg"
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2 - 2) + b"\xff\xd9")
    for side in (0, 16):
        with pytest.raises(ImageError, match="cut off after"):
            decode(path, LIMIT, side)
    Image.new("RGB", (96, 96), "white").save(path)  # whose data is zeros, too
    assert decode(path, LIMIT, 64).width == 96


def test_a_truncated_photograph_is_rejected(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(ImageError, match="cut off after 73% of its rows"):
        decode(path, LIMIT)


@pytest.mark.parametrize(
    ("size", "reason"),
    [((15, 40), "too small: 15x40"), ((16, 400), "too long: 16x400"), ((200, 51), "too many pixels: 200x51")],
)
def test_shapes_nothing_can_be_learnt_from_are_rejected(tmp_path: Path, size: tuple[int, int], reason: str) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=reason):
        decode(tmp_path / "a.png", LIMIT)


def test_a_file_far_larger_than_its_pixels_need_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageError, match="too many bytes"):
        decode(tmp_path / "a.jpg", LIMIT)


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        decode(tmp_path / "pipe.jpg", LIMIT)
