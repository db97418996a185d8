"""Subtitles in real films, made by FFmpeg and read back by it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.subtitles.subtitle import SubtitleSet

from pipeline.media.video_reader import Frame, open_reader
from pipeline.media.video_writer import open_writer

HEADER = b"""[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, Alignment\r
Style: Default,Arial,16,&Hffffff,0,0,2\r\n\r\n[Events]\r
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"""
TEXTS = ("one", "Zwei\nZeilen", "\u4e09 \u00fcber")
TIMES = (0.2, 1.2, 2.2)
LENGTH = 0.6


def write(path: Path, subtitles: str | None, sound: str | None = None) -> None:
    """A film of three seconds with subtitles in German and a font, as far as its container holds them."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        packets, pictures = [], []
        if subtitles == "hdmv_pgs_subtitle":
            # FFmpeg writes none of these: packets without a picture, an end of display each.
            stream = container.add_mux_stream(subtitles)
            packets = [av.Packet(b"\x80\x00\x00") for _ in TIMES]
        elif subtitles:
            stream = container.add_stream(subtitles)
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.codec_context.subtitle_header = HEADER
        if subtitles:
            stream.metadata["language"] = "deu"
        if path.suffix == ".mkv":
            container.add_attachment("font.ttf", "application/x-truetype-font", b"font")
        audio = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for number in range(75):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 3 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            pictures += video.encode(frame)
        container.mux(pictures + video.encode(None))
        for number, (text, time) in enumerate(zip(TEXTS, TIMES, strict=True)):
            if subtitles and not subtitles.startswith("hdmv"):
                line = f"{number},0,Default,,0,0,0,,{text}".replace("\n", "\\N").encode()
                packets.append(stream.codec_context.encode_subtitle(SubtitleSet.create(line, 0, 600)))
            if subtitles:
                packet = packets[number]
                packet.pts = packet.dts = round(time * 1000)
                packet.duration, packet.time_base, packet.stream = round(LENGTH * 1000), Fraction(1, 1000), stream
                container.mux(packet)
        if audio:
            piece = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), "fltp", "mono")
            piece.sample_rate, piece.pts = 48000, 0
            container.mux(audio.encode(piece) + audio.encode(None))


def copy(source: Path, target: Path) -> list[str]:
    with open_reader(source, 10**7) as reader, open_writer(target, reader, copies=True) as writer:
        for part in reader.parts():
            if isinstance(part, Frame):
                writer.add(part.pixels, part)
            else:
                writer.copy(part)
        return list(writer.left_out)


def subtitles_of(path: Path) -> list[tuple[float, float, str]]:
    """Time, length and text of each, by FFmpeg's word."""
    found = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.subtitles):
            for text in packet.decode() if packet.dts is not None else []:
                start, length = float(packet.pts * packet.time_base), float(packet.duration * packet.time_base)
                found.append((start, length, text.dialogue.decode()))
    return found


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
def test_what_is_written_about_a_film_is_kept(tmp_path: Path, name: str) -> None:
    told = {"title": "Station 1912", "comment": "reel 3", "copyright": "An archive"}
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        container.metadata.update(told)
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.metadata["language"] = "fra"
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        container.mux(video.encode(None))
    copy(tmp_path / "a.mp4", tmp_path / name)
    with av.open(str(tmp_path / name)) as container:
        assert {key.lower(): text for key, text in container.metadata.items()}.items() >= told.items()
        assert container.streams.video[0].metadata["language"] == "fra"


