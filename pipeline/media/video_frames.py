"""Decoded frames of a film as a player shows them: deinterlaced, in RGB, and upright."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.errors import VideoError
from pipeline.types import Pixels

_ITU709, _ITU601 = 1, 5
_FULL_RANGE, _EIGHT = 2, 8
# ITU-T H.273, table 3: curves whose white is not that of a screen.
_NOT_FOR_SCREENS = {8: "linear light", 16: "HDR (PQ)", 18: "HDR (HLG)"}
# One frame of two fields, and only of those that the film marks as interlaced.
_DEINTERLACER = "mode=send_frame:deint=interlaced"


class Deinterlacer:
    """Makes whole frames of interlaced ones by FFmpeg's bwdif, from the first on; others pass as they are."""

    def __init__(self) -> None:
        self.frames = 0
        """Frames that were interlaced."""
        self._graph: Any = None
        self._time_base = Fraction(1)

    def __call__(self, frame: Any) -> Iterator[Any]:
        """Yield the frames that are ready when this one comes: with its time set; None at the end of the film."""
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
            units = whole.time_base / self._time_base
            whole.pts, whole.duration = int(whole.pts * units), int((whole.duration or 0) * units)
            whole.time_base = self._time_base
            yield whole

    def _open(self, frame: Any) -> None:
        import av.filter

        self._graph, self._time_base = av.filter.Graph(), frame.time_base
        given = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        filters = (given, self._graph.add("bwdif", _DEINTERLACER), self._graph.add("buffersink"))
        self._graph.link_nodes(*filters).configure()


def _rgb(frame: Any, space: int | None) -> Pixels:
    """Return (H, W, 3) uint8, exact to rounding where FFmpeg's converter is not."""
    bits, full = max(part.bits for part in frame.format.components), frame.color_range == _FULL_RANGE
    if frame.format.name.startswith("gray") and frame.color_range:
        # It takes gray for full range, whatever the film says.
        return np.repeat(_levels(frame, bits, full)[..., None], 3, 2)
    if bits > _EIGHT and full and not frame.format.is_rgb:
        # Its white is 2^n, not 2^n - 1.
        deep = frame.reformat(format="rgb48le", src_colorspace=space, interpolation=exact()).to_ndarray()
        largest = 2**16 - 2 ** (16 - bits)
        levels: Pixels = ((deep.astype(np.uint32) * 255 + largest // 2) // largest).clip(0, 255).astype(np.uint8)
        return levels
    rgb: Pixels = frame.reformat(format="rgb24", src_colorspace=space, interpolation=exact()).to_ndarray()
    return rgb


def _levels(frame: Any, bits: int, full: bool) -> Pixels:
    """Return the (H, W) levels of a gray frame, uint8."""
    deep = ">u2" if frame.format.name.endswith("be") else "<u2"
    plane, kind = frame.planes[0], np.dtype(np.uint8 if bits <= _EIGHT else deep)
    rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)[:, : plane.width]
    unit = 2 ** (bits - _EIGHT)
    black, white = (0, 2**bits - 1) if full else (16 * unit, 235 * unit)
    levels: Pixels = ((rows.astype(np.float64) - black) * 255 / (white - black) + 0.5).clip(0, 255).astype(np.uint8)
    return levels


def exact() -> Any:
    """Return FFmpeg's flags for converting exactly: its quick way darkens 8 bits by 0.3 levels, and 10 bits by 1.4."""
    from av.video.reformatter import Interpolation

    return (
        Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    )


def upright(frame: Any) -> tuple[Pixels, bool]:
    """(H, W, 3) uint8, turned and mirrored as the film's header asks; and whether width and height were exchanged.

    Raises:
        VideoError: its curve is one for screens brighter than white.
    """
    if frame.color_trc in _NOT_FOR_SCREENS:
        raise VideoError(f"its samples are {_NOT_FOR_SCREENS[frame.color_trc]}; convert it to SDR (BT.709) first")
    # Where the header names no color matrix, players take BT.709 for high definition and BT.601 for less.
    named = frame.colorspace not in (0, 2)
    space = None if named else (_ITU709 if frame.height >= 720 else _ITU601)
    rgb = _rgb(frame, space)
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


def _display_matrix(frame: Any) -> list[float]:
    try:
        data = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    except ValueError:
        # PyAV does not know each kind of side data, such as EXIF; of the matrix it gives the angle, counterclockwise.
        angle = math.radians(frame.rotation)
        return [math.cos(angle), -math.sin(angle), 0, math.sin(angle), math.cos(angle), 0, 0, 0, 1]
    if data is None:
        return [1, 0, 0, 0, 1, 0, 0, 0, 1]
    matrix: list[float] = np.frombuffer(bytes(data), np.int32).tolist()
    return matrix
