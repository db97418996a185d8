"""Mirrored, turned and interlaced films, made by FFmpeg and read as a player shows them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.media.video_io import Frame, VideoReader, open_reader

SIZE = (48, 64)


def write(
    path: Path,
    pictures: list[np.ndarray],
    codec: str = "libx264",
    turned: tuple[int, bool, bool] | None = None,
    **options: str,
) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options=options)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        if turned:
            video.set_display_rotation(*turned)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def read(path: Path) -> tuple[list[Frame], VideoReader]:
    with open_reader(path, 10**7) as reader:
        return list(reader.parts()), reader


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("down", [False, True])
def test_a_turned_and_mirrored_film_comes_out_as_players_show_it(
    tmp_path: Path, degrees: int, across: bool, down: bool
) -> None:
    """The header says: turn counterclockwise, then mirror. The program ffmpeg 9.0.2 gives these pixels, too."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = 255, 160, 80  # a level for each corner
    write(tmp_path / "clip.mp4", [picture] * 3, crf="5", turned=(degrees, across, down))
    expected = np.rot90(picture, degrees // 90)
    expected = expected[:, ::-1] if across else expected
    expected = expected[::-1] if down else expected
    (first, *_), _ = read(tmp_path / "clip.mp4")
    assert first.turned == (degrees in (90, 270))
    assert first.pixels.shape == expected.shape
    assert np.abs(first.pixels.astype(int) - expected).mean() < 3


def moving(line_times: float) -> list[np.ndarray]:
    """Ten frames of bars that move; each second line is `line_times` of a frame later, as a field is."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    bars = [((x + 8 * (number + line_times * (y % 2))) // 16 % 2) * 200 for number in range(10)]
    return [np.dstack([bar.astype(np.uint8)] * 3) for bar in bars]


def combs(frame: np.ndarray) -> float:
    """How far lines are from the mean of their neighbors."""
    gray = frame[4:-4, 4:-4, 0].astype(float)
    return float(np.abs(gray[1:-1] - (gray[:-2] + gray[2:]) / 2).mean())


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("clip.mp4", "libx264", {"crf": "5", "x264-params": "interlaced=1:tff=1"}),
    ("clip.avi", "mpeg4", {"flags": "+ildct+ilme", "qscale": "1", "g": "1"}),
])  # fmt: skip
def test_an_interlaced_film_is_deinterlaced(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    pictures = moving(0.5)
    write(tmp_path / name, pictures, codec=codec, **options)
    frames, reader = read(tmp_path / name)
    assert (len(frames), reader.deinterlacer.frames) == (10, 10)
    assert [float(frame.pts * frame.time_base) for frame in frames] == pytest.approx([0.04 * i for i in range(10)])
    # The first and the last frame lack a neighbor in time.
    assert min(combs(picture) for picture in pictures) > 40
    assert max(combs(frame.pixels) for frame in frames[1:-1]) < 10
    # One of the two fields is kept as it is.
    change = np.abs(frames[4].pixels.astype(int) - pictures[4])[4:-4, 4:-4]
    assert min(change[::2].mean(), change[1::2].mean()) < 4
    assert max(change[::2].mean(), change[1::2].mean()) > 30


def test_frames_that_are_not_interlaced_stay_as_they_are(tmp_path: Path) -> None:
    pictures = moving(0.0)
    write(tmp_path / "clip.mp4", pictures, crf="5")
    frames, reader = read(tmp_path / "clip.mp4")
    assert reader.deinterlacer.frames == 0
    with av.open(str(tmp_path / "clip.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24", src_colorspace=5) for frame in container.decode(video=0)]
    assert all(np.array_equal(frame.pixels, picture) for frame, picture in zip(frames, decoded, strict=True))