@pytest.mark.parametrize(("source", "codec", "target", "becomes"), [
    ("a.mp4", "mov_text", "b.mp4", "mov_text"),
    ("a.m4v", "mov_text", "b.m4v", "mov_text"),
    ("a.mkv", "subrip", "b.mkv", "subrip"),
    ("a.mkv", "webvtt", "b.mkv", "webvtt"),
    ("a.mkv", "ass", "b.mkv", "ass"),
    ("a.mkv", "subrip", "b.mp4", "mov_text"),
    ("a.mkv", "ass", "b.mov", "mov_text"),
    ("a.mp4", "mov_text", "b.mkv", "ass"),
])  # fmt: skip
def test_subtitles_are_kept(tmp_path: Path, source: str, codec: str, target: str, becomes: str) -> None:
    write(tmp_path / source, codec)
    left_out = copy(tmp_path / source, tmp_path / target)
    found = subtitles_of(tmp_path / target)
    assert [text for *_, text in found] == list(TEXTS)
    assert [start for start, *_ in found] == pytest.approx(TIMES, abs=0.01)
    assert [length for _, length, _ in found] == pytest.approx([LENGTH] * 3, abs=0.01)
    with av.open(str(tmp_path / target)) as container:
        (stream,) = container.streams.subtitles
        assert stream.codec_context.codec.canonical_name == becomes
        if not target.endswith(".mov"):  # QuickTime has no code for German of three letters
            assert stream.metadata["language"] == "deu"
        fonts = [(font.name, font.mimetype, font.data) for font in container.streams.attachments]
    has_font, can_hold = source.endswith(".mkv"), target.endswith(".mkv")
    assert fonts == ([("font.ttf", "application/x-truetype-font", b"font")] if has_font and can_hold else [])
    ending = Path(target).suffix
    sentence = f"the file font.ttf, attached for its subtitles, cannot be kept in {ending} and was left out"
    assert left_out == ([sentence] if has_font and not can_hold else [])


def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", "hdmv_pgs_subtitle")
    assert copy(tmp_path / "a.mkv", tmp_path / "b.mkv") == []
    (named, _) = copy(tmp_path / "a.mkv", tmp_path / "b.mp4")
    assert named == ("subtitles (pgssub, deu) cannot be kept in .mp4: left out; a film that ends in .mkv holds them")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.subtitles
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert len([packet for packet in container.demux(subtitles=0) if packet.dts is not None]) == 3


def test_sound_that_the_container_cannot_hold_is_kept_without_loss(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", None, sound="wavpack")
    notes = copy(tmp_path / "a.mkv", tmp_path / "b.mov")
    assert notes[:1] == ["its sound (wavpack) is not held by .mov and was converted to alac"]
    assert np.array_equal(*(sound_of(tmp_path / name) for name in ("a.mkv", "b.mov")))


@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "adpcm_ms", "pcm_alaw", "pcm_mulaw", "wmav2"])
def test_sound_of_old_cameras_is_kept(tmp_path: Path, codec: str, rng: np.random.Generator) -> None:
    """Matroska could hold them, but PyAV does not write them there."""
    path = tmp_path / ("a.wmv" if codec == "wmav2" else "a.avi")
    with av.open(str(path), "w", format="asf" if codec == "wmav2" else None) as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=44100, layout="mono")
        audio.codec_context.bit_rate = 64000
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        noise = (rng.normal(0, 0.1, (1, 44100)) * 32767).astype(np.int16)
        piece = av.AudioFrame.from_ndarray(noise, "s16", "mono")
        piece.sample_rate, piece.pts = 44100, 0
        fitting = av.AudioResampler(audio.codec_context.format.name, "mono", 44100, audio.codec_context.frame_size)
        for one in [*fitting.resample(piece), *fitting.resample(None), None]:
            container.mux(audio.encode(one))
        container.mux(video.encode(None))
    notes = copy(path, tmp_path / "b.mkv")
    assert notes == [f"its sound ({codec}) is not held by .mkv and was converted to flac"]
    before, after = (sound_of(file) for file in (path, tmp_path / "b.mkv"))
    assert before.shape == after.shape
    assert np.abs(before - after).max() < 2**-15


def sound_of(path: Path) -> np.ndarray:
    """All samples, -1 to 1."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono")
        frames = [one for frame in container.decode(audio=0) for one in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray().ravel() for frame in frames])
