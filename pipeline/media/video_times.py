"""Times of a film as a player needs them: from 0, without jumps, and increasing from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

# FFmpeg's flag of containers whose clock may jump (AVFMT_TS_DISCONT): MPEG's and Ogg.
_MAY_JUMP = 0x0200
# Seconds by which a clock must go back or forth to have jumped; FFmpeg's own program closes those of 10 seconds.
_BACK, _FORTH = Fraction(3, 10), 10
_MICROSECOND = Fraction(1, 1_000_000)


@dataclass
class _Clock:
    """That of one stream."""

    line: int
    """Which shift it follows."""
    next: Fraction
    """When its next packet is due, seconds."""
    delay: Fraction = Fraction(0)
    """From the time at which a packet is decoded to the one at which it is shown, of the last packet, seconds."""


class Timeline:
    """Puts the packets of a film on one line of time that begins at 0 and has no jumps.

    The clocks of MPEG begin anywhere. They begin anew where films were joined, and jump where a recorder paused.

    Args:
        container: PyAV's, of the film being read.
    """

    def __init__(self, container: Any):
        self._may_jump = bool(container.format.flags & _MAY_JUMP)
        # After each jump a further one. Streams jump one after the other, and then share a shift, to stay together.
        self._shifts = [-max(container.start_time or 0, 0) * _MICROSECOND]
        self._clocks: dict[int, _Clock] = {}

    @property
    def jumps(self) -> int:
        return len(self._shifts) - 1

    def place(self, packet: Any) -> None:
        """Shift the times of a packet."""
        if packet.pts is None and packet.dts is None:
            return
        shift = self._shifts[-1]
        if self._may_jump and packet.stream.type in ("video", "audio"):
            time = self._decoded_at(packet)
            clock = self._clocks.setdefault(packet.stream.index, _Clock(self.jumps, time + shift))
            shift = self._shifts[self._line(clock, time)]
            clock.next = time + shift + (packet.duration or 0) * packet.time_base
        units = round(shift / packet.time_base)
        packet.pts, packet.dts = (None if at is None else at + units for at in (packet.pts, packet.dts))

    def _decoded_at(self, packet: Any) -> Fraction:
        """Return the time at which a packet is decoded, seconds; mended where FFmpeg counts on after a jump."""
        clock = self._clocks.get(packet.stream.index)
        delay = clock.delay if clock else Fraction(0)
        if packet.pts is None:
            return Fraction(packet.dts * packet.time_base)
        shown = packet.pts * packet.time_base
        if packet.dts is None or not 0 <= shown - packet.dts * packet.time_base <= _FORTH:
            packet.dts = packet.pts - round(delay / packet.time_base)
        if clock:
            clock.delay = shown - packet.dts * packet.time_base
        return Fraction(packet.dts * packet.time_base)

    def _line(self, clock: _Clock, time: Fraction) -> int:
        """Return the number of the shift that a stream follows now."""
        if not self._fits(clock, time, clock.line):
            later = (line for line in range(clock.line + 1, len(self._shifts)) if self._fits(clock, time, line))
            clock.line = next(later, len(self._shifts))
            if clock.line == len(self._shifts):
                self._shifts.append(clock.next - time)
        return clock.line

    def _fits(self, clock: _Clock, time: Fraction, line: int) -> bool:
        return -_BACK <= time + self._shifts[line] - clock.next <= _FORTH


class Times:
    """Times that increase from frame to frame, whatever the film states."""

    _last: float = -math.inf
    _stated: float = -math.inf

    def next(self, stated: int | None, step: int) -> int:
        """Return the time of the next frame.

        Args:
            stated: by the film; None where it states none, as for the last frames of some.
            step: the length of a frame.
        """
        if stated is None:
            time = max(0, self._last) + step
        elif stated > self._last:
            time = stated
        else:
            # A frame that repeats a time is shown a frame's length later; those after it catch up with their own.
            time = self._last + (step if stated <= self._stated else 1)
        self._last, self._stated = time, self._stated if stated is None else stated
        return int(time)
