"""Photographs of phones: HEIC and AVIF, read by the one decoder of sampling, coloring and the page."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from pipeline.errors import ImageError
from pipeline.media.pictures import read_picture
from pipeline.media.writing import copy_ending
from pipeline.sampling.folder import folder
from pipeline.sampling.photographs import decode
from tests.helpers import Array, noisy_photo

LIMIT = 100_000


def heic(pixels: Array, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=-1, chroma=444, **options)
    return buffer.getvalue()


def avif(pixels: Array, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "AVIF", quality=100, subsampling="4:4:4", **options)
    return buffer.getvalue()


WRITERS = {"heic": heic, "avif": avif}


@pytest.mark.parametrize("ending", WRITERS)
def test_pixels_and_what_belongs_to_a_photograph(tmp_path: Path, ending: str, rng: np.random.Generator) -> None:
    """Upright: phones write the sensor's pixels and how they are turned."""
    pixels, exif = noisy_photo(rng), Image.Exif()
    exif[0x010F], exif[0x0112] = "A phone", 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    (tmp_path / f"a.{ending}").write_bytes(WRITERS[ending](pixels, exif=exif.tobytes(), xmp=xmp))
    decoded, picture = decode(tmp_path / f"a.{ending}", LIMIT), read_picture(tmp_path / f"a.{ending}", LIMIT)
    upright = np.rot90(pixels, -1).astype(int)
    assert np.abs(picture.pixels - upright).max() <= 3
    assert np.array_equal(decoded.pixels, picture.pixels)
    assert (decoded.width, decoded.height) == (90, 121)
    kept = Image.Exif()
    kept.load(picture.exif)
    assert kept[0x010F] == "A phone"
    assert kept.get(0x0112, 1) == 1
    assert (picture.xmp, picture.lost) == (xmp, ())
    (candidate,) = folder(tmp_path)
    assert np.array_equal(candidate.reader(candidate.file, LIMIT, 32).pixels, decoded.pixels)


@pytest.mark.parametrize("ending", WRITERS)
def test_profiles_of_phones_are_converted(tmp_path: Path, ending: str, rng: np.random.Generator) -> None:
    pixels, profile = noisy_photo(rng), imagecodecs.cms_profile("adobergb")
    (tmp_path / f"a.{ending}").write_bytes(WRITERS[ending](pixels, icc_profile=profile))
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    found, expected = (read_picture(tmp_path / f"a.{name}", LIMIT).pixels.astype(int) for name in (ending, "png"))
    assert np.abs(found - expected).mean() < 1.5
    assert np.abs(found - pixels).mean() > 3


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("ending", WRITERS)
def test_more_bits_become_eight_and_that_is_said(
    tmp_path: Path, ending: str, bits: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noisy_photo(rng, 48, 64)
    if ending == "avif":
        samples = pixels.astype(np.uint16) << (bits - 8)
        content = bytes(imagecodecs.avif_encode(samples, level=100, bitspersample=bits))
    else:
        monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
        deep, buffer = (pixels.astype(np.uint16) * 257).tobytes(), io.BytesIO()
        pillow_heif.from_bytes(mode="RGB;16", size=(64, 48), data=deep).save(buffer, quality=-1, chroma=444)
        content = buffer.getvalue()
    (tmp_path / f"a.{ending}").write_bytes(content)
    picture = read_picture(tmp_path / f"a.{ending}", LIMIT)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= 3
    assert picture.lost == (f"{bits - 8} of its {bits} bits",)


def test_the_main_picture_of_several_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """A burst may have its main picture in the middle; and cameras put a small copy beside it."""
    several, pixels = pillow_heif.HeifFile(), [noisy_photo(rng) for _ in range(3)]
    for each in pixels:
        several.add_from_pillow(Image.fromarray(each))
    several.save(tmp_path / "a.heic", quality=-1, chroma=444, primary_index=1)
    assert np.abs(decode(tmp_path / "a.heic", LIMIT).pixels.astype(int) - pixels[1]).max() <= 3
    image = pillow_heif.from_pillow(Image.fromarray(noisy_photo(rng, 400, 480)))
    image.save(tmp_path / "b.heic", quality=90, thumbnails=[64])
    assert decode(tmp_path / "b.heic", 10**6, side=16).pixels.shape == (400, 480, 3)


def test_without_the_extra_one_sentence_says_what_to_type(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ending, write in WRITERS.items():
        (tmp_path / f"a.{ending}").write_bytes(write(noisy_photo(rng)))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for reader in (decode, read_picture):
        with pytest.raises(ImageError, match=r"^HEIC photographs need pillow-heif; .* `uv sync --extra heic`"):
            reader(tmp_path / "a.heic", LIMIT)
        reader(tmp_path / "a.avif", LIMIT)


@pytest.mark.parametrize("ending", WRITERS)
def test_bounds_and_damage(tmp_path: Path, ending: str, rng: np.random.Generator) -> None:
    content = WRITERS[ending](noisy_photo(rng))
    (tmp_path / f"a.{ending}").write_bytes(content)
    with pytest.raises(ImageError, match="too many pixels: 121x90 is over"):
        decode(tmp_path / f"a.{ending}", 100)
    for size in (20, 200, len(content) - 900):
        (tmp_path / f"a.{ending}").write_bytes(content[:size])
        with pytest.raises(ImageError, match="unreadable"):
            decode(tmp_path / f"a.{ending}", LIMIT)


def test_what_a_copy_is_called() -> None:
    names = {".JPG": "jpg", ".tiff": "tiff", ".heic": "jpg", ".HEIF": "jpg", ".avif": "jpg", ".gif": "png", "": "png"}
    assert {suffix: copy_ending(suffix) for suffix in names} == names
