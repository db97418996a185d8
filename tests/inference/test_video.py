"""Real films, made and read by FFmpeg."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from pipeline.coloring.jobs import Naming, select
from pipeline.coloring.one_file import BatchOptions, color_file
from pipeline.errors import LimitError, VideoError
from pipeline.inference import Colorizer
from pipeline.inference.colorizer import ColoringOptions
from pipeline.inference.networks import Network, load_network
from pipeline.inference.smoothing import Flicker, Smoother
from pipeline.inference.video import VideoOptions, VideoReport, color_video
from tests.helpers import twotone
from tests.media.test_video_frames import moving, write

FRAMES = 10
OPTIONS = VideoOptions(ColoringOptions(), smoothing=0.9, max_pixels=10**7, compare=False)


def scene(number: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """(H, W) in [0, 1]: soft shapes, other ones for each number."""
    y, x = np.mgrid[: size[0], : size[1]] / 30
    phase = np.random.default_rng(number).uniform(0, 6, 4)
    return 0.5 + 0.25 * np.sin(2 * x + phase[0]) * np.cos(y + phase[1]) + 0.2 * np.sin(3 * y * (number + 1) + phase[2])


def film(
    path: Path,
    shots: Sequence[np.ndarray],
    *,
    sound: str | None = "aac",
    turned: int = 0,
    grain: float = 0.02,
    codec: str = "libx264",
) -> list[int]:
    """A gray film with grain, frames at uneven times; gives the times in thousandths of a second."""
    noise = np.random.default_rng(0)
    times = [40 * i + 7 * (i % 3) for i in range(FRAMES * len(shots))]
    with av.open(str(path), "w") as container:
        height, width = shots[0].shape
        video = container.add_stream(codec, rate=25, options={"crf": "10"} if codec.startswith("libx264") else {})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        if codec not in ("mpeg1video", "mpeg2video"):  # which know only the times of their rate
            video.codec_context.time_base = Fraction(1, 1000)
        if turned:
            video.set_display_rotation(turned)
        audio = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for i, time in enumerate(times):
            gray = shots[i // FRAMES] + noise.normal(0, grain, shots[0].shape)
            rgb = np.repeat((gray.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, 2)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            even = codec in ("mpeg1video", "mpeg2video")
            frame.pts, frame.time_base = (i, Fraction(1, 25)) if even else (time, Fraction(1, 1000))
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, 48 * times[-1] if audio else 0, 960):
            wave = np.sin(np.arange(start, start + 960) / 20)[None].astype(np.float32)
            piece = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            piece.sample_rate, piece.pts = 48000, start
            container.mux(audio.encode(piece))
        if audio:
            container.mux(audio.encode(None))
    return times


def contents(path: Path) -> tuple[list[np.ndarray], list[float], list[tuple[float, bytes]]]:
    """Pictures, their times in seconds, and the sound's packets with theirs."""
    with av.open(str(path)) as container:
        frames = [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        packets = container.demux(audio=0) if container.streams.audio else []
        sound = [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets if packet.dts is not None]
    return [picture for picture, _ in frames], [time for _, time in frames], sound


@pytest.fixture
def colorizer(model: Path) -> Colorizer:
    return Colorizer.load(model)


def color(source: Path, target: Path, colorizer: Colorizer, **options: Any) -> VideoReport:
    return color_video(source, target, colorizer, replace(OPTIONS, **options))


def test_frames_keep_their_times_and_sound_its_packets(tmp_path: Path, colorizer: Colorizer) -> None:
    film(tmp_path / "clip.mp4", [scene(0), scene(1)])
    report = color(tmp_path / "clip.mp4", tmp_path / "out.mp4", colorizer, compare=True)
    assert (report.frames, report.shots, report.damaged) == (2 * FRAMES, 2, 0)
    before, times, sound = contents(tmp_path / "clip.mp4")
    after, new_times, new_sound = contents(tmp_path / "out.mp4")
    assert new_times == pytest.approx(times, abs=1e-3)
    assert [data for _, data in new_sound] == [data for _, data in sound]
    assert [time for time, _ in new_sound] == pytest.approx([time for time, _ in sound], abs=1e-3)
    light = [np.stack([rgb2lab(picture)[..., 0] for picture in film]) for film in (before, after)]
    assert np.abs(light[0] - light[1]).mean() < 2  # what H.264 loses of the grain
    assert np.mean([np.abs(rgb2lab(picture)[..., 1:]).mean() for picture in after]) > 5
    beside, _, no_sound = contents(tmp_path / "out-compare.mp4")
    assert beside[0].shape == (64, 192, 3)
    assert not no_sound


def flickering(model: Path) -> Colorizer:
    """A network that changes its mind with every frame, by 20 of ab."""
    network, count = load_network(model), itertools.count()
    return Colorizer(Network(network.config, lambda x, seed: 0.3 * network.run(x, seed) + 0.09 * (-1) ** next(count)))


def test_smoothing_calms_color_within_a_shot(tmp_path: Path, model: Path) -> None:
    film(tmp_path / "clip.mp4", [scene(0)], sound=None)
    smooth = color(tmp_path / "clip.mp4", tmp_path / "smooth.mp4", flickering(model))
    plain = color(tmp_path / "clip.mp4", tmp_path / "plain.mp4", flickering(model), smoothing=0.0)
    assert plain.flicker == plain.flicker_without == smooth.flicker_without > 20
    assert smooth.flicker < 0.2 * plain.flicker
    # By FFmpeg's and skimage's word, not ours: what is in the files changes less as well.
    changes = []
    for name in ("smooth", "plain"):
        ab = np.stack([rgb2lab(picture)[..., 1:] for picture in contents(tmp_path / f"{name}.mp4")[0]])
        changes.append(np.abs(np.diff(ab, axis=0)).mean())
    assert changes[0] < 0.3 * changes[1]


def test_no_color_crosses_a_cut(tmp_path: Path, colorizer: Colorizer) -> None:
    film(tmp_path / "two.mp4", [scene(0), scene(1)], sound=None, grain=0)
    film(tmp_path / "one.mp4", [scene(1), scene(1)], sound=None, grain=0)
    for name in ("one", "two"):
        color(tmp_path / f"{name}.mp4", tmp_path / f"{name}-color.mp4", colorizer, smoothing=0.99)
    after_cut, alone = (contents(tmp_path / f"{name}-color.mp4")[0][FRAMES] for name in ("two", "one"))
    # The codec loses about as much of a random network's fine colors.
    assert np.abs(rgb2lab(after_cut) - rgb2lab(alone)).mean() < 2.0
    first_shot = contents(tmp_path / "two-color.mp4")[0][FRAMES - 1]
    assert np.abs(rgb2lab(after_cut) - rgb2lab(first_shot)).mean() > 5


def test_the_smoother_keeps_what_is_still_and_lets_go_of_what_moves() -> None:
    light, moved = np.full((8, 8), 50, np.float32), np.full((8, 8), 80, np.float32)
    red, blue = (np.full((2, 8, 8), value, np.float32) for value in (40, -40))
    for next_light, cut, expected in ((light, False, 0.9 * 40 - 0.1 * 40), (moved, False, -40), (light, True, -40)):
        smoother = Smoother(0.9)
        assert np.array_equal(smoother(light, red, cut=True), red)
        np.testing.assert_allclose(smoother(next_light, blue, cut=cut), expected, atol=1e-3)


def test_flicker_is_the_change_of_color_where_lightness_is_still() -> None:
    flicker = Flicker()
    light = np.full((4, 4), 50, np.float32)
    brighter = light.copy()
    brighter[:2] += 30  # moved: not counted
    flicker.add(light, np.zeros((2, 4, 4), np.float32), cut=True)
    flicker.add(brighter, np.stack([np.full((4, 4), 3), np.full((4, 4), 4)]).astype(np.float32), cut=False)
    assert flicker.mean == pytest.approx(5)
    flicker.add(light, np.full((2, 4, 4), 90, np.float32), cut=True)  # another shot
    assert flicker.mean == pytest.approx(5)


@pytest.mark.parametrize(("name", "codec", "sound"), [("b.avi", "libx264", None),
                                                      ("a.mov", "libx264", "aac"), ("a.webm", "libvpx-vp9", "libopus"),
                                                      ("a.avi", "mpeg4", "mp3"), ("a.mpg", "mpeg2video", "mp2"),
                                                      ("a.vob", "mpeg2video", "mp2"), ("a.mpeg", "mpeg1video", "mp2"),
                                                      ("a.ts", "libx264", "ac3"), ("a.m2ts", "libx264", "ac3"),
                                                      ("a.mts", "libx264", "ac3"), ("a.wmv", "wmv2", None),
                                                      ("a.asf", "mpeg4", "mp3"), ("a.flv", "flv1", "mp3"),
                                                      ("a.3gp", "mpeg4", "aac")])  # fmt: skip
def test_other_containers(tmp_path: Path, colorizer: Colorizer, name: str, codec: str, sound: str | None) -> None:
    film(tmp_path / name, [scene(0)], codec=codec, sound=sound)
    options = BatchOptions(Naming(tmp_path / "out", "png"), ColoringOptions(), 0.9, overwrite=False, max_pixels=10**7)
    (job,) = select([str(tmp_path / name)], options.naming).jobs
    outcome = color_file(job, colorizer, options)
    assert outcome.status == "colored", outcome.detail
    assert f"{FRAMES} frames, shots: 1" in outcome.detail
    assert "without smoothing" in outcome.detail
    ending = Path(name).suffix
    written = {".mov": ".mov", ".3gp": ".mp4"}.get(ending, ".mkv")
    changed = [] if written == ending else [f"{ending} films are written as {written}"]
    assert list(outcome.notes) == changed
    pictures, _, packets = contents(job.targets[0])
    assert len(pictures) == FRAMES
    assert [data for _, data in packets] == [data for _, data in contents(tmp_path / name)[2]]


@pytest.mark.parametrize(("stated", "expected"), [
    ([0] * 10, [0.04 * i for i in range(10)]),
    ([0, 40, 40, 120, 160, 200, 240, 280, 320, 360], [0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28, 0.32, 0.36]),
])  # fmt: skip
def test_frames_that_repeat_a_time_are_all_kept(
    tmp_path: Path, colorizer: Colorizer, stated: list[int], expected: list[float]
) -> None:
    """In Matroska, which holds any times."""
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for number in range(FRAMES):
            gray = (scene(0) * 200 + number).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.dstack([gray] * 3), "rgb24")
            frame.pts, frame.time_base = 40 * number, Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode(None)
        for packet, time in zip(packets, stated, strict=True):
            packet.pts = packet.dts = time
            container.mux(packet)
    report = color(tmp_path / "clip.mkv", tmp_path / "out.mkv", colorizer)
    assert report.frames == FRAMES
    assert report.retimed > 0
    _, times, _ = contents(tmp_path / "out.mkv")
    assert times == pytest.approx(expected, abs=2e-3)


