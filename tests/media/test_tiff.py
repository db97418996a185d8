"""Every sample format that a TIFF can state is read at its scale, or refused in words. Oracle: tifffile, arithmetic."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import ImageError
from pipeline.inference.colorizer import Colorizer
from pipeline.media.pictures import Picture, decode_picture
from pipeline.sampling.photographs import decode
from tests.helpers import Array

LIMIT = 10**6
GRAY = np.add.outer(np.linspace(0, 60, 48), np.linspace(20, 190, 64)) / 255
COLOR = np.stack([GRAY, GRAY[::-1] * 0.8 + 0.1, 1 - GRAY], -1)


def stored(shares: Array, bits: int) -> Array:
    """Shares of white as integers."""
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    return np.round(shares * (2**bits - 1)).astype(kind)


def written(samples: Array, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


def shares(picture: Picture) -> Array:
    return picture.pixels / np.iinfo(picture.pixels.dtype).max


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("meaning", ["minisblack", "miniswhite", "rgb"])
def test_any_number_of_bits(bits: int, meaning: str) -> None:
    """Packed, without a gap between samples: A of the cases was 12 bits, and nearly black."""
    true = COLOR if meaning == "rgb" else GRAY
    options = {} if bits in (8, 16) else {"bitspersample": bits}
    if meaning == "rgb":
        options["planarconfig"] = "contig"
    picture = decode_picture(
        written(stored(1 - true if meaning == "miniswhite" else true, bits), photometric=meaning, **options), LIMIT
    )
    assert picture.lost == ()
    assert picture.pixels.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert np.abs(shares(picture) - true).max() <= 0.5 / (2**bits - 1) + 1 / 255


@pytest.mark.parametrize("meaning", [0, 1])
def test_one_bit(tmp_path: Path, meaning: int) -> None:
    line_art = Image.fromarray(GRAY > 0.4)
    line_art.save(tmp_path / "in.tif", tiffinfo={262: meaning}, compression="group4" if meaning else None)
    assert np.array_equal(decode_picture((tmp_path / "in.tif").read_bytes(), LIMIT).pixels, (GRAY > 0.4) * 255)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize(
    "extra",
    [[], ["unspecified"], ["assocalpha"], ["unassalpha"], ["unspecified"] * 2, ["unassalpha", "unspecified"]],
    ids=lambda names: "+".join(names) or "none",
)
@pytest.mark.parametrize("meaning", ["minisblack", "rgb"])
def test_extra_samples(byteorder: Any, planes: str, bits: int, predictor: bool, extra: list[str], meaning: str) -> None:
    """Infrared (unspecified) is said and left out, transparency kept, and color that it was multiplied into divided."""
    colors = GRAY[..., None] if meaning == "minisblack" else COLOR
    second = np.where(np.arange(48)[:, None] < 24, 0.75, 0.5) * np.ones_like(GRAY)
    multiplied = colors * second[..., None] if "assocalpha" in extra else colors
    samples = stored(np.concatenate([multiplied, *[second[..., None]] * len(extra)], -1), bits).squeeze()
    options: dict[str, Any] = {"extrasamples": extra} if extra else {}
    if samples.ndim == 3:
        options["planarconfig"] = planes
        samples = np.moveaxis(samples, -1, 0) if planes == "separate" else samples
    content = written(samples, photometric=meaning, compression="adobe_deflate", predictor=predictor,
                      byteorder=byteorder, **options)  # fmt: skip
    picture = decode_picture(content, LIMIT)
    assert np.abs(shares(picture) - colors.squeeze()).max() < (0.02 if "assocalpha" in extra else 0.005)
    transparent = [name for name in extra[:1] if name != "unspecified"]
    if transparent:
        assert picture.alpha is not None
        assert np.abs(picture.alpha / np.iinfo(picture.alpha.dtype).max - second).max() < 0.005
    else:
        assert picture.alpha is None
    first = colors.shape[-1] + 1
    lost = [first + number for number in range(len(extra)) if number or not transparent]
    assert picture.lost == tuple(
        f"its channel {number}, which is neither color nor transparency (infrared, perhaps)," for number in lost
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("extra", [False, True])
def test_inks(bits: int, planes: str, extra: bool) -> None:
    inks = np.concatenate([1 - COLOR, np.zeros((*GRAY.shape, 1 + extra))], -1)
    samples = stored(inks, bits)
    options: dict[str, Any] = {"extrasamples": ["unspecified"]} if extra else {}
    content = written(np.moveaxis(samples, -1, 0) if planes == "separate" else samples, photometric="separated",
                      planarconfig=planes, **options)  # fmt: skip
    picture = decode_picture(content, LIMIT)
    assert np.abs(shares(picture) - COLOR).max() < 0.01
    assert ("8 of its 16 bits" in picture.lost) == (bits == 16)


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "u4", "f2", "f4", "f8", "c8"])
@pytest.mark.parametrize("meaning", ["minisblack", "rgb"])
def test_numbers_without_a_white_are_refused(tmp_path: Path, kind: str, meaning: str) -> None:
    samples = ((COLOR if meaning == "rgb" else GRAY) * 100).astype(kind)
    (tmp_path / "in.tif").write_bytes(written(samples, photometric=meaning))
    reason = "whose scale is not known; save it with 8 or 16 bits in RGB or gray"
    with pytest.raises(ImageError, match=reason):
        decode_picture((tmp_path / "in.tif").read_bytes(), LIMIT)
    with pytest.raises(ImageError, match=reason):
        decode(tmp_path / "in.tif", LIMIT)


@pytest.mark.parametrize(("meaning", "reason"), [
    (4, "a TIFF of a mask"),
    (32803, "a TIFF of raw data of a camera"),
    (32844, "a TIFF of light without a white"),
    (12345, "a TIFF of an unknown kind"),
])  # fmt: skip
def test_what_is_no_picture_is_refused(meaning: int, reason: str) -> None:
    content = written(stored(GRAY, 8), photometric="minisblack")
    entry = struct.pack("<HHI", 262, 3, 1)
    place = content.index(entry) + len(entry)
    with pytest.raises(ImageError, match=reason):
        decode_picture(content[:place] + struct.pack("<H", meaning) + content[place + 2 :], LIMIT)


@pytest.mark.parametrize("types", [(1, 0), (1, None), (None, None), ("old", None)])
def test_the_photograph_is_the_page_whose_type_says_so_or_the_largest(types: tuple[Any, Any]) -> None:
    """F of the cases: its thumbnail came out."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for samples, kind in zip((stored(GRAY[::2, ::2], 8), stored(GRAY, 8)), types, strict=True):
            old = {"extratags": [(255, "H", 1, 2, True)]} if kind == "old" else {}
            file.write(samples, photometric="minisblack", subfiletype=kind if isinstance(kind, int) else 0,
                       metadata=None, **old)  # fmt: skip
    picture = decode_picture(buffer.getvalue(), LIMIT)
    assert np.array_equal(picture.pixels, stored(GRAY, 8))
    assert picture.lost == (("1 further page",) if types == (None, None) else ())


