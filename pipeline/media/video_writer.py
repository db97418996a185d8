"""Write films frame by frame through PyAV, with copied sound and subtitles, and the texts of the films they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import replacing
from pipeline.media.copied_streams import CopiedStreams
from pipeline.media.video_frames import exact
from pipeline.media.video_reader import Frame, VideoReader, comment_of
from pipeline.types import Pixels

# Constant quality: 18 is what x264's authors call visually lossless, or nearly so.
# Without mbtree, whose fast code gave other bytes in nearly every run (x264 of PyAV 18.1, AVX-512).
_ENCODER = {"crf": "18", "preset": "medium", "x264-params": "mbtree=0"}
# The one that all players know; its sides are even.
_PIXEL_FORMAT = "yuv420p"
_ITU709 = 1
# Texts by FFmpeg's names that are about the file, not about the film.
_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "creation_time_utc"}
# Those that FFmpeg's writer of MP4 and MOV has a place for (libavformat/movenc.c); Matroska holds any.
_IN_MP4 = {
    *("title", "artist", "album_artist", "composer", "album", "date", "creation_time", "comment", "genre", "copyright"),
    *("grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "language"),
}
_HOLDS_ANY_TEXT = ".mkv"


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
        self._durations: dict[int, int] = {}
        self._copies = CopiedStreams(container, name, reader.copied if copies else [])
        self.lost_texts: list[str] = []
        """Names of what the film says of itself and the new one cannot hold."""
        self._evened = ""

    @property
    def left_out(self) -> Sequence[str]:
        """What the new film cannot hold, in a sentence each."""
        found = [*([self._evened] if self._evened else []), *self._copies.left_out]
        if not self.lost_texts:
            return found
        texts = "its texts" if len(self.lost_texts) > 1 else "its text"
        return [*found, f"{texts} {', '.join(self.lost_texts)} cannot be kept in this format"]

    def tell(self, texts: Mapping[str, str], made_by: str, ending: str) -> None:
        """Take over what a film says of itself, and add to its comment what has colored it."""
        about = {name: text for name, text in texts.items() if name.lower() not in _OF_THE_FILE}
        kept = {name: text for name, text in about.items() if ending == _HOLDS_ANY_TEXT or name.lower() in _IN_MP4}
        self.lost_texts = sorted(about.keys() - kept.keys())
        self._container.metadata.update(kept)
        if made_by:
            self._container.metadata["comment"] = "; ".join([*filter(None, [comment_of(kept)]), made_by])

    def add(self, rgb: Pixels, like: Frame) -> None:
        """Add a (H, W, 3) uint8 frame, shown at the time of `like`; an odd side is made even by its last line again."""
        import av

        height, width = rgb.shape[:2]
        if height % 2 or width % 2:
            rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
            self._evened = f"frames of {width}x{height} were made {rgb.shape[1]}x{rgb.shape[0]}, which players ask for"
        if not self._ready:
            self._prepare(rgb, like.turned)
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
        frame = frame.reformat(format=_PIXEL_FORMAT, dst_colorspace=_ITU709, interpolation=exact())
        frame.pts, frame.time_base = like.pts, like.time_base
        self._durations[like.pts] = like.duration
        self._container.mux(self._encoded(frame))
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
            self._container.mux(self._encoded(None))
            self._container.mux(self._copies.finish())

    def _encoded(self, frame: Any) -> list[Any]:
        """Return the packets that are ready with a frame: as long as the frames that they are of."""
        packets: list[Any] = self._video.encode(frame)
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
        return packets

    def _prepare(self, rgb: Pixels, turned: bool) -> None:
        """Set up the encoder for frames like the first one."""
        context = self._video.codec_context
        context.height, context.width = rgb.shape[:2]
        context.pix_fmt = _PIXEL_FORMAT
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
        writer = VideoWriter(container, path.name, reader, copies)
        writer.tell(reader.container.metadata, made_by, path.suffix.lower())
        yield writer
        writer.finish()