def test_a_turned_film_is_turned_upright(tmp_path: Path, colorizer: Colorizer) -> None:
    film(tmp_path / "clip.mp4", [scene(0)], sound=None, turned=90)
    color(tmp_path / "clip.mp4", tmp_path / "out.mp4", colorizer)
    pictures, _, _ = contents(tmp_path / "out.mp4")
    assert pictures[0].shape == (96, 64, 3)
    light = rgb2lab(pictures[0])[..., 0]
    expected = rgb2lab(np.repeat((scene(0) * 255).astype(np.uint8)[..., None], 3, 2))[..., 0]
    assert np.abs(light - np.rot90(expected)).mean() < 4  # counterclockwise, as FFmpeg has it


def test_an_interlaced_film_is_deinterlaced_and_says_so(tmp_path: Path, colorizer: Colorizer) -> None:
    write(tmp_path / "clip.mp4", moving(0.5), crf="5", **{"x264-params": "interlaced=1:tff=1"})
    report = color(tmp_path / "clip.mp4", tmp_path / "out.mp4", colorizer)
    assert (report.frames, report.notes) == (10, ["10 interlaced frames were deinterlaced"])
    pictures, times, _ = contents(tmp_path / "out.mp4")
    assert times == pytest.approx([0.04 * number for number in range(10)], abs=1e-3)
    light = rgb2lab(pictures[4])[4:-4, 4:-4, 0]
    assert np.abs(light[1:-1] - (light[:-2] + light[2:]) / 2).mean() < 4


