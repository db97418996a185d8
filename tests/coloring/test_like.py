"""Colors of a reference picture, on photographs that the test draws and on one that ships with a package."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import rgb2gray, rgb2lab

from pipeline.coloring.hint_files import liked, read_reference
from pipeline.errors import HintError
from pipeline.inference import Colorizer, Hint, hints_like
from pipeline.inference.hints import color_of
from pipeline.types import Pixels
from tests.helpers import twotone


@pytest.fixture(scope="module")
def cat() -> Pixels:
    """A photograph of scikit-image's, 300x451."""
    return np.asarray(data.chelsea())


def mirrored(photograph: Pixels) -> Pixels:
    """Mirrored, cropped and darkened."""
    return np.ascontiguousarray((photograph[20:-10, ::-1][:, 30:-20] * 0.8).astype(np.uint8))


def test_its_own_colors_come_back(cat: Pixels) -> None:
    hints = hints_like(cat, mirrored(cat))
    assert 20 < len(hints) <= 300
    colorizer, true = Colorizer.load(), rgb2lab(cat)[..., 1:]
    errors = [np.abs(rgb2lab(colorizer(cat, hints=said))[..., 1:] - true).mean() for said in ((), hints)]
    assert errors[1] < 0.75 * errors[0]


def test_a_gray_photograph_is_matched_as_its_color_is(cat: Pixels) -> None:
    """The match looks at gray alone; an array, a PIL image and 16 bits are one."""
    gray = (rgb2gray(cat) * 255).round().astype(np.uint8)
    from_gray = {(one.x, one.y) for one in hints_like(gray, mirrored(cat))}
    from_color = {(one.x, one.y) for one in hints_like(cat, mirrored(cat))}
    assert len(from_gray & from_color) > 0.8 * len(from_color)
    assert hints_like(Image.fromarray(gray), Image.fromarray(mirrored(cat))) == hints_like(gray, mirrored(cat))
    assert hints_like(gray.astype(np.uint16) * 257, mirrored(cat)) == hints_like(gray, mirrored(cat))


def test_where_nothing_matches_nothing_is_taken(cat: Pixels) -> None:
    assert hints_like(cat, np.asarray(data.coffee())) == ()


