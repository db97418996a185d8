"""Color films frame by frame, with sound, subtitles and timing copied. Needs the extra `film`."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import VideoError, missing_extra
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.inference.earlier_colors import colors_before
from pipeline.inference.film_bars import inside_bars
from pipeline.inference.hints import Painted
from pipeline.inference.margins import Inside
from pipeline.inference.motion import Cuts, Motion
from pipeline.inference.said_colors import SaidColors
from pipeline.inference.smoothing import Flicker, Smoother
from pipeline.media.video_reader import Frame, VideoReader, open_reader
from pipeline.media.video_writer import VideoWriter, open_writer
from pipeline.progress import progress
from pipeline.types import Floats, Pixels, Samples

# Frames that wait between two threads: 50 MB of 1080p at most, and enough that none of the threads waits often.
_AHEAD = 4
# How much of its length a film may lack without a word: a header may round it, or mean the sound.
_SECONDS_SHORT, _SHARE_SHORT = 1.0, 0.1


@dataclass(frozen=True)
class VideoReport:
    frames: int
    damaged: int
    """Frames that the decoder could repair only in part, or not at all."""
    retimed: int
    """Frames with the time of an earlier one, which are shown after it."""
    shots: int
    flicker_without: float
    """Flicker of the network's own colors: see smoothing.Flicker."""
    flicker: float
    """Flicker of the colors in the file."""
    deinterlaced: int = 0
    """Frames that were interlaced."""
    left_out: tuple[str, ...] = ()
    """What the file cannot hold, in a sentence each."""
    resized: int = 0
    """Frames of another size than the first, which were made as large."""
    end: float = 0.0
    """Seconds from the beginning to the end of the last frame."""
    promised: float = 0.0
    """Seconds that it should have by its header; 0 where it does not say, or its clock jumped."""
    jumps: int = 0
    """How often its clock jumped; the jumps were closed."""
    unused_hints: int = 0
    """Hints whose time is after its end."""
    unfinished: bool = False
    """Whether its header names no length where it should."""
    unlike: bool = False
    """Whether a reference picture matched nowhere."""

    @property
    def notes(self) -> list[str]:
        """What is worth knowing about the film, in a sentence each."""
        counted = {
            "damaged frames": self.damaged,
            "jumps of its clock were closed, as where films were joined or a recorder paused": self.jumps,
            "frames had the time of an earlier one and were shown after it": self.retimed,
            "interlaced frames were deinterlaced": self.deinterlaced,
            "frames of another size were made as large as the first": self.resized,
            "hints have a time after its end": self.unused_hints,
        }
        short = 0 < self.end < self.promised - max(_SECONDS_SHORT, _SHARE_SHORT * self.promised)
        ends = [f"its pictures end after {self.end:.1f} of {self.promised:.1f} s: it may be cut off"] * short
        ends += ["its header names no length, so its recording may have been broken off"] * self.unfinished
        unlike = ["nothing in it matches the reference picture"] * self.unlike
        return [*ends, *(f"{count} {what}" for what, count in counted.items() if count), *unlike, *self.left_out]


@dataclass(frozen=True)
class VideoOptions:
    coloring: ColoringOptions
    smoothing: float
    """Part of the earlier color that a thing keeps while its lightness stays, 0 to 0.99."""
    max_pixels: int
    """Most pixels of a frame."""
    compare: bool
    """Also write a film with before and after side by side."""
    keep: bool = False
    """Whether the film itself is there and stays; the one with before and after is written alone."""
    made_by: str = ""
    """What the film's comment says of its colors."""
    like: Samples | None = None
    """(H, W, 3): a color picture whose colors frames get where they match."""


def color_video(source: Path, target: Path, colorizer: Colorizer, options: VideoOptions) -> VideoReport:
    """Color a film frame by frame; the file appears whole or not at all.

    Pictures are deinterlaced and turned upright, sound and subtitles are copied, and each frame keeps its time.
    Written as H.264.

    Raises:
        VideoError: PyAV or OpenCV is not installed, or the file is no film, too large, or damaged.
        OSError: the result cannot be written.
    """
    try:
        import av
    except ImportError:
        raise VideoError(missing_extra("films need PyAV", "film")) from None
    targets = [] if options.keep else [target]
    if options.compare:
        targets.append(target.with_stem(f"{target.stem}-compare"))
    try:
        with ExitStack() as stack:
            reader = stack.enter_context(open_reader(source, options.max_pixels))
            # The side-by-side film has no sound and no subtitles: it is for looking at.
            writers = [
                stack.enter_context(open_writer(path, reader, path is target, options.made_by)) for path in targets
            ]
            inside = inside_bars(source, options.max_pixels, colorizer, options.coloring.render_size)
            earlier = _said_later(source, colorizer, options, inside)
            return _color(reader, writers, _Painter(colorizer, options, earlier, inside), options)
    except av.error.FFmpegError as error:  # an error of reading is a VideoError by now
        raise OSError(error.errno, error.strerror, str(target)) from None