def test_color_follows_what_moves(tmp_path: Path, model: Path) -> None:
    """The camera moves by 6 pixels a frame under a network that changes its mind: the file flickers less for it."""
    wide = scene(0, (64, 200))
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "5"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for number in range(FRAMES):
            gray = (wide[:, 6 * number : 6 * number + 96].clip(0, 1) * 255).astype(np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.dstack([gray] * 3), "rgb24")))
        container.mux(video.encode(None))
    color(tmp_path / "clip.mp4", tmp_path / "smooth.mp4", flickering(model))
    color(tmp_path / "clip.mp4", tmp_path / "plain.mp4", flickering(model), smoothing=0.0)
    changes = []
    for name in ("smooth", "plain"):
        ab = np.stack([rgb2lab(picture)[..., 1:] for picture in contents(tmp_path / f"{name}.mp4")[0]])
        # What is at x was 6 pixels further right in the frame before.
        changes.append(np.abs(ab[1:, :, 12:-12] - ab[:-1, :, 18:-6]).mean())
    assert changes[0] < 0.35 * changes[1]


def test_a_folder_with_a_colon_is_no_protocol(
    tmp_path: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("2024:07").mkdir()
    film(tmp_path / "clip.mp4", [scene(0)], sound=None)
    color(Path("clip.mp4"), Path("2024:07/out.mp4"), colorizer)
    assert contents(Path("2024:07/out.mp4").absolute())[0]


def test_frames_that_change_their_size_take_the_first(tmp_path: Path, colorizer: Colorizer) -> None:
    """As in a recording of television: two streams of MPEG, one after the other."""
    film(tmp_path / "one.ts", [scene(0)], sound=None, codec="mpeg2video")
    film(tmp_path / "two.ts", [scene(0, (96, 144))], sound=None, codec="mpeg2video")
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "one.ts").read_bytes() + (tmp_path / "two.ts").read_bytes())
    report = color(both, tmp_path / "out.mkv", colorizer)
    assert f"{FRAMES} frames of another size were made as large as the first" in report.notes
    pictures = contents(tmp_path / "out.mkv")[0]
    assert len(pictures) >= 2 * FRAMES - 1, "at the seam, FFmpeg's decoder may drop one"
    assert {picture.shape for picture in pictures} == {(64, 96, 3)}


