"""Colors that somebody says for a later frame of a shot, carried back to the frames before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.color.hints import require_solver, spread_hints
from pipeline.inference.colorizer import ColoringOptions, Colorizer
from pipeline.inference.hints import Hint, require_hints, said_by
from pipeline.inference.margins import WHOLE, Inside
from pipeline.inference.motion import MOTION_SIDE, Cuts, Motion
from pipeline.inference.said_colors import faded, is_due, stronger
from pipeline.media.video_reader import Frame
from pipeline.types import Floats, Pixels

# Frames that a color is carried back at most: a fifth is left of it then, and so many small frames take 80 MB.
_FARTHEST = 300


@dataclass(frozen=True)
class _Seen:
    number: int
    small: Pixels
    """(h, w, 3), enough of the frame to find motion by."""
    light: Floats
    """(h, w) L* of what the network sees."""


def colors_before(
    frames: Iterable[Frame],
    hints: Sequence[Hint],
    colorizer: Colorizer,
    coloring: ColoringOptions,
    inside: Inside = WHOLE,
) -> dict[int, NDArray[np.float16]]:
    """Carry what is said of a frame back to the beginning of its shot.

    Args:
        frames: those of the film, from the first one. They are read up to the time of the last hint.
        hints: with their times. Those of the first frame have nothing before them.
        inside: what the network sees.

    Returns:
        By the number of a frame, from 0, the difference (2, h, w) of a* and b* that later hints make there.

    Raises:
        HintError: a hint means nothing on the film's frames.
        InputError: scipy is not installed.
    """
    waiting = deque(sorted((hint for hint in hints if hint.time > 0), key=lambda hint: hint.time))
    cuts, shot, began = Cuts(), deque[_Seen](maxlen=_FARTHEST), None
    found: dict[int, NDArray[np.float16]] = {}
    for number, frame in enumerate(frames):
        if began is None:
            began = float(frame.pts * frame.time_base)
            require_solver()
            require_hints(hints, frame.pixels.shape[1], frame.pixels.shape[0])
        if cuts.before(frame.pixels):
            shot.clear()
        light = colorizer.reduced_lightness(frame.pixels, coloring.render_size, inside)
        seen = _Seen(number, _small(frame.pixels), light)
        due = []
        while waiting and is_due(waiting[0], frame, began):
            due.append(waiting.popleft())
        if due and shot:
            ab = colorizer.ab(seen.light, coloring.seed, inside=inside) * np.float32(coloring.saturation)
            said = spread_hints(seen.light, ab, said_by(due, frame.pixels, seen.light.shape))
            _carry_back(found, shot, seen, said - ab)
        if not waiting:
            break
        shot.append(seen)
    return found


def _carry_back(found: dict[int, NDArray[np.float16]], shot: deque[_Seen], last: _Seen, difference: Floats) -> None:
    """Add a difference on a frame to those before it, from each to the one before."""
    motion, after = Motion(), np.stack([last.light, *difference])
    motion.into(last.small, last.light.shape, cut=True)
    for seen in reversed(shot):
        flow = motion.into(seen.small, seen.light.shape, cut=False)
        difference = faded(seen.light, after, flow)
        after = np.stack([seen.light, *difference])
        there = found.get(seen.number)
        both = difference if there is None else stronger(difference, there.astype(np.float32))
        found[seen.number] = both.astype(np.float16)


def _small(pixels: Pixels) -> Pixels:
    import cv2

    scale = min(1.0, MOTION_SIDE / min(pixels.shape[:2]))
    small: Any = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small)
