"""Mirrored, turned and interlaced films, made by FFmpeg and read as a player shows them."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.media import video_writer
from pipeline.media.video_reader import Frame, VideoReader, open_reader
from pipeline.media.video_writer import open_writer

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


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_film_of_photographs_with_exif_is_read(tmp_path: Path, orientation: int) -> None:
    """As of a time-lapse whose JPEG files became a film as they are; PyAV does not know FFmpeg's side data EXIF."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = 255, 160, 80
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(buffer, "JPEG", quality=98, exif=exif)
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        for number in range(2):
            packet = av.Packet(buffer.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = video, number, number, Fraction(1, 25)
            container.mux(packet)
    (first, _), _ = read(tmp_path / "clip.mkv")
    expected = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    assert first.pixels.shape == expected.shape
    assert np.abs(first.pixels.astype(int) - expected).mean() < 3


def test_gray_of_sixteen_bits_is_read_in_its_own_order(tmp_path: Path) -> None:
    """PNG has the high byte first."""
    ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(">u2")
    with av.open(str(tmp_path / "clip.mov"), "w") as container:
        video = container.add_stream("png", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "gray16be"
        frame = av.VideoFrame(64, 48, "gray16be")
        rows = np.zeros((48, frame.planes[0].line_size // 2), ">u2")
        rows[:, :64] = ramp
        frame.planes[0].update(rows.tobytes())
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(video.encode(frame))
        container.mux(video.encode(None))
    (first,), _ = read(tmp_path / "clip.mov")
    assert np.abs(first.pixels[..., 0] - ramp.astype(float) / 257).max() < 1


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


LIMITED, FULL = 1, 2
FORMATS = [
    *("yuv420p", "yuv422p", "yuv444p", "yuva420p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv420p16le"),
    *("gray", "gray10le", "gray12le", "gray16le"),
]


def gray_film(path: Path, form: str, coded: np.ndarray, matrix: int, range_: int) -> None:
    """A film without loss of three frames whose (H, W) lumas are these, and whose chroma is neutral."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.height, video.width = coded.shape
        video.pix_fmt = form
        video.codec_context.colorspace, video.codec_context.color_range = matrix, range_
        for number in range(3):
            frame = av.VideoFrame(coded.shape[1], coded.shape[0], form)
            bits = frame.format.components[0].bits
            kind = np.dtype(np.uint8 if bits <= 8 else "<u2")
            for place, plane in enumerate(frame.planes):
                alpha = len(frame.planes) == 4 and place == 3
                rows = np.full(
                    (plane.height, plane.line_size // kind.itemsize), 2**bits - 1 if alpha else 2 ** (bits - 1)
                )
                if not place:
                    rows[:, : coded.shape[1]] = coded
                plane.update(rows.astype(kind).tobytes())
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frame.colorspace, frame.color_range = matrix, range_
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("range_", [LIMITED, FULL])
def test_films_come_out_as_bright_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, matrix: int, range_: int
) -> None:
    """H of the cases: FFmpeg's quick converter darkened 8 bits by 0.6 and 10 bits by 1.6 of 255 levels."""
    monkeypatch.setitem(video_writer._ENCODER, "crf", "0")  # what x264 rounds is another matter
    bits = max(part.bits for part in av.VideoFormat(form, 16, 16).components)
    # Not noise, whose mean the encoder moves.
    shares = np.add.outer(np.linspace(0.05, 0.3, 96), np.linspace(0, 0.65, 128))
    low, high = (16 << (bits - 8), 235 << (bits - 8)) if range_ == LIMITED else (0, 2**bits - 1)
    coded = np.round(low + shares * (high - low))
    gray_film(tmp_path / "in.mkv", form, coded, matrix, range_)
    true = (coded - low) / (high - low)
    with open_reader(tmp_path / "in.mkv", 10**6) as reader, open_writer(tmp_path / "out.mkv", reader, False) as writer:
        for part in reader.parts():
            assert isinstance(part, Frame)
            assert abs((part.pixels / 255 - true[..., None]).mean()) * 255 < 0.1
            assert np.ptp(part.pixels.astype(int), axis=2).max() <= 1
            writer.add(part.pixels, part)
    with av.open(str(tmp_path / "out.mkv")) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            assert abs((luma - (16 + 219 * true)).mean()) < 0.1