def test_odd_sides_are_made_even_for_players(tmp_path: Path, colorizer: Colorizer) -> None:
    film(tmp_path / "clip.mkv", [scene(0, (63, 97))], sound=None, codec="ffv1")
    report = color(tmp_path / "clip.mkv", tmp_path / "out.mp4", colorizer, compare=True)
    assert report.notes == ["frames of 97x63 were made 98x64, which players ask for"]
    for name, width in (("out", 98), ("out-compare", 194)):
        with av.open(str(tmp_path / f"{name}.mp4")) as container:
            context = container.streams.video[0].codec_context
            assert (context.width, context.height, context.pix_fmt) == (width, 64, "yuv420p")
            assert context.profile == "High"
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(picture[-1] - picture[-2]).mean() < 6


def test_frames_that_become_too_large_are_refused(tmp_path: Path, colorizer: Colorizer) -> None:
    """Matroska allows each frame of Motion JPEG another size."""
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        for number, size in enumerate([(64, 48)] * 3 + [(640, 480)]):
            buffer = io.BytesIO()
            Image.new("L", size, 90).save(buffer, "JPEG")
            packet = av.Packet(buffer.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = video, number, number, Fraction(1, 25)
            container.mux(packet)
    with pytest.raises(LimitError, match="too many pixels: 640x480 a frame is over 10000"):
        color(tmp_path / "clip.mkv", tmp_path / "out.mkv", colorizer, max_pixels=10_000)
    assert not list(tmp_path.glob("*out*"))


def test_what_is_no_film_is_named_and_leaves_nothing(tmp_path: Path, colorizer: Colorizer) -> None:
    film(tmp_path / "good.mp4", [scene(0)])
    good = (tmp_path / "good.mp4").read_bytes()
    bad = {
        "empty.mp4": b"",
        "text.mp4": b"<html>not found</html>",
        "cut.mp4": good[: len(good) // 2],
        # Lists of other files, which FFmpeg would open by itself.
        "list.mp4": f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/good.mp4\n#EXT-X-ENDLIST\n".encode(),
        "concat.mkv": f"ffconcat version 1.0\nfile {tmp_path}/good.mp4\n".encode(),
    }
    out = tmp_path / "out.mp4"
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=r"empty file|unreadable"):
            color(tmp_path / name, out, colorizer)
    with pytest.raises(VideoError, match=r"too many pixels: 96x64 a frame is over 6000"):
        color(tmp_path / "good.mp4", out, colorizer, max_pixels=6000)
    with pytest.raises(VideoError, match="not a regular file"):
        color(tmp_path, out, colorizer)
    with pytest.raises(OSError, match="No such file"):
        color(tmp_path / "good.mp4", tmp_path / "nowhere/out.mp4", colorizer)
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".*"))