def test_the_photograph_may_lie_below_its_small_copy() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(stored(GRAY[::4, ::4], 8), photometric="minisblack", subfiletype=1, subifds=1, metadata=None)
        file.write(stored(GRAY, 16), photometric="minisblack", subfiletype=0, metadata=None)
    picture = decode_picture(buffer.getvalue(), LIMIT)
    assert np.array_equal(picture.pixels, stored(GRAY, 16))


def test_pages_in_a_circle_end() -> None:
    content = bytearray(written(stored(GRAY, 8), photometric="minisblack"))
    directory = struct.unpack("<I", content[4:8])[0]
    count = struct.unpack("<H", content[directory : directory + 2])[0]
    content[directory + 2 + 12 * count :][:4] = struct.pack("<I", directory)
    end = directory + 2 + 12 * count
    content[end : end + 4] = struct.pack("<I", directory)
    assert np.array_equal(decode_picture(bytes(content), LIMIT).pixels, stored(GRAY, 8))


def test_tags_are_taken_over_from_what_pillow_does_not_open() -> None:
    content = written(stored(GRAY, 12), photometric="minisblack", bitspersample=12, description="a street",
                      resolution=(118.11, 118.11), resolutionunit="CENTIMETER",
                      extratags=[(274, "H", 1, 6, True), (700, "B", 4, b"<x/>", True)])  # fmt: skip
    picture = decode_picture(content, LIMIT)
    assert picture.pixels.shape == (64, 48), "turned by its orientation"
    assert picture.dpi == pytest.approx((300, 300), rel=1e-3)
    assert picture.xmp == b"<x/>"
    tags = Image.Exif()
    tags.load(picture.exif)
    assert tags[0x010E] == "a street"


