"""Files whose bytes have rotted, in which the decoders make up what is wrong without a word; and their other ends."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from pipeline.errors import CutOffError, ImageError
from pipeline.media.pictures import decode_picture
from tests.helpers import Array, noisy_photo, twotone

LIMIT = 10**6
JPEGS: list[dict[str, Any]] = [{}, {"subsampling": 0}, {"optimize": True}, {"quality": 75}, {"restart_marker_rows": 4}]


@pytest.fixture
def photograph(rng: np.random.Generator) -> Array:
    return noisy_photo(rng, 240, 320)


def encoded(pixels: Array, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def scan_of(content: bytes) -> tuple[int, int]:
    """Where the coded data of a JPEG of Pillow's begins and ends."""
    place = content.index(b"\xff\xda")
    return place + 2 + int.from_bytes(content[place + 2 : place + 4], "big"), len(content) - 2


@pytest.mark.parametrize("options", [*JPEGS, {"progressive": True}], ids=str)
def test_a_whole_jpeg_has_no_note(photograph: Array, options: dict[str, Any]) -> None:
    flat = np.full_like(photograph, 255)
    flat[:100] = photograph[:100]
    gray = photograph[..., 0]
    for pixels in (photograph, flat, np.full_like(photograph, 128), gray):
        content = encoded(pixels, "JPEG", **{"quality": 95, **options})
        for more in (b"", b"\0" * 1000, b"a trailer of a phone" * 20, content):
            assert decode_picture(content + more, LIMIT).notes == ()


@pytest.mark.parametrize("options", JPEGS[:4], ids=str)
def test_rotten_bytes_of_a_jpeg_are_noticed(photograph: Array, options: dict[str, Any]) -> None:
    """Of 30 files with 8 wrong bytes, most at high quality: at lower, most codes fall into step again."""
    content = encoded(photograph, "JPEG", **{"quality": 95, **options})
    begin, end = scan_of(content)
    whole, chance, told, wrong = decode_picture(content, LIMIT).pixels, random.Random(1), 0, 0
    for _ in range(30):
        rotten = bytearray(content)
        first = chance.randrange(begin, end - 600)
        rotten[first : first + 8] = chance.randbytes(8).replace(b"\xff", b"\0")
        picture = decode_picture(bytes(rotten), LIMIT, damaged=True)
        shows = picture.pixels.shape != whole.shape or np.abs(picture.pixels.astype(int) - whole).max() > 40
        wrong += shows
        told += shows and any("damaged" in note or "cut off" in note for note in picture.notes)
    assert wrong >= 25
    assert told >= (0.15 if options.get("quality") == 75 else 0.6) * wrong


def test_an_end_marker_in_the_midst_cuts_a_jpeg_off(photograph: Array) -> None:
    content = encoded(photograph, "JPEG", quality=95)
    begin, end = scan_of(content)
    rotten = bytearray(content)
    middle = (begin + end) // 2
    rotten[middle : middle + 2] = b"\xff\xd9"
    with pytest.raises(CutOffError, match=r"cut off after \d+% of its rows"):
        decode_picture(bytes(rotten), LIMIT)
    rows = len(decode_picture(bytes(rotten), LIMIT, damaged=True).pixels)
    assert 90 < rows < 150


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_a_tail_that_was_filled_up_is_missing(photograph: Array, fill: bytes, end: bytes) -> None:
    """As programs that copy from failing disks do: the file has its length, and its end is zeros."""
    content = encoded(photograph, "JPEG", quality=95)
    half = len(content) // 2
    filled = content[:half] + fill * (len(content) - half) + end
    with pytest.raises(CutOffError, match=r"cut off after \d+% of its rows"):
        decode_picture(filled, LIMIT)
    picture = decode_picture(filled, LIMIT, damaged=True)
    whole = decode_picture(content, LIMIT).pixels
    assert 80 < len(picture.pixels) < 160
    assert np.array_equal(picture.pixels, whole[: len(picture.pixels)])


