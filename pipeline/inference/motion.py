"""Where each pixel of a film's frame was in the frame before, what that carries along, and where shots begin."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.color.arrays import window_mean
from pipeline.errors import VideoError, missing_extra
from pipeline.types import Floats, Pixels

# Short side of the frames between which motion is looked for, pixels: larger ones take longer and show more detail
# than the small copy, whose colors are carried.
MOTION_SIDE = 256
# How much nearer the lightness must come by following the motion than by standing still, L*. Without it, grain moves
# what is still. 0 and 1 were tried as well: see benchmarks/smoothing.py.
_NEARER = 0.5
# Threshold of FFmpeg's scene detector scdet, percent: its own default.
_CUT = "10"
_CUT_SIZE = (64, 64)


class Motion:
    """Finds motion by OpenCV's DIS (Kroeger et al. 2016, https://arxiv.org/abs/1603.03590), preset medium.

    Raises:
        VideoError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError:
            raise VideoError(missing_extra("films need OpenCV", "film")) from None
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: Any = None

    def into(self, pixels: Pixels, shape: tuple[int, int], cut: bool) -> Floats | None:
        """Return the motion from the frame before into this one.

        Args:
            pixels: (H, W, 3), the frame.
            shape: (h, w) of the result.
            cut: whether the frame begins a shot.

        Returns:
            (2, h, w): how far right and down of a pixel its content was in the frame before, pixels of `shape`.
            None where nothing is before it.
        """
        import cv2

        gray: Any = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, MOTION_SIDE / min(gray.shape))
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        before, self._before = self._before, gray
        if cut or before is None:
            return None
        flow = self._dis.calc(gray, before, None)
        (height, width), (rows, columns) = shape, gray.shape
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA)
        return np.stack([flow[..., 0] * np.float32(width / columns), flow[..., 1] * np.float32(height / rows)])


def carried(light: Floats, before: Floats, flow: Floats | None) -> Floats:
    """Return the frame before, each pixel from where its content was.

    A pixel that the motion does not explain better than standing still, or that came from outside, stays in its place.

    Args:
        light: (h, w) L* of the frame.
        before: (n, h, w): L* of the frame before, and any other planes of it.
        flow: (2, h, w) from `Motion`; None where nothing moves.

    Returns:
        (n, h, w)
    """
    if flow is None:
        return before
    import cv2

    height, width = light.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x + flow[0], y + flow[1]
    moved = np.stack([cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for plane in before])
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    follows = inside & (change(light, moved[0]) + np.float32(_NEARER) < change(light, before[0]))
    return np.where(follows, moved, before)


def change(light: Floats, before: Floats) -> Floats:
    """(h, w): the change of L*, averaged over 3x3 pixels so that grain does not count as one."""
    averaged: Floats = np.abs(window_mean(light - before, 1))
    return averaged


class Cuts:
    """Finds where shots begin, by FFmpeg's scdet on small gray frames."""

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

    def before(self, pixels: Pixels) -> bool:
        """Whether a shot begins with this (H, W, 3) frame; the first frame always begins one."""
        import av

        small = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(*_CUT_SIZE, "gray", interpolation="AREA")
        small.pts, small.time_base = self._frames, Fraction(1, 25)
        self._frames += 1
        self._graph.push(small)
        return "lavfi.scd.time" in self._graph.pull().metadata or self._frames == 1