def test_a_tiff_that_pillow_misreads_is_no_image_to_color(tmp_path: Path, model: Path) -> None:
    (tmp_path / "in.tif").write_bytes(written(stored(GRAY, 12), photometric="minisblack", bitspersample=12))
    colorizer = Colorizer.load(model)
    with (
        Image.open(tmp_path / "in.tif") as image,
        pytest.raises(ImageError, match="a kind of TIFF that Pillow does not read right"),
    ):
        colorizer(image)


@pytest.mark.parametrize("deep", [False, True])
def test_palettes_of_8_and_16_bits(deep: bool, rng: np.random.Generator) -> None:
    """TIFF 6.0 asks for 16 bits; some programs write 8, which came out black."""
    colors = rng.integers(0, 256, (3, 256)).astype(np.uint16)
    index = rng.integers(0, 256, (48, 64)).astype(np.uint8)
    content = written(index, photometric="palette", colormap=colors * 257 if deep else colors)
    picture = decode_picture(content, LIMIT)
    assert np.array_equal(picture.pixels, colors.T.astype(np.uint8)[index])


@pytest.mark.parametrize("compression", [None, "lzw", "adobe_deflate"])
def test_ycbcr_is_read_or_refused_in_words(compression: str | None) -> None:
    image = Image.fromarray((COLOR * 255).astype(np.uint8))
    content = written(np.asarray(image.convert("YCbCr")), photometric="ycbcr", compression=compression)
    tag = b"\x12\x02\x03\0\x02\0\0\0"  # YCbCrSubSampling, two numbers of 16 bits
    place = content.index(tag) + len(tag)
    whole, halved = (content[:place] + bytes([n, 0, n, 0]) + content[place + 4 :] for n in (1, 2))
    assert np.abs(decode_picture(whole, LIMIT).pixels.astype(int) - np.asarray(image)).max() <= 3
    for damaged in (False, True):
        with pytest.raises(ImageError, match="fewer samples of color than of light"):
            decode_picture(halved, LIMIT, damaged=damaged)


def test_ycbcr_of_jpeg_is_read() -> None:
    image, buffer = Image.fromarray((COLOR * 255).astype(np.uint8)), io.BytesIO()
    image.save(buffer, "TIFF", compression="jpeg", quality=95)
    assert np.abs(decode_picture(buffer.getvalue(), LIMIT).pixels.astype(int) - np.asarray(image)).mean() < 3


@pytest.mark.parametrize("compression", ["jpeg2000", "jpegxl", "png", "webp", "zstd", "lerc"])
@pytest.mark.parametrize("gray", [False, True])
def test_rare_compressions_are_read(compression: str, gray: bool) -> None:
    samples = stored(GRAY if gray else COLOR, 8)
    options = {"compressionargs": {"lossless": True}} if compression in ("jpegxl", "webp") else {}
    try:
        content = written(samples, photometric="minisblack" if gray else "rgb", compression=compression, **options)
    except Exception as error:  # of webp, which has no gray
        pytest.skip(f"cannot be written here: {error}")
    difference = np.abs(decode_picture(content, LIMIT).pixels.astype(int) - samples)
    assert difference.max() <= 2
