"""Decoded frames of a film as a player shows them: at increasing times, deinterlaced, and upright."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.types import Pixels

_ITU709, _ITU601 = 1, 5
# One frame of two fields, and only of those that the film marks as interlaced.
_DEINTERLACER = "mode=send_frame:deint=interlaced"


class Times:
    """Times that increase from frame to frame, whatever the film states."""

    _last: float = -math.inf
    _stated: float = -math.inf

    def next(self, stated: int | None, step: int) -> int:
        """The time of the next frame.

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


class Deinterlacer:
    """Makes whole frames of interlaced ones by FFmpeg's bwdif, from the first on; others pass as they are."""

    def __init__(self) -> None:
        self.frames = 0
        """Frames that were interlaced."""
        self._graph: Any = None
        self._time_base = Fraction(1)

    def __call__(self, frame: Any) -> Iterator[Any]:
        """The frames that are ready when this one comes: with its time set; None at the end of the film."""
        import av

        if frame is not None and frame.interlaced_frame:
            self.frames += 1
            if self._graph is None:
                self._open(frame)
        if self._graph is None:
            if frame is not None:
                yield frame
            return
        self._graph.push(frame)
        while True:
            try:
                whole = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):  # it waits for the next frame, or has no more
                return
            # The filter counts in half units.
            whole.pts, whole.time_base = int(whole.pts * whole.time_base / self._time_base), self._time_base
            yield whole

    def _open(self, frame: Any) -> None:
        import av.filter

        self._graph, self._time_base = av.filter.Graph(), frame.time_base
        given = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        filters = (given, self._graph.add("bwdif", _DEINTERLACER), self._graph.add("buffersink"))
        self._graph.link_nodes(*filters).configure()


def upright(frame: Any) -> tuple[Pixels, bool]:
    """(H, W, 3) uint8, turned and mirrored as the film's header asks; and whether width and height were exchanged."""
    # Where the header names no color matrix, players take BT.709 for high definition and BT.601 for less.
    named = frame.colorspace not in (0, 2)
    space = None if named else (_ITU709 if frame.height >= 720 else _ITU601)
    rgb: Pixels = frame.to_ndarray(format="rgb24", src_colorspace=space)
    # FFmpeg's display matrix (libavutil/display.h) shows the pixel (x, y) at (a x + c y, b x + d y).
    a, b, _, c, d = _display_matrix(frame)[:5]
    exchanged = abs(b) > abs(a)
    if exchanged:
        rgb, a, d = rgb.swapaxes(0, 1), c, b
    if a < 0:
        rgb = rgb[:, ::-1]
    if d < 0:
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb), bool(exchanged)


def _display_matrix(frame: Any) -> list[int]:
    data = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if data is None:
        return [1, 0, 0, 0, 1, 0, 0, 0, 1]
    matrix: list[int] = np.frombuffer(bytes(data), np.int32).tolist()
    return matrix
