"""Film files in and out, streamed, through PyAV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.images import LARGEST_ASPECT, SMALLEST_SIDE
from pipeline.inference.lab import Samples

# By ending: what is read, and where it is written. These hold whatever sound they came with.
CONTAINERS = {".mp4": ".mp4", ".m4v": ".m4v", ".mov": ".mov", ".mkv": ".mkv", ".webm": ".mkv", ".avi": ".mkv"}
# FFmpeg knows formats that are lists of other files and addresses to open: not here.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
# Constant quality: 18 is what x264's authors call visually lossless, or nearly so.
_ENCODER = {"crf": "18", "preset": "medium"}
_ITU709, _ITU601 = 1, 5


class FilmError(Exception):
    """The film cannot be colored; the message is the reason."""


@dataclass(frozen=True)
class Frame:
    pixels: Samples
    """(H, W, 3) uint8, upright."""
    pts: int
    """When it is shown, in units of time_base."""
    time_base: Fraction
    turned: bool
    """Whether its sides were exchanged."""


@dataclass
class Clip:
    """A film opened for reading."""

    name: str
    container: Any
    video: Any
    sound: Sequence[Any]
    damaged: int = 0

    @property
    def frames(self) -> int | None:
        if self.video.frames:
            return int(self.video.frames)
        seconds = (self.container.duration or 0) / 1_000_000
        return round(seconds * float(self.video.average_rate or 0)) or None

    def parts(self) -> Iterator[Any]:
        """Its frames, and the packets of its sound, as they come.

        Raises:
            FilmError: it cannot be read on.
        """
        import av

        last, size = -math.inf, (self.video.codec_context.width, self.video.codec_context.height)
        try:
            for packet in self.container.demux([self.video, *self.sound]):
                if packet.stream.type == "audio":
                    yield packet
                    continue
                for frame in self._decoded(packet):
                    if (frame.width, frame.height) != size:
                        raise FilmError(f"its frames change from {size[0]}x{size[1]} to {frame.width}x{frame.height}")
                    time = self._time(frame, last)
                    in_time = time > last
                    self.damaged += frame.is_corrupt or not in_time
                    if not in_time:
                        continue
                    last = time
                    yield Frame(_upright(frame), time, frame.time_base, bool(round(frame.rotation / 90) % 2))
        except av.error.FFmpegError as error:
            raise FilmError(f"unreadable: {error.strerror}") from None

    def _time(self, frame: Any, last: float) -> int:
        """When a frame is shown, in units of its time_base."""
        # AVI says no order of showing: FFmpeg makes one up, and frames come out in the order of their dts.
        time = frame.dts if self.container.format.name == "avi" else frame.pts
        if time is None:  # the last ones have none
            step = 1 / (frame.time_base * (self.video.average_rate or 25))
            time = max(0, last) + max(1, round(step))
        return int(time)

    def _decoded(self, packet: Any) -> list[Any]:
        import av

        try:
            return list(packet.decode())
        except av.error.InvalidDataError:
            self.damaged += 1  # a player would go on as well
            return []


def _upright(frame: Any) -> Samples:
    """(H, W, 3) uint8, turned as the film says it should be shown."""
    # What is not said is BT.709 for high definition and BT.601 for less, as players have it.
    said = frame.colorspace not in (0, 2)
    space = None if said else (_ITU709 if frame.height >= 720 else _ITU601)
    rgb: Samples = frame.to_ndarray(format="rgb24", src_colorspace=space)
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)))


@contextmanager
def open_clip(path: Path, max_pixels: int) -> Iterator[Clip]:
    import av

    if not path.is_file() or not path.stat().st_size:
        raise FilmError("empty file" if path.is_file() else "not a regular file")
    with ExitStack() as stack:
        # An open file, since a name alone could be taken for an address.
        file = stack.enter_context(path.open("rb"))
        try:
            container = stack.enter_context(av.open(file, options={"format_whitelist": _DEMUXERS}))
        except av.error.FFmpegError as error:
            raise FilmError(f"unreadable: {error.strerror}") from None
        if not container.streams.video:
            raise FilmError("no pictures in it")
        video: Any = container.streams.best("video")
        unknown = [s for s in (video, *container.streams.audio) if s is None or s.codec_context is None]
        if unknown:
            raise FilmError("a codec in it is not known here")
        width, height = video.codec_context.width, video.codec_context.height
        if width * height > max_pixels:
            raise FilmError(f"too many pixels: {width}x{height} a frame is over --max-pixels {max_pixels}")
        short, long = sorted((width, height))
        if short < SMALLEST_SIDE or long > LARGEST_ASPECT * short:
            raise FilmError(f"frames of {width}x{height}: the short side must be >= {SMALLEST_SIDE} pixels and the "
                            f"long one at most {LARGEST_ASPECT} times it")  # fmt: skip
        video.thread_type = "AUTO"
        yield Clip(path.name, container, video, container.streams.audio)


class Writer:
    """A film being written: H.264 frames at the times of those they were made from, and copied sound."""

    def __init__(self, container: Any, clip: Clip, sound: bool):
        self._container, self._clip = container, clip
        self._video = container.add_stream("libx264", rate=clip.video.average_rate, options=dict(_ENCODER))
        self._ready = False
        self._early: list[Any] = []
        self._sound = (
            {stream.index: container.add_stream_from_template(stream) for stream in clip.sound} if sound else {}
        )

    def add(self, rgb: Samples, like: Frame) -> None:
        """(H, W, 3) uint8, shown when `like` was."""
        import av

        if not self._ready:
            self._prepare(rgb, like.turned)
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
        frame = frame.reformat(format=self._video.codec_context.pix_fmt, dst_colorspace=_ITU709)
        frame.pts, frame.time_base = like.pts, like.time_base
        self._container.mux(self._video.encode(frame))
        self._container.mux(self._early)
        self._early.clear()

    def copy(self, packet: Any) -> None:
        if packet.dts is not None:  # an empty packet ends the stream
            packet.stream = self._sound[packet.stream.index]
            if self._ready:
                self._container.mux(packet)
            else:  # the file's header tells the size of the pictures
                self._early.append(packet)

    def finish(self) -> None:
        if self._ready:
            self._container.mux(self._video.encode(None))

    def _prepare(self, rgb: Samples, turned: bool) -> None:
        """When the first frame is known: a film that is turned has its sides exchanged."""
        context = self._video.codec_context
        context.height, context.width = rgb.shape[:2]
        # Players everywhere take 4:2:0, which odd sides cannot have.
        context.pix_fmt = "yuv420p" if not (context.height % 2 or context.width % 2) else "yuv444p"
        context.time_base = self._clip.video.time_base
        context.color_primaries = context.color_trc = context.colorspace = _ITU709
        aspect = self._clip.video.sample_aspect_ratio
        if aspect:
            context.sample_aspect_ratio = 1 / Fraction(aspect) if turned else Fraction(aspect)
        self._ready = True


@contextmanager
def open_writer(path: Path, clip: Clip, sound: bool) -> Iterator[Writer]:
    import av

    copy = path.with_name(f".{path.stem}.writing{path.suffix}")
    try:
        with av.open(str(copy), "w") as container:
            writer = Writer(container, clip, sound)
            yield writer
            writer.finish()
        copy.replace(path)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
