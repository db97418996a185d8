"""Read films frame by frame through PyAV, and the packets of their sound and subtitles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.errors import LimitError, VideoError
from pipeline.media.decoding import SMALLEST_SIDE
from pipeline.media.provenance import COLORED_BY
from pipeline.media.video_frames import Deinterlacer, exact, upright
from pipeline.media.video_times import Timeline, Times
from pipeline.types import Pixels

# Endings of the films that are read, and of what is written: Matroska holds any sound and subtitles.
CONTAINERS = {
    **{ending: ending for ending in (".mp4", ".m4v", ".mov", ".mkv")},
    **dict.fromkeys((".3gp", ".3g2", ".f4v"), ".mp4"),
    ".qt": ".mov",
    **dict.fromkeys((".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".vro", ".mod", ".tod"), ".mkv"),
    **dict.fromkeys((".ts", ".mts", ".m2ts", ".m2t", ".webm", ".avi", ".divx", ".wmv", ".asf"), ".mkv"),
    **dict.fromkeys((".flv", ".ogv", ".ogm", ".dv", ".rm", ".rmvb"), ".mkv"),
}
# Only these: FFmpeg also reads formats that list other files and addresses, and would open those.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg,dv,rm"
_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
# No film has longer frames.
_LONGEST = 20
# Of texts: programs for Windows wrote the second.
_ENCODINGS = (("utf-8", "strict"), ("cp1252", "replace"))


@dataclass(frozen=True)
class Frame:
    pixels: Pixels
    """(H, W, 3), upright."""
    pts: int
    """The time at which it is shown, in units of time_base."""
    time_base: Fraction
    duration: int
    """How long it is shown, in units of time_base; 0 where the film does not say."""
    turned: bool
    """Whether width and height were exchanged to make it upright."""


@dataclass
class VideoReader:
    """A film opened for reading."""

    name: str
    container: Any
    video: Any
    max_pixels: int
    """Most pixels of a frame."""
    copied: Sequence[Any]
    """Its streams of sound and subtitles, and the fonts of those."""
    size: tuple[int, int] | None = None
    """Width and height of its first frame, before it is turned upright; None until that is decoded."""
    damaged: int = 0
    """Frames that could be decoded only in part, or not at all."""
    retimed: int = 0
    """Frames with the time of an earlier one."""
    resized: int = 0
    """Frames of another size than the first."""
    jumps: int = 0
    """How often its clock jumped."""
    deinterlacer: Deinterlacer = field(default_factory=Deinterlacer)

    @property
    def frames(self) -> int | None:
        if self.video.frames:
            return int(self.video.frames)
        seconds = (self.container.duration or 0) / 1_000_000
        return round(seconds * float(self.video.average_rate or 0)) or None

    @property
    def seconds(self) -> float:
        """Its length by its header; 0 where it does not say."""
        if self.container.format.name == "avi":
            # What FFmpeg calls its duration is guessed from the size of the file, which may be cut.
            return float(self.video.frames / (self.video.average_rate or 25))
        if self.video.duration:
            return float(self.video.duration * self.video.time_base)
        stated = _DURATION.fullmatch(self.video.metadata.get("DURATION", ""))
        if stated:  # Matroska's, of its pictures alone: its sound may be longer
            hours, minutes, seconds = map(float, stated.groups())
            return 3600 * hours + 60 * minutes + seconds
        return (self.container.duration or 0) / 1_000_000

    @property
    def unfinished(self) -> bool:
        """Whether its header names no length where it should: an AVI gets it at the end of its recording."""
        return self.container.format.name == "avi" and not self.video.frames

    def parts(self) -> Iterator[Any]:
        """Its frames and the packets of its sound and subtitles, in the order of the file.

        Raises:
            VideoError: the rest cannot be read, or a frame has too many pixels.
        """
        import av

        times, timeline = Times(), Timeline(self.container)
        with_packets = [stream for stream in self.copied if stream.type != "attachment"]
        try:
            for packet in self.container.demux([self.video, *with_packets]):
                timeline.place(packet)
                self.jumps = timeline.jumps
                if packet.stream.type != "video":
                    yield packet
                    continue
                for frame in self._decoded(packet):
                    yield from self._shown(frame, times)
            yield from self._shown(None, times)
        except av.error.FFmpegError as error:
            raise VideoError(f"unreadable: {error.strerror}") from None

    def stored(self) -> Iterator[Any]:
        """Yield its frames as FFmpeg decodes them, neither deinterlaced nor turned, but for those that it cannot.

        Raises:
            LimitError: a frame has too many pixels.
        """
        for packet in self.container.demux(self.video):
            for frame in self._decoded(packet):
                _require_few_pixels(frame.width, frame.height, self.max_pixels)
                yield frame

    def _shown(self, frame: Any, times: Times) -> Iterator[Frame]:
        """Yield the frames as a player shows them that are ready with this one; None ends the film."""
        if frame is not None:
            _require_few_pixels(frame.width, frame.height, self.max_pixels)
            self.size = self.size or (frame.width, frame.height)
            if (frame.width, frame.height) != self.size:
                self.resized += 1
                frame = _resized(frame, *self.size)
            self.damaged += frame.is_corrupt
            frame.pts = self._time(frame, times)
        for whole in self.deinterlacer(frame):
            pixels, turned = upright(whole)
            yield Frame(pixels, whole.pts, whole.time_base, whole.duration or 0, turned)

    def _time(self, frame: Any, times: Times) -> int:
        """Return the time at which a frame is shown, in units of its time_base."""
        # AVI holds no such times: FFmpeg makes some up, and frames come out in the order of their dts.
        stated = frame.dts if self.container.format.name == "avi" else frame.pts
        step = max(1, round(1 / (frame.time_base * (self.video.average_rate or 25))))
        time = times.next(stated, step)
        self.retimed += stated is not None and time != stated
        return time

    def _decoded(self, packet: Any) -> list[Any]:
        import av

        try:
            return list(packet.decode())
        except av.error.InvalidDataError:
            self.damaged += 1  # players go on, too
            return []


def _resized(frame: Any, width: int, height: int) -> Any:
    """Return a frame at another size, at its time."""
    made = frame.reformat(width, height, interpolation=exact())
    made.pts, made.dts, made.time_base, made.duration = frame.pts, frame.dts, frame.time_base, frame.duration
    return made


@contextmanager
def open_reader(path: Path, max_pixels: int) -> Iterator[VideoReader]:
    """Open a film.

    Raises:
        VideoError: not a regular file, none of the allowed containers, or frames that are too large or too small.
    """

    if not path.is_file() or not path.stat().st_size:
        raise VideoError("empty file" if path.is_file() else "not a regular file")
    with _opened(path) as container:
        if not container.streams.video:
            raise VideoError("no pictures in it")
        video: Any = container.streams.best("video")
        if video is None or video.codec_context is None:
            raise VideoError("its pictures use a codec that this FFmpeg does not know")
        width, height = video.codec_context.width, video.codec_context.height
        _require_few_pixels(width, height, max_pixels)
        short, long = sorted((width, height))
        if short < SMALLEST_SIDE or long > _LONGEST * short:
            raise VideoError(f"frames of {width}x{height}: the short side must be >= {SMALLEST_SIDE} pixels and the "
                            f"long one at most {_LONGEST} times it")  # fmt: skip
        video.thread_type = "AUTO"
        streams = container.streams
        copied = [*streams.audio, *streams.subtitles, *streams.attachments]
        yield VideoReader(path.name, container, video, max_pixels, copied)


def _require_few_pixels(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise LimitError(f"too many pixels: {width}x{height} a frame is over {{most}}", most)


def is_colored_film(path: Path) -> bool:
    """Whether its comment says that this program has colored it; False where it cannot be read."""
    try:
        with _opened(path) as container:
            return COLORED_BY in comment_of(container.metadata)
    except (ImportError, OSError, VideoError):
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a film with FFmpeg.

    Raises:
        VideoError: FFmpeg cannot read it.
    """
    import av

    # An open file, because FFmpeg could take a name for an address.
    with path.open("rb") as file:
        for encoding, errors in _ENCODINGS:
            try:
                file.seek(0)
                container = av.open(file, options={"format_whitelist": _DEMUXERS}, metadata_encoding=encoding,
                                    metadata_errors=errors)  # fmt: skip
                break
            except UnicodeDecodeError:
                continue
            except av.error.FFmpegError as error:
                raise VideoError(f"unreadable: {error.strerror}") from None
        with container:
            yield container


def comment_of(texts: Mapping[str, str]) -> str:
    """Return the comment among what a film says of itself; "" where there is none."""
    return next((text for name, text in texts.items() if name.lower() == "comment"), "")
