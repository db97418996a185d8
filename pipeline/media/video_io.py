"""Read and write films frame by frame through PyAV; sound and subtitles are copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.errors import VideoError
from pipeline.files import replacing
from pipeline.media.copied_streams import CopiedStreams
from pipeline.media.decoding import SMALLEST_SIDE
from pipeline.media.provenance import COLORED_BY
from pipeline.media.video_frames import Deinterlacer, Times, exact, upright
from pipeline.types import Pixels

# Endings of the films that are read, and of what is written: Matroska holds any sound and subtitles.
CONTAINERS = {
    **{ending: ending for ending in (".mp4", ".m4v", ".mov", ".mkv")},
    ".3gp": ".mp4",
    **dict.fromkeys((".webm", ".avi", ".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts", ".wmv", ".asf"), ".mkv"),
    **dict.fromkeys((".flv", ".ogv", ".dv"), ".mkv"),
}
WRITTEN = tuple(sorted(set(CONTAINERS.values())))
# Only these: FFmpeg also reads formats that list other files and addresses, and would open those.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg,dv"
# Constant quality: 18 is what x264's authors call visually lossless, or nearly so.
_ENCODER = {"crf": "18", "preset": "medium"}
_ITU709 = 1
# No film has longer frames.
_LONGEST = 20
# What archives write about a film, by FFmpeg's names.
_TEXTS = ("title", "date", "creation_time", "comment", "description", "artist", "author", "copyright", "language")


@dataclass(frozen=True)
class Frame:
    pixels: Pixels
    """(H, W, 3), upright."""
    pts: int
    """The time at which it is shown, in units of time_base."""
    time_base: Fraction
    turned: bool
    """Whether width and height were exchanged to make it upright."""


@dataclass
class VideoReader:
    """A film opened for reading."""

    name: str
    container: Any
    video: Any
    size: tuple[int, int]
    """Width and height of its frames, before they are turned upright."""
    copied: Sequence[Any]
    """Its streams of sound and subtitles, and the fonts of those."""
    damaged: int = 0
    """Frames that could be decoded only in part, or not at all."""
    retimed: int = 0
    """Frames with the time of an earlier one."""
    resized: int = 0
    """Frames of another size than the first."""
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
        if self.video.duration:
            return float(self.video.duration * self.video.time_base)
        return (self.container.duration or 0) / 1_000_000

    def parts(self) -> Iterator[Any]:
        """Its frames and the packets of its sound and subtitles, in the order of the file.

        Raises:
            VideoError: the rest cannot be read.
        """
        import av

        times, with_packets = Times(), [stream for stream in self.copied if stream.type != "attachment"]
        try:
            for packet in self.container.demux([self.video, *with_packets]):
                if packet.stream.type != "video":
                    yield packet
                    continue
                for frame in self._decoded(packet):
                    yield from self._shown(frame, times)
            yield from self._shown(None, times)
        except av.error.FFmpegError as error:
            raise VideoError(f"unreadable: {error.strerror}") from None

    def _shown(self, frame: Any, times: Times) -> Iterator[Frame]:
        """The frames as a player shows them that are ready with this one; None ends the film."""
        if frame is not None:
            width, height = self.size
            if (frame.width, frame.height) != (width, height):
                self.resized += 1
                frame = _resized(frame, width, height)
            self.damaged += frame.is_corrupt
            frame.pts = self._time(frame, times)
        for whole in self.deinterlacer(frame):
            pixels, turned = upright(whole)
            yield Frame(pixels, whole.pts, whole.time_base, turned)

    def _time(self, frame: Any, times: Times) -> int:
        """The time at which a frame is shown, in units of its time_base."""
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
    made.pts, made.dts, made.time_base = frame.pts, frame.dts, frame.time_base
    return made


@contextmanager
def open_reader(path: Path, max_pixels: int) -> Iterator[VideoReader]:
    """Open a film.

    Raises:
        VideoError: not a regular file, none of the allowed containers, or frames that are too large or too small.
    """
    import av

    if not path.is_file() or not path.stat().st_size:
        raise VideoError("empty file" if path.is_file() else "not a regular file")
    with ExitStack() as stack:
        # An open file, because FFmpeg could take a name for an address.
        file = stack.enter_context(path.open("rb"))
        try:
            container = stack.enter_context(av.open(file, options={"format_whitelist": _DEMUXERS}))
        except av.error.FFmpegError as error:
            raise VideoError(f"unreadable: {error.strerror}") from None
        if not container.streams.video:
            raise VideoError("no pictures in it")
        video: Any = container.streams.best("video")
        if video is None or video.codec_context is None:
            raise VideoError("its pictures use a codec that this FFmpeg does not know")
        width, height = video.codec_context.width, video.codec_context.height
        if width * height > max_pixels:
            raise VideoError(f"too many pixels: {width}x{height} a frame is over --max-pixels {max_pixels}")
        short, long = sorted((width, height))
        if short < SMALLEST_SIDE or long > _LONGEST * short:
            raise VideoError(f"frames of {width}x{height}: the short side must be >= {SMALLEST_SIDE} pixels and the "
                            f"long one at most {_LONGEST} times it")  # fmt: skip
        video.thread_type = "AUTO"
        streams = container.streams
        copied = [*streams.audio, *streams.subtitles, *streams.attachments]
        yield VideoReader(path.name, container, video, (width, height), copied)


def is_colored_film(path: Path) -> bool:
    """Whether its comment says that this program has colored it; False where it cannot be read."""
    try:
        import av

        with path.open("rb") as file, av.open(file, options={"format_whitelist": _DEMUXERS}) as container:
            return COLORED_BY in _comment(container.metadata)
    except (ImportError, OSError):  # what FFmpeg raises is one, too
        return False


def _comment(texts: Mapping[str, str]) -> str:
    return next((text for name, text in texts.items() if name.lower() == "comment"), "")


class VideoWriter:
    """A film being written: H.264 frames at the times of the frames they were made from; copied sound and subtitles."""

    def __init__(self, container: Any, name: str, reader: VideoReader, copies: bool):
        self._container, self._reader = container, reader
        self._video = container.add_stream("libx264", rate=reader.video.average_rate, options=dict(_ENCODER))
        language = reader.video.metadata.get("language")
        if language:
            self._video.metadata["language"] = language
        self._ready = False
        self._early: list[Any] = []
        self._copies = CopiedStreams(container, name, reader.copied if copies else [])

    @property
    def left_out(self) -> Sequence[str]:
        """What the new film cannot hold, in a sentence each."""
        return self._copies.left_out

    def add(self, rgb: Pixels, like: Frame) -> None:
        """Add a (H, W, 3) uint8 frame, shown at the time of `like`."""
        import av

        if not self._ready:
            self._prepare(rgb, like.turned)
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
        pixel_format = self._video.codec_context.pix_fmt
        frame = frame.reformat(format=pixel_format, dst_colorspace=_ITU709, interpolation=exact())
        frame.pts, frame.time_base = like.pts, like.time_base
        self._container.mux(self._video.encode(frame))
        self._container.mux(self._early)
        self._early.clear()

    def copy(self, packet: Any) -> None:
        """Add a packet of sound or subtitles."""
        packets = self._copies.packets(packet)
        if self._ready:
            self._container.mux(packets)
        else:  # the file's header needs the size of the frames first
            self._early.extend(packets)

    def finish(self) -> None:
        if self._ready:
            self._container.mux(self._video.encode(None))
            self._container.mux(self._copies.finish())

    def _prepare(self, rgb: Pixels, turned: bool) -> None:
        """Set up the encoder for frames like the first one."""
        context = self._video.codec_context
        context.height, context.width = rgb.shape[:2]
        # All players know 4:2:0, which odd sides cannot have.
        context.pix_fmt = "yuv420p" if not (context.height % 2 or context.width % 2) else "yuv444p"
        context.time_base = self._reader.video.time_base
        context.color_primaries = context.color_trc = context.colorspace = _ITU709
        aspect = self._reader.video.sample_aspect_ratio
        if aspect:
            context.sample_aspect_ratio = 1 / Fraction(aspect) if turned else Fraction(aspect)
        self._ready = True


@contextmanager
def open_writer(path: Path, reader: VideoReader, copies: bool, made_by: str = "") -> Iterator[VideoWriter]:
    """Write a film with the times of `reader`, and maybe its sound and subtitles; it appears whole or not at all."""
    import av

    # Absolute, because FFmpeg takes what stands before a colon for a protocol.
    with replacing(path) as hidden, av.open(str(hidden.absolute()), "w") as container:
        told = {name: text for name, text in reader.container.metadata.items() if name.lower() in _TEXTS}
        container.metadata.update(told)
        if made_by:
            container.metadata["comment"] = "; ".join([*filter(None, [_comment(told)]), made_by])
        writer = VideoWriter(container, path.name, reader, copies)
        yield writer
        writer.finish()
