"""Files that lack their end: whole pictures are colored with a note, parts where somebody asks for them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ImageError
from pipeline.media.pictures import decode_picture
from tests.helpers import Array, noisy_photo, twotone

LIMIT = 10**6


@pytest.fixture
def photograph(rng: np.random.Generator) -> Array:
    return noisy_photo(rng, 160, 200)


def encoded(pixels: Array, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


JPEGS = [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"optimize": True}, {"gray": True}]


@pytest.mark.parametrize("options", JPEGS, ids=lambda options: "-".join(options) or "plain")
def test_a_jpeg_that_lacks_only_its_end_marker_is_whole(photograph: Array, options: dict[str, object]) -> None:
    """B of the cases: refused, and every viewer shows it."""
    pixels = photograph[..., 0] if "gray" in options else photograph
    content = encoded(pixels, "JPEG", quality=95, **{k: v for k, v in options.items() if k != "gray"})
    whole = decode_picture(content, LIMIT).pixels
    for cut in (content[:-2], content[:-1], content[:-2] + b"\0" * 100):
        picture = decode_picture(cut, LIMIT)
        assert np.array_equal(picture.pixels, whole)
        # Of some, the decoder has all rows before it looks for the end.
        assert picture.notes in ((), ("its end marker was missing",))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("options", JPEGS[:4], ids=lambda options: "-".join(options) or "plain")
def test_of_a_jpeg_that_is_cut_off_the_rows_that_are_there_can_be_had(
    photograph: Array, options: dict[str, object], share: float
) -> None:
    content = encoded(photograph, "JPEG", quality=95, **options)
    whole = decode_picture(content, LIMIT).pixels
    cut = content[: int(len(content) * share)]
    with pytest.raises(ImageError, match="cut off"):
        decode_picture(cut, LIMIT)
    picture = decode_picture(cut, LIMIT, damaged=True)
    rows = len(picture.pixels)
    if "progressive" in options:
        assert picture.pixels.shape == whole.shape
        assert picture.notes == ("what was missing of it is gray or black",)
        # Coarse, but the photograph.
        assert np.abs(picture.pixels.astype(int) - whole).mean() < 40
    else:
        assert abs(rows - share * 160) < 40
        assert np.array_equal(picture.pixels, whole[:rows])
        assert picture.notes == (f"it is cut off: only the first {rows / 160:.0%} of its rows are there",)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_of_other_formats_too(photograph: Array, kind: str) -> None:
    content = encoded(photograph, kind, **({"interlace": 0} if kind == "GIF" else {}))
    cut = content[: len(content) * 2 // 3]
    with pytest.raises(ImageError, match=r"cut off or damaged|unreadable"):
        decode_picture(cut, LIMIT)
    if kind == "TIFF":
        return  # its directory lies at the end
    picture = decode_picture(cut, LIMIT, damaged=True)
    assert picture.pixels.shape == photograph.shape
    assert picture.notes == ("what was missing of it is gray or black",)
    reference = decode_picture(content, LIMIT).pixels
    part = slice(80, None) if kind == "BMP" else slice(0, 60)  # BMP begins with its last row
    assert np.array_equal(picture.pixels[part], reference[part])


def test_a_png_without_its_last_chunk_is_whole(photograph: Array) -> None:
    content = encoded(photograph, "PNG")
    picture = decode_picture(content[:-12], LIMIT)
    assert np.array_equal(picture.pixels, photograph)


def test_on_the_command_line(tmp_path: Path, photograph: Array) -> None:
    content = encoded(photograph, "JPEG", quality=95)
    (tmp_path / "end.jpg").write_bytes(content[:-2])
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "nothing.jpg").write_bytes(content[:700])
    done = twotone(tmp_path, "colorize", "end.jpg", "cut.jpg", "-o", "colored")
    assert done.returncode == 1
    assert "end.jpg: 200x160 -> colored/end.jpg" in done.stdout
    assert "failed: cut.jpg: cut off after" in done.stdout
    assert "--damaged colors what is there" in done.stdout
    done = twotone(tmp_path, "colorize", "cut.jpg", "nothing.jpg", "-o", "colored", "--damaged")
    assert "of its rows are there" in done.stdout
    assert Image.open(tmp_path / "colored/cut.jpg").width == 200
