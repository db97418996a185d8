"""Sound, subtitles and fonts of a film, copied into another one; subtitles converted where it cannot hold them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from pipeline.errors import VideoError

# The subtitles that text becomes where the container cannot hold it as it is.
_TEXT = {".mkv": "ass"}
_TEXT_ELSEWHERE = "mov_text"
# What is said of a stream; the last two, of an attachment.
_DESCRIPTIONS = ("language", "title", "handler_name", "filename", "mimetype")


class CopiedStreams:
    """The streams of a film being written that are copied packet by packet.

    Args:
        container: PyAV's, of the film being written.
        name: its file name.
        streams: of sound, subtitles and attachments, of the film being read.

    Raises:
        VideoError: the container cannot hold the sound.
    """

    def __init__(self, container: Any, name: str, streams: Iterable[Any]):
        self.left_out: list[str] = []
        """What the new film cannot hold, in a sentence each."""
        self._container, self._ending = container, PurePath(name).suffix.lower()
        self._streams: dict[int, Any] = {}
        self._encoders: dict[int, Any] = {}
        for stream in streams:
            made = self._made(stream)
            if made is None:
                self.left_out.append(_without(stream, self._ending))
                continue
            made.metadata.update((key, stream.metadata[key]) for key in _DESCRIPTIONS if key in stream.metadata)
            made.disposition = stream.disposition.value
            self._streams[stream.index] = made

    def packets(self, packet: Any) -> list[Any]:
        """The packets of the new film that this one becomes."""
        # A packet without a time ends the stream.
        if packet.dts is None or packet.stream.index not in self._streams:
            return []
        made, encoder = self._streams[packet.stream.index], self._encoders.get(packet.stream.index)
        if encoder is not None:
            return _encoded(packet, encoder, made)
        packet.stream = made
        return [packet]

    def _made(self, stream: Any) -> Any:
        """The stream of the new film; None where it cannot hold one."""
        if stream.type == "attachment":
            return self._attachment(stream)
        if stream.codec_context is None:
            return None
        try:
            return self._container.add_stream_from_template(stream)
        except ValueError as error:  # the container does not hold the codec
            if stream.type == "audio":
                raise VideoError(
                    f"its sound ({stream.codec_context.name}) cannot be copied into {self._ending}; "
                    f"name an --out that ends in .mkv"
                ) from error
        return self._converted(stream) if stream.codec_context.codec.text_sub else None

    def _attachment(self, stream: Any) -> Any:
        return self._container.add_stream_from_template(stream) if self._ending == ".mkv" else None

    def _converted(self, stream: Any) -> Any:
        made = self._container.add_stream(_TEXT.get(self._ending, _TEXT_ELSEWHERE))
        stream.codec_context.open(strict=False)
        # FFmpeg decodes every text to ASS, whose header has the styles.
        made.codec_context.subtitle_header = stream.codec_context.subtitle_header
        made.codec_context.time_base = stream.time_base
        self._encoders[stream.index] = made.codec_context
        return made


def _encoded(packet: Any, encoder: Any, made: Any) -> list[Any]:
    import av

    try:
        text = packet.stream.decode2(packet)
    except av.error.InvalidDataError:
        return []  # players go on, too
    if text is None or not len(text):
        return []
    new = encoder.encode_subtitle(text)
    new.pts = new.dts = packet.pts
    new.duration, new.time_base, new.stream = packet.duration, packet.time_base, made
    return [new]


def _without(stream: Any, ending: str) -> str:
    """The sentence about a stream that the new film cannot hold."""
    if stream.type == "attachment":
        return f"the file {stream.name}, attached for its subtitles, cannot be kept in {ending} and was left out"
    codec = stream.codec_context.name if stream.codec_context else "of an unknown kind"
    language = stream.metadata.get("language")
    what = f"subtitles ({codec}{f', {language}' if language else ''})"
    advice = "" if ending == ".mkv" else "; an --out that ends in .mkv holds them"
    return f"{what} cannot be kept in {ending} and were left out{advice}"
