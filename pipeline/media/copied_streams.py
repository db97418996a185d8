"""Sound, subtitles and fonts of a film, copied into another one, or converted where it cannot hold them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

# The subtitles that text becomes where the container cannot hold it as it is.
_TEXT = {".mkv": "ass"}
_TEXT_ELSEWHERE = "mov_text"
# Sound that the container cannot hold is decoded, and kept without loss; with the encoder's samples of 16 and 32 bits.
_LOSSLESS = {".mkv": ("flac", "s16", "s32")}
_LOSSLESS_ELSEWHERE = ("alac", "s16p", "s32p")
_SIXTEEN_BITS = ("u8", "u8p", "s16", "s16p")
# Seconds by which a stated time may lie before the end of the sound that was there: times are rounded.
_CLOSE = 0.1
# What is said of a stream; the last two, of an attachment.
_DESCRIPTIONS = ("language", "title", "handler_name", "filename", "mimetype")


class CopiedStreams:
    """The streams of a film being written that are copied packet by packet.

    Args:
        container: PyAV's, of the film being written.
        name: its file name.
        streams: of sound, subtitles and attachments, of the film being read.
    """

    def __init__(self, container: Any, name: str, streams: Iterable[Any]):
        self.left_out: list[str] = []
        """What the new film cannot hold, or holds converted, in a sentence each."""
        self._container, self._ending = container, PurePath(name).suffix.lower()
        self._streams: dict[int, Any] = {}
        self._encoders: dict[int, Any] = {}
        self._sounds: dict[int, _LosslessSound] = {}
        self._ends: dict[int, int] = {}
        for stream in streams:
            made = self._made(stream)
            if made is None:
                self.left_out.append(_without(stream, self._ending))
                continue
            made.metadata.update((key, stream.metadata[key]) for key in _DESCRIPTIONS if key in stream.metadata)
            made.disposition = stream.disposition.value
            self._streams[stream.index] = made

    def packets(self, packet: Any) -> list[Any]:
        """Return the packets of the new film that this one becomes."""
        if packet.stream.index not in self._streams:
            return []
        made, encoder = self._streams[packet.stream.index], self._encoders.get(packet.stream.index)
        if packet.stream.index in self._sounds:
            return self._sounds[packet.stream.index].packets(packet)
        # A packet without a time ends the stream.
        if packet.dts is None:
            return []
        if encoder is not None:
            return _encoded(packet, encoder, made)
        # Where a clock went back a little: FFmpeg writes no packet before the one that came before it.
        least = self._ends.get(packet.stream.index, packet.dts)
        packet.dts = max(packet.dts, least)
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        self._ends[packet.stream.index] = packet.dts + 1
        packet.stream = made
        return [packet]

    def _made(self, stream: Any) -> Any:
        """Return the stream of the new film; None where it cannot hold one."""
        if stream.type == "attachment":
            return self._attachment(stream)
        if stream.codec_context is None:
            return None
        try:
            return self._container.add_stream_from_template(stream)
        except ValueError:  # the container does not hold the codec
            pass
        if stream.type == "audio":
            return self._sound_without_loss(stream)
        return self._converted(stream) if stream.codec_context.codec.text_sub else None

    def _sound_without_loss(self, stream: Any) -> Any:
        source = stream.codec_context
        codec, short, long = _LOSSLESS.get(self._ending, _LOSSLESS_ELSEWHERE)
        samples = short if source.format is None or source.format.name in _SIXTEEN_BITS else long
        made = self._container.add_stream(codec, rate=source.sample_rate, layout=source.layout.name, format=samples)
        self._sounds[stream.index] = _LosslessSound(stream, made, samples)
        self.left_out.append(f"its sound ({source.name}) is not held by {self._ending} and was converted to {codec}")
        return made

    def finish(self) -> list[Any]:
        """Return the last packets, of sound that was converted."""
        return [packet for sound in self._sounds.values() for packet in sound.finish()]

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


class _LosslessSound:
    """Sound that is decoded and encoded without loss.

    Args:
        source, made: PyAV's streams, of the film being read and of the one being written.
        samples: FFmpeg's name of the samples that the encoder takes.
    """

    def __init__(self, source: Any, made: Any, samples: str):
        import av

        context = source.codec_context
        self._resampler = av.AudioResampler(samples, context.layout.name, context.sample_rate)
        self._made, self._end = made, 0

    def packets(self, packet: Any) -> list[Any]:
        """Return those that are ready with this one; the last of the film being read has no time."""
        import av

        ready: list[Any] = []
        try:
            for frame in packet.decode():
                # The last frames of some have no time; and a clock may go back.
                least = self._end - round(_CLOSE / frame.time_base)
                frame.pts = self._end if frame.pts is None or frame.pts < least else frame.pts
                self._end = frame.pts + round(frame.samples / frame.sample_rate / frame.time_base)
                for piece in self._resampler.resample(frame):
                    ready += self._made.encode(piece)
        except av.error.InvalidDataError:
            pass  # players go on, too
        return ready

    def finish(self) -> list[Any]:
        """Return the last packets."""
        return [packet for piece in [*self._resampler.resample(None), None] for packet in self._made.encode(piece)]


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
    """Return the sentence about a stream that the new film cannot hold."""
    if stream.type == "attachment":
        return f"the file {stream.name}, attached for its subtitles, cannot be kept in {ending} and was left out"
    codec = stream.codec_context.name if stream.codec_context else "of an unknown kind"
    language = stream.metadata.get("language")
    kind = "sound" if stream.type == "audio" else "subtitles"
    what = f"{kind} ({codec}{f', {language}' if language else ''})"
    advice = "" if ending == ".mkv" else "; a film that ends in .mkv holds them"
    return f"{what} cannot be kept in {ending}: left out{advice}"