def test_what_is_not_seen_of_a_reference_says_nothing(cat: Pixels, tmp_path: Path) -> None:
    reference = mirrored(cat)
    half = np.full(reference.shape[:2], 255, np.uint8)
    half[:, reference.shape[1] // 2 :] = 0
    hidden = reference.copy()
    hidden[half == 0] = (255, 0, 255)
    cut = Image.fromarray(np.dstack([hidden, half]))
    cut.save(tmp_path / "cut.png")
    found = hints_like(cat, cut)
    assert 5 < len(found) < len(hints_like(cat, reference))
    assert all(color_of(one.color)[0] < 60 for one in found)
    assert hints_like(cat, read_reference(tmp_path / "cut.png", 10**7)) == found
    cut.putalpha(0)
    with pytest.raises(HintError, match="the reference picture is transparent"):
        hints_like(cat, cut)
    with pytest.raises(TypeError, match="uint8 or uint16, got float64"):
        hints_like(cat / 255, reference)


def test_a_gray_reference_is_refused(cat: Pixels) -> None:
    with pytest.raises(HintError, match="the reference picture has no color"):
        hints_like(cat, (rgb2gray(cat) * 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(16, 30000), (30000, 16)])
def test_a_strip_is_compared_in_little_memory(cat: Pixels, size: tuple[int, int]) -> None:
    strip = np.asarray(Image.fromarray(cat).resize(size))
    assert len(hints_like(strip, cat)) <= 300
    assert len(hints_like(cat, strip)) <= 300


def test_what_somebody_says_is_never_cut_and_keeps_its_number(cat: Pixels) -> None:
    said = tuple(Hint(5, 5, "red") for _ in range(900))
    hints, note = liked(cat, mirrored(cat), "postcard.png", said)
    assert hints[-900:] == said
    assert len(hints) == 1000
    assert note.endswith("places have colors of postcard.png")
    with pytest.raises(HintError, match="hint 2: x is 5000, outside"):
        liked(cat, mirrored(cat), "postcard.png", (said[0], Hint(5000, 5, "red")))


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path, cat: Pixels) -> None:
    Image.fromarray(cat).convert("L").save(tmp_path / "gray.png")
    Image.fromarray(mirrored(cat)).save(tmp_path / "reference.png")
    Image.fromarray(np.asarray(data.coffee())).save(tmp_path / "coffee.png")
    (tmp_path / "gray.hints.json").write_text('[{"x": 5, "y": 5, "color": "red"}]', encoding="utf-8")
    done = twotone(tmp_path, "colorize", "gray.png", "--like", "reference.png", "-o", "out.png")
    assert done.returncode == 0, done.stderr
    assert "1 hint of gray.hints.json" in done.stdout
    assert "places have colors of reference.png" in done.stdout
    # What somebody says wins.
    corner = rgb2lab(np.asarray(Image.open(tmp_path / "out.png")))[2:8, 2:8, 1].mean()
    assert corner > 20
    done = twotone(tmp_path, "colorize", "gray.png", "--like", "coffee.png", "--no-hints", "-o", "again.png")
    assert "nothing matches coffee.png" in done.stdout
    plain = twotone(tmp_path, "colorize", "gray.png", "--no-hints", "-o", "plain.png")
    assert plain.returncode == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
    for words, sentence in (
        (("--like", "none.png"), "none.png: unreadable: No such file or directory"),
        (("--like", "gray.png", "--no-hints"), "the reference picture has no color"),
    ):
        refused = twotone(tmp_path, "colorize", "gray.png", *words, "-o", "refused.png")
        assert refused.returncode in (1, 2)
        assert sentence in refused.stderr + refused.stdout
    assert not (tmp_path / "refused.png").exists()


def crop(photograph: Pixels, number: int) -> Pixels:
    """A frame of a camera that moves over a photograph."""
    return np.ascontiguousarray(photograph[20 : 20 + 192, 4 * number : 4 * number + 288])


def film(path: Path, pictures: list[Pixels]) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10, options={"crf": "12"})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))


@pytest.mark.slow
def test_one_colored_frame_colors_a_film(tmp_path: Path, cat: Pixels) -> None:
    """Its tenth frame, in color, is the reference for all 30."""
    gray = np.repeat((rgb2gray(cat) * 255).round().astype(np.uint8)[..., None], 3, 2)
    film(tmp_path / "cat.mp4", [crop(gray, number) for number in range(30)])
    Image.fromarray(crop(cat, 10)).save(tmp_path / "frame.png")
    Image.fromarray(np.asarray(data.coffee())).save(tmp_path / "coffee.png")
    errors = {}
    for words in ((), ("--like", "frame.png"), ("--like", "coffee.png")):
        done = twotone(tmp_path, "colorize", "cat.mp4", "-o", "out.mp4", "--overwrite", *words)
        assert done.returncode == 0, done.stderr
        with av.open(str(tmp_path / "out.mp4")) as container:
            found = [rgb2lab(frame.to_ndarray(format="rgb24"))[..., 1:] for frame in container.decode(video=0)]
            assert ("colors of a reference picture" in container.metadata["comment"]) == bool(words)
        true = [rgb2lab(crop(cat, number))[..., 1:] for number in range(30)]
        errors[words] = [np.abs(one - other).mean() for one, other in zip(found, true, strict=True)]
        if words:
            said = "nothing in it matches" if "coffee.png" in words else "colors of frame.png where frames match"
            assert said in done.stdout
    plain, like, unlike = errors.values()
    assert np.mean(like) < 0.7 * np.mean(plain)
    assert like[29] < 0.8 * plain[29]
    assert unlike == plain
