"""Colors that somebody says for a frame of a film: carried along the motion, up to the next cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipeline.color.hints import require_solver, spread_hints
from pipeline.inference.hints import Hint, Painted, require_hints, said_by
from pipeline.inference.motion import carried, change
from pipeline.inference.reference import hints_like
from pipeline.media.video_reader import Frame
from pipeline.types import Floats, Samples

# A change of L* along the motion below which a thing is the same, grain and noise included, and how fast it counts as
# another one beyond that.
_SAME, _OTHER = 4.0, 4.0
# What is left of a said color from one frame to the next: half after 140 frames, so that no error stays forever.
_LEFT = 0.995
# Seconds: less than between two frames, and more than a time is rounded by.
_INSTANT = 1e-4
# Frames after which a reference picture is looked at again.
_AGAIN = 25


class SaidColors:
    """The difference between what was said and what the network paints, on the frames after it.

    Hints hold for the shot of the frame at their time. On that frame the difference is spread along the lightness, as
    on a photograph. From there each pixel takes it along its motion, and less of it where the lightness changes on
    the way.

    Args:
        hints: with their times; a painted copy is of the first frame.
        like: a color picture, (H, W, 3), whose colors frames get where they match: the first of each shot, and every
            25th after it, since what is carried fades.
        earlier: by the number of a frame, what later hints say of it: see `colors_before`.
    """

    def __init__(
        self,
        hints: Sequence[Hint] | Painted,
        like: Samples | None = None,
        earlier: Mapping[int, NDArray[np.float16]] = MappingProxyType({}),
    ):
        self._like, self._since = like, 0
        self._earlier, self._number = earlier, -1
        self.matching = 0
        """Places of all frames that had a color of the picture."""
        self._painted = hints if isinstance(hints, Painted) else None
        self._given: Sequence[Hint] = () if isinstance(hints, Painted) else hints
        self._hints = sorted(self._given, key=lambda hint: hint.time)
        self._began: float | None = None
        self._before: Floats | None = None
        """(3, h, w): L*, and the difference of a* and b*, of the frame before."""

    @property
    def waiting(self) -> int:
        """How many hints no frame has had yet."""
        return len(self._hints) + (self._painted is not None)

    def kept(self, light: Floats, ab: Floats, frame: Frame, cut: bool, flow: Floats | None) -> Floats:
        """Return the colors of the next frame with what was said of it, or of one before it.

        Args:
            light: (h, w) L* of the small copy.
            ab: (2, h, w) of the same, smoothed.
            frame: the frame itself.
            cut: whether it begins a shot.
            flow: (2, h, w) from `Motion`; None where nothing moves.

        Raises:
            HintError: a hint means nothing on the frame.
            InputError: scipy is not installed.
        """
        shown = float(frame.pts * frame.time_base)
        if self._began is None:
            self._began = shown
            self._require(frame)
        self._number += 1
        difference = None if cut or self._before is None else faded(light, self._before, flow)
        if self._number in self._earlier:
            later = self._earlier[self._number].astype(np.float32)
            difference = later if difference is None else stronger(difference, later)
        due = self._due(frame, self._began)
        self._since = 0 if cut else self._since + 1
        if self._like is not None and self._since % _AGAIN == 0 and not isinstance(due, Painted):
            # What somebody says comes last, and counts.
            found = hints_like(frame.pixels, self._like)
            self.matching += len(found)
            due = (*found, *due)
        if due:
            painted = ab if difference is None else ab + difference
            difference = spread_hints(light, painted, said_by(due, frame.pixels, light.shape)) - ab
        self._before = None if difference is None else np.stack([light, *difference])
        return ab if difference is None else ab + difference

    def _require(self, frame: Frame) -> None:
        """Refuse, on the first frame, what would end the work on a later one.

        Raises:
            HintError: a hint means nothing on a frame of this size.
            InputError: scipy is not installed.
        """
        if self.waiting:
            require_solver()
            require_hints(self._given, frame.pixels.shape[1], frame.pixels.shape[0])

    def _due(self, frame: Frame, began: float) -> Sequence[Hint] | Painted:
        """Take the hints whose time has come."""
        if self._painted:
            painted, self._painted = self._painted, None
            return painted
        due = [hint for hint in self._hints if is_due(hint, frame, began)]
        self._hints = self._hints[len(due) :]
        return due


def is_due(hint: Hint, frame: Frame, began: float) -> bool:
    """Return whether a hint is of a frame or of one before it: each is shown until the next one comes.

    Args:
        began: the time of the first frame, in seconds.
    """
    shown = float(frame.pts * frame.time_base) - began
    return hint.time <= shown or hint.time < shown + float(frame.duration * frame.time_base) - _INSTANT


def faded(light: Floats, before: Floats, flow: Floats | None) -> Floats:
    """Carry a difference on to the next frame, less of it where the lightness changes on the way.

    Args:
        light: (h, w) L* of the frame.
        before: (3, h, w): L* and the difference of a* and b*, of the frame that it comes from.
        flow: (2, h, w) from `Motion`; None where nothing moves.

    Returns:
        (2, h, w)
    """
    there = carried(light, before, flow)
    beyond = np.maximum(change(light, there[0]) - np.float32(_SAME), 0)
    same = np.exp(-((beyond / np.float32(_OTHER)) ** 2))
    left: Floats = there[1:] * same * np.float32(_LEFT)
    return left


def stronger(one: Floats, other: Floats) -> Floats:
    """Return of two differences (2, h, w) the larger one at each pixel: two hints that say the same do not add up."""
    return np.where(np.hypot(*one) >= np.hypot(*other), one, other)