def test_a_film_that_is_there_stays_while_its_comparison_is_written(tmp_path: Path, model: Path) -> None:
    (tmp_path / "out").mkdir()
    film(tmp_path / "trip.mp4", [scene(0)])
    film(tmp_path / "out/trip.mp4", [scene(1)])
    mine = (tmp_path / "out/trip.mp4").read_bytes()
    words = ("trip.mp4", "-o", "out", "--model", str(model), "--compare")
    done = twotone(tmp_path, "colorize", *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/trip.mp4").read_bytes() == mine
    assert "-> out/trip-compare.mp4" in done.stdout
    assert "out/trip.mp4 was there already, and was kept" in done.stdout
    assert contents(tmp_path / "out/trip-compare.mp4")[0][0].shape == (64, 192, 3)
    compared = (tmp_path / "out/trip-compare.mp4").read_bytes()
    (tmp_path / "out/trip.mp4").unlink()
    assert twotone(tmp_path, "colorize", *words, "--smoothing", "0", "--saturation", "0.5").returncode == 0
    assert (tmp_path / "out/trip-compare.mp4").read_bytes() == compared
    paler = (tmp_path / "out/trip.mp4").read_bytes()
    assert twotone(tmp_path, "colorize", *words, "--overwrite").returncode == 0
    assert (tmp_path / "out/trip.mp4").read_bytes() != paler


def test_a_film_that_is_only_called_like_a_copy_is_none(tmp_path: Path, model: Path) -> None:
    (tmp_path / "films").mkdir()
    for number, name in enumerate(("trip.mp4", "trip-color.mp4")):
        film(tmp_path / "films" / name, [scene(number)])
    mine = (tmp_path / "films/trip-color.mp4").read_bytes()
    words = ("--model", str(model), "--overwrite")
    assert "-> films/trip-color-2.mp4" in twotone(tmp_path, "colorize", "films/trip.mp4", *words).stdout
    assert (tmp_path / "films/trip-color.mp4").read_bytes() == mine
    done = twotone(tmp_path, "colorize", "films", "-o", "out", *words)
    assert "2 colored, 0 kept as they were, 0 failed" in done.stdout
    assert "1 colored copies" in done.stdout


def test_damaged_frames_are_counted(tmp_path: Path, colorizer: Colorizer) -> None:
    film(tmp_path / "clip.mp4", [scene(0)], sound=None, grain=0.1)
    content = bytearray((tmp_path / "clip.mp4").read_bytes())
    start = content.index(b"mdat") + 3000
    for place in range(start, start + 4000, 400):
        content[place] ^= 255
    (tmp_path / "clip.mp4").write_bytes(content)
    report = color(tmp_path / "clip.mp4", tmp_path / "out.mp4", colorizer)
    assert report.damaged > 0


def test_a_film_that_is_cut_off_says_so(tmp_path: Path, colorizer: Colorizer) -> None:
    film(tmp_path / "whole.mkv", [scene(number) for number in range(8)])
    whole = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "half.mkv").write_bytes(whole[: len(whole) // 2])
    assert color(tmp_path / "whole.mkv", tmp_path / "a.mkv", colorizer).notes == []
    report = color(tmp_path / "half.mkv", tmp_path / "b.mkv", colorizer)
    assert 0 < report.frames < 60
    assert f"its pictures end after {report.end:.1f} of 3.2 s: it may be cut off" in report.notes


def test_a_cut_avi_says_so_and_long_sound_is_no_cut(tmp_path: Path, colorizer: Colorizer) -> None:
    write(tmp_path / "whole.avi", moving(0.0) * 8, codec="mpeg4")
    whole = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 2])
    assert color(tmp_path / "whole.avi", tmp_path / "a.mkv", colorizer).notes == []
    (said,) = [note for note in color(tmp_path / "half.avi", tmp_path / "b.mkv", colorizer).notes if "cut off" in note]
    assert "of 3.2 s" in said
    # The count of frames is written when a recording ends.
    place = whole.index(b"strh") + 8 + 32
    (tmp_path / "open.avi").write_bytes(whole[:place] + bytes(4) + whole[place + 4 :])
    broken = color(tmp_path / "open.avi", tmp_path / "o.mkv", colorizer).notes
    assert broken == ["its header names no length, so its recording may have been broken off"]
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        video, audio = container.add_stream("mpeg4", rate=25), container.add_stream("flac", rate=8000, layout="mono")
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        gray = np.repeat((scene(0) * 255).astype(np.uint8)[..., None], 3, 2)
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(gray, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), "s16", "mono")
        silence.sample_rate, silence.pts = 8000, 0
        container.mux(audio.encode(silence))
        container.mux(audio.encode(None))
    report = color(tmp_path / "sound.mkv", tmp_path / "c.mkv", colorizer)
    assert (report.frames, report.notes) == (25, [])


def test_pictures_that_stand_long_are_not_cut_off() -> None:
    """A slide show, a film of one frame, and one of which the header says nothing."""
    for end, promised in ((15.0, 15.0), (0.0, 5.0), (3.2, 0.0), (57.0, 60.0)):
        assert VideoReport(5, 0, 0, 1, 0.0, 0.0, end=end, promised=promised).notes == []


def test_the_same_film_gives_the_same_bytes(tmp_path: Path, colorizer: Colorizer) -> None:
    """With x264's mbtree, nearly every run gave others on one processor."""
    film(tmp_path / "film.mp4", [scene(1, (240, 320))])
    written = set()
    for _ in range(3):
        color_video(tmp_path / "film.mp4", tmp_path / "out.mp4", colorizer, OPTIONS)
        written.add((tmp_path / "out.mp4").read_bytes())
    assert len(written) == 1
