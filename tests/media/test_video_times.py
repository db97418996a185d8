"""Clocks of real films: they begin anywhere, jump, go back, and say how long the last frame is shown."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.errors import VideoError
from pipeline.media.video_reader import Frame, is_colored_film, open_reader
from pipeline.media.video_writer import open_writer

RATE = 25


def write(path: Path, count: int = 25, first: int = 0, codec: str = "mpeg2video", **more: Any) -> None:
    """A film of growing brightness, with a tone beside it.

    Args:
        first: when it begins, seconds.
        more: curve: FFmpeg's number of the frames' curve; texts: what it says of itself; lasting: of its last frame,
            frames.
    """
    with av.open(str(path), "w") as container:
        container.metadata.update(more.get("texts", {}))
        video = container.add_stream(codec, rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 48, more.get("pixels", "yuv420p")
        video.codec_context.color_trc = more.get("curve", 2)
        sound = "mp2" if codec == "mpeg2video" else None
        audio = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        last: list[av.Packet] = []
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 + 7 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = number + first * RATE, Fraction(1, RATE)
            container.mux(last)
            last = video.encode(frame)
        last += video.encode(None)
        if "lasting" in more:
            last[-1].duration = round(more["lasting"] / RATE / last[-1].time_base)
        container.mux(last)
        for number in range(count * 1920 // 1152 if audio else 0):
            piece = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16", "mono")
            piece.sample_rate, piece.pts = 48000, number * 1152 + first * 48000
            container.mux(audio.encode(piece))
        if audio:
            container.mux(audio.encode(None))


def copy(source: Path, target: Path) -> tuple[list[Frame], int]:
    """The frames of a film as they are read, and how often its clock jumped; `target` becomes its copy."""
    with open_reader(source, 10**7) as reader, open_writer(target, reader, copies=True) as writer:
        frames = []
        for part in reader.parts():
            if isinstance(part, Frame):
                writer.add(part.pixels, part)
                frames.append(part)
            else:
                writer.copy(part)
        return frames, reader.jumps


def times(path: Path, kind: str) -> list[float]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return sorted(
            float(packet.pts * stream.time_base) for packet in container.demux(stream) if packet.pts is not None
        )


@pytest.mark.parametrize("ending", ["ts", "mpg", "vob"])
@pytest.mark.parametrize("second", [0, 100])
def test_a_clock_that_jumps_goes_on(tmp_path: Path, ending: str, second: int) -> None:
    """Two films joined into one file, as the program cat and old recorders do: back to the first time, or far ahead."""
    for part, first in (("a", 0), ("b", second)):
        write(tmp_path / f"{part}.{ending}", first=first)
    joined = tmp_path / f"joined.{ending}"
    joined.write_bytes(b"".join((tmp_path / f"{part}.{ending}").read_bytes() for part in "ab"))
    frames, jumps = copy(joined, tmp_path / "out.mkv")
    assert jumps >= 1
    shown = np.array([float(frame.pts * frame.time_base) for frame in frames])
    assert len(frames) >= 48
    assert shown[0] < 0.6  # a program stream buffers for half a second
    assert np.diff(shown).max() < 0.5
    assert (np.diff(shown) > 0).all()
    pictures, sound = times(tmp_path / "out.mkv", "video"), times(tmp_path / "out.mkv", "audio")
    assert len(pictures) == len(frames)
    assert pictures[-1] == pytest.approx(shown[-1], abs=0.002)
    assert sound[-1] == pytest.approx(pictures[-1], abs=0.5)


def test_a_clock_that_begins_anywhere_begins_at_0(tmp_path: Path) -> None:
    write(tmp_path / "late.ts", first=3600)
    _, jumps = copy(tmp_path / "late.ts", tmp_path / "out.mkv")
    assert not jumps
    assert times(tmp_path / "out.mkv", "video")[0] < 0.2


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_the_last_frame_is_shown_as_long_as_the_film_says(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"a.{ending}", count=10, codec="mpeg4", lasting=50)
    copy(tmp_path / f"a.{ending}", tmp_path / f"b.{ending}")
    for name in "ab":
        with av.open(str(tmp_path / f"{name}.{ending}")) as container:
            stream = container.streams.video[0]
            assert float(stream.duration * stream.time_base) == pytest.approx(9 / RATE + 2, abs=0.01)


@pytest.mark.parametrize(("curve", "name"), [(16, "HDR (PQ)"), (18, "HDR (HLG)"), (8, "linear light")])
def test_films_for_other_screens_are_refused(tmp_path: Path, curve: int, name: str) -> None:
    write(tmp_path / "a.mp4", codec="libx264", curve=curve)
    with pytest.raises(VideoError) as refused:
        copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert name in str(refused.value)
    assert "convert it" in str(refused.value)
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize(("ending", "codec"), [
    ("3g2", "mpeg4"), ("qt", "mjpeg"), ("mpe", "mpeg2video"), ("m2v", "mpeg2video"), ("m2t", "mpeg2video"),
    ("mod", "mpeg2video"), ("divx", "mpeg4"), ("f4v", "libx264"), ("ogm", "libtheora"), ("rm", "rv10"),
])  # fmt: skip
def test_further_endings_are_read(tmp_path: Path, ending: str, codec: str) -> None:
    as_written = {"3g2": "3gp", "qt": "mov", "mpe": "mpg", "m2t": "ts", "mod": "mpg", "divx": "avi", "f4v": "mp4",
                  "ogm": "ogv"}.get(ending, ending)  # fmt: skip
    made = tmp_path / f"made.{as_written}"
    if ending == "m2v":
        with av.open(str(made), "w", format="mpeg2video") as container:
            video = container.add_stream(codec, rate=RATE)
            video.width, video.height = 64, 48
            for _ in range(12):
                container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")))
            container.mux(video.encode(None))
    else:
        if codec not in av.codecs_available:
            pytest.skip(f"this FFmpeg cannot write {codec}")
        write(made, count=12, codec=codec, **({"pixels": "yuvj420p"} if codec == "mjpeg" else {}))
    source = made.rename(tmp_path / f"film.{ending}")
    frames, _ = copy(source, tmp_path / "out.mkv")
    assert len(frames) == 12


def test_texts_of_old_programs_for_windows_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", codec="mpeg4", texts={"title": "Gr\u00fc\u00dfe"})
    content = (tmp_path / "a.avi").read_bytes()
    old = tmp_path / "old.avi"
    old.write_bytes(content.replace("Gr\u00fc\u00dfe".encode(), "Gr\u00fc\u00dfe".encode("cp1252") + b"\0\0"))
    copy(old, tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert container.metadata["title"] == "Gr\u00fc\u00dfe"


def test_what_a_film_says_of_itself_is_kept_or_named(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", codec="mpeg4", texts={"genre": "news", "location": "+48-2/", "title": "Station"})
    with open_reader(tmp_path / "a.mkv", 10**7) as reader, open_writer(tmp_path / "b.mp4", reader, True, "x") as writer:
        for frame in reader.parts():
            writer.add(frame.pixels, frame)
        assert list(writer.left_out) == ["its text LOCATION cannot be kept in this format"]
    copy(tmp_path / "a.mkv", tmp_path / "c.mkv")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert {"genre": "news", "title": "Station", "comment": "x"}.items() <= container.metadata.items()
    with av.open(str(tmp_path / "c.mkv")) as container:
        assert container.metadata["LOCATION"] == "+48-2/"


@pytest.mark.parametrize("content", [b"", b"RIFF\0\0\0\0AVI nothing", b"\x1aE\xdf\xa3" * 9, b"\0\0\1\xba"])
def test_what_is_no_film_has_not_been_colored(tmp_path: Path, content: bytes) -> None:
    for ending in ("avi", "mkv", "mp4", "mpg"):
        file = tmp_path / f"a.{ending}"
        file.write_bytes(content)
        assert not is_colored_film(file)
        with pytest.raises(VideoError, match=r"unreadable|empty|no pictures"), open_reader(file, 10**7):
            pass