def _said_later(
    source: Path, colorizer: Colorizer, options: VideoOptions, inside: Inside
) -> dict[int, NDArray[np.float16]]:
    """Return what hints say of the frames before theirs: for that the film is read once more, up to the last hint."""
    hints = options.coloring.hints
    if isinstance(hints, Painted) or not any(hint.time > 0 for hint in hints):
        return {}
    with open_reader(source, options.max_pixels) as reader:
        frames = (part for part in reader.parts() if isinstance(part, Frame))
        with progress(frames, desc=f"{reader.name}: hints", unit="frame", leave=False) as shown:
            return colors_before(shown, hints, colorizer, options.coloring, inside)


def _color(
    reader: VideoReader, writers: Sequence[VideoWriter], painter: _Painter, options: VideoOptions
) -> VideoReport:
    """Decode, color and encode in three threads; each frame is given on in its turn, so the film is the same."""
    frames, last, end = 0, None, 0.0
    # Closed in this order whatever happens: no thread may read a film that is closed.
    with (
        closing(_ahead(reader.parts())) as parts,
        closing(_ahead(map(painter.paint, parts))) as painted,
        progress(total=reader.frames, desc=reader.name, unit="frame", leave=False) as bar,
    ):
        for part in painted:
            if not isinstance(part, _Painted):
                if not options.keep:
                    writers[0].copy(part)
                continue
            frame = part.frame
            pictures = [] if options.keep else [part.rgb]
            if options.compare:
                pictures.append(np.hstack([frame.pixels, part.rgb]))
            for writer, picture in zip(writers, pictures, strict=True):
                writer.add(picture, frame)
            frames, shown = frames + 1, float(frame.pts * frame.time_base)
            lasting = float(frame.duration * frame.time_base) or (0.0 if last is None else shown - last)
            last, end = shown, shown + lasting
            bar.update()
    if not frames:
        raise VideoError("no frames in it")
    return VideoReport(
        frames=frames,
        damaged=reader.damaged,
        retimed=reader.retimed,
        shots=painter.shots,
        flicker_without=painter.without.mean,
        flicker=painter.written.mean,
        deinterlaced=reader.deinterlacer.frames,
        left_out=tuple(writers[0].left_out),
        resized=reader.resized,
        end=end,
        promised=0.0 if reader.jumps else reader.seconds,
        jumps=reader.jumps,
        unfinished=reader.unfinished,
        unused_hints=painter.said.waiting,
        unlike=options.like is not None and not painter.said.matching,
    )


Item = TypeVar("Item")


def _ahead(items: Iterable[Item]) -> Generator[Item]:
    """Yield the items, which another thread makes meanwhile; what it raises is raised here."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as worker:
        try:
            waiting = deque(worker.submit(next, iterator, end) for _ in range(_AHEAD))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(worker.submit(next, iterator, end))
                yield item  # type: ignore[misc]
        finally:
            worker.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Painted:
    frame: Frame
    rgb: Pixels
    """(H, W, 3)."""


class _Painter:
    """Colors the frames of a film, one after the other."""

    def __init__(
        self, colorizer: Colorizer, options: VideoOptions, earlier: Mapping[int, NDArray[np.float16]], inside: Inside
    ):
        self._colorizer, self._coloring, self._inside = colorizer, options.coloring, inside
        self._smoother, self._cuts, self._motion = Smoother(options.smoothing), Cuts(), Motion()
        self.without, self.written = Flicker(), Flicker()
        self.said = SaidColors(options.coloring.hints, options.like, earlier)
        self.shots = 0

    def paint(self, part: Any) -> Any:
        """Color a frame; a packet of sound or subtitles is given back as it is."""
        if not isinstance(part, Frame):
            return part
        light = self._colorizer.reduced_lightness(part.pixels, self._coloring.render_size, self._inside)
        ab = self._colorizer.ab(light, self._coloring.seed, inside=self._inside)
        cut = self._cuts.before(part.pixels)
        self.shots += cut
        flow = self._motion.into(part.pixels, light.shape, cut)
        colors = self._smoothed(light, ab, cut, flow) * np.float32(self._coloring.saturation)
        colors = self.said.kept(light, colors, part, cut, flow)
        return _Painted(part, self._colorizer.join(part.pixels, light, colors))

    def _smoothed(self, light: Floats, ab: Floats, cut: bool, flow: Floats | None) -> Floats:
        smoothed = self._smoother(light, ab, cut, flow)
        self.without.add(light, ab, cut, flow)
        self.written.add(light, smoothed, cut, flow)
        return smoothed
