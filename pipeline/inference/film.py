"""Films: frames streamed through a colorizer, their sound and timing copied. The extra twotone[film]."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.inference.clips import Clip, FilmError, Frame, Writer, open_clip, open_writer
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.lab import Samples
from pipeline.inference.smoothing import Flicker, Smoother

# FFmpeg's own default for scdet, in percent: mean change of the lightness, or how much it differs from the last one.
_CUT = "10"
_CUT_SIZE = (64, 64)


@dataclass(frozen=True)
class FilmReport:
    frames: int
    damaged: int
    """Of those, shown with faults, or missing: the decoder made what it could of them."""
    shots: int
    flicker_without: float
    """Of the network's own colors: see smoothing.Flicker."""
    flicker: float
    """Of those written."""


@dataclass(frozen=True)
class FilmOptions:
    render_size: int | None
    seed: int
    saturation: float
    smoothing: float
    max_pixels: int
    compare: bool


def color_film(source: Path, target: Path, colorizer: Colorizer, options: FilmOptions) -> FilmReport:
    """Color a film frame by frame; the file appears whole or not at all.

    Pictures are turned upright, sound is copied packet by packet, and each frame keeps its time. Written as H.264.

    Raises:
        FilmError: PyAV is not installed, or the file is no film, too large, or damaged.
        OSError: the result cannot be written.
    """
    try:
        import av
    except ImportError:
        raise FilmError("films need PyAV; install the extra twotone[film]") from None
    targets = [target]
    if options.compare:
        targets.append(target.with_stem(f"{target.stem}-compare"))
    try:
        with ExitStack() as stack:
            clip = stack.enter_context(open_clip(source, options.max_pixels))
            # The side-by-side film has no sound: it is for looking at.
            writers = [stack.enter_context(open_writer(path, clip, sound=path is target)) for path in targets]
            return _color(clip, writers, colorizer, options)
    except av.error.FFmpegError as error:  # of reading, it is a FilmError by now
        raise OSError(error.errno, error.strerror, str(target)) from None


def _color(clip: Clip, writers: Sequence[Writer], colorizer: Colorizer, options: FilmOptions) -> FilmReport:
    smoother, without, written = Smoother(options.smoothing), Flicker(), Flicker()
    cuts = _Cuts()
    frames = shots = 0
    with tqdm(total=clip.frames, desc=clip.name, unit="frame", leave=False) as bar:
        for part in clip.parts():
            if not isinstance(part, Frame):
                writers[0].copy(part)
                continue
            light = colorizer.reduced_lightness(part.pixels, options.render_size)
            found = colorizer.ab(light, options.seed)
            cut = cuts.before(part.pixels)
            color = smoother(light, found, cut)
            without.add(light, found, cut)
            written.add(light, color, cut)
            rgb = colorizer.join(part.pixels, light, color * np.float32(options.saturation))
            for writer, picture in zip(writers, (rgb, np.hstack([part.pixels, rgb])), strict=False):
                writer.add(picture, part)
            frames, shots = frames + 1, shots + cut
            bar.update()
    if not frames:
        raise FilmError("no frames in it")
    return FilmReport(frames, clip.damaged, shots, without.mean, written.mean)


class _Cuts:
    """Where shots begin, by FFmpeg's scdet on small gray frames."""

    def __init__(self) -> None:
        import av.filter

        self._graph = av.filter.Graph()
        width, height = _CUT_SIZE
        given = self._graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("gray"), time_base=Fraction(1, 25)
        )
        detector, result = self._graph.add("scdet", f"t={_CUT}"), self._graph.add("buffersink")
        given.link_to(detector)
        detector.link_to(result)
        self._graph.configure()
        self._frames = 0

    def before(self, pixels: Samples) -> bool:
        """Whether a shot begins with these (H, W, 3); with the first it does."""
        import av

        small = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(*_CUT_SIZE, "gray", interpolation="AREA")
        small.pts, small.time_base = self._frames, Fraction(1, 25)
        self._frames += 1
        self._graph.push(small)
        return "lavfi.scd.time" in self._graph.pull().metadata or self._frames == 1