def test_an_end_marker_after_a_cut_makes_no_whole_picture(photograph: Array) -> None:
    """Also behind the first half of 0xFF00, which would make a marker of what follows."""
    content = encoded(photograph, "JPEG", quality=95)
    after = [place + 1 for place in range(len(content) // 3, len(content) // 2) if content[place] == 0xFF][:8]
    assert len(after) == 8
    for place in after:
        with pytest.raises(CutOffError, match=r"cut off after \d+% of its rows"):
            decode_picture(content[:place] + b"\xff\xd9", LIMIT)
    whole = decode_picture(content[:-2] + b"\xff" * 5 + content[-2:], LIMIT)
    assert len(whole.pixels) == len(photograph)
    assert not whole.notes


def test_a_jpeg_whose_data_ends_in_zeros_is_whole() -> None:
    """A flat area, where the tables of a file call each block by zeros alone."""
    ends = 0
    photo = Image.fromarray(data.coffee()).convert("L").resize((320, 300), Image.Resampling.BICUBIC)
    for width in range(904, 936, 2):
        page = Image.new("L", (width, 900), 255)
        page.paste(photo, (300, 300))
        pixels = np.asarray(page)
        content = encoded(pixels, "JPEG", quality=75, optimize=True)
        ends += content.endswith(b"\0" * 8 + b"\xff\xd9")
        picture = decode_picture(content, LIMIT)
        assert picture.pixels.shape == pixels.shape
        assert not picture.notes
    assert ends, "one of them is such a file"


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", ["lzw", "adobe_deflate", None])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_strips_of_a_tiff_that_are_there_can_be_had(
    photograph: Array, bits: int, compression: str | None, planes: str
) -> None:
    samples = photograph if bits == 8 else photograph.astype(np.uint16) * 257
    stored = samples if planes == "contig" else samples.transpose(2, 0, 1)
    buffer = io.BytesIO()
    options: dict[str, Any] = {"compression": compression, "planarconfig": planes, "rowsperstrip": 16}
    tifffile.imwrite(buffer, stored, photometric="rgb", metadata=None, **options)
    content = buffer.getvalue()
    cut = content[: len(content) * 2 // 3]
    with pytest.raises(ImageError, match=r"cut off|unreadable"):
        decode_picture(cut, LIMIT)
    picture = decode_picture(cut, LIMIT, damaged=True)
    assert any("what was missing of it is" in note for note in picture.notes)
    assert picture.pixels.shape == samples.shape
    rows = slice(0, 128)
    channels = slice(0, 2 if planes == "separate" else 3)
    assert np.array_equal(picture.pixels[rows, :, channels], samples[rows, :, channels])


def test_deep_png_in_part(photograph: Array) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    content = imagecodecs.png_encode(photograph.astype(np.uint16) * 257)
    cut = content[: len(content) // 2]
    with pytest.raises(CutOffError, match="cut off or damaged"):
        decode_picture(cut, LIMIT)
    picture = decode_picture(cut, LIMIT, damaged=True)
    assert set(picture.notes) == {"what was missing of it is gray or black", "8 of its 16 bits were lost"}
    assert np.abs(picture.pixels[:80].astype(int) - photograph[:80]).max() <= 1


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_of_avif_and_heic_nothing_can_be_had(photograph: Array, kind: str) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    content = encoded(photograph, kind, quality=80)
    for damaged in (False, True):
        with pytest.raises(ImageError, match="cut off"):
            decode_picture(content[: len(content) // 2], LIMIT, damaged=damaged)


def test_twelve_bits_are_called_so_and_a_lossless_jpeg_is_read(photograph: Array) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    gray = photograph[..., 0]
    content = bytes(imagecodecs.jpeg_encode(gray.astype(np.uint16) * 16, bitspersample=12))
    with pytest.raises(ImageError) as refused:
        decode_picture(content, LIMIT)
    assert "a JPEG with 12 bits a sample, which is not decoded; save it with 8 bits" in str(refused.value)
    assert np.array_equal(decode_picture(bytes(imagecodecs.ljpeg_encode(gray)), LIMIT).pixels, gray)


def test_pipes_folders_and_links_among_the_names(tmp_path: Path, photograph: Array) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(photograph, "JPEG"))
    (tmp_path / "a-color.jpg").symlink_to("a.jpg")
    done = twotone(tmp_path, "colorize", "a.jpg")
    assert done.returncode == 2
    assert "choose the place of its copy with --out" in done.stderr
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.jpg").mkdir()
    done = twotone(tmp_path, "colorize", "a.jpg", "-o", "out")
    assert done.returncode == 1
    assert "failed: a.jpg: out/a.jpg" in done.stdout
    (tmp_path / "Mr. Smith 1935").write_bytes(encoded(photograph, "PNG"))
    done = twotone(tmp_path, "colorize", "Mr. Smith 1935", "-o", "named")
    assert [file.name for file in (tmp_path / "named").iterdir()] == ["Mr. Smith 1935.png"], done.stdout
    (tmp_path / "b.jfif").write_bytes(encoded(photograph, "JPEG"))
    done = twotone(tmp_path, "colorize", "b.jfif", "-o", "named")
    assert ".jfif photographs are written as .jpg" in done.stdout
    assert (tmp_path / "named/b.jpg").is_file()
