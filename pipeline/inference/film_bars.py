"""A film's black bars, which are in all of its frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.color.arrays import lightness
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.margins import MARGINS_SEEN, WHOLE, Inside, inside_margins
from pipeline.media.video_frames import upright
from pipeline.media.video_reader import open_reader
from pipeline.progress import progress
from pipeline.types import Floats

# Every such frame is looked at.
_EVERY = 12


def inside_bars(path: Path, max_pixels: int, colorizer: Colorizer, render_size: int | None = None) -> Inside:
    """Find what is inside of a film's black bars; all where there are none.

    A bar is black in every twelfth frame: a dark scene has none, nor have titles on black. For that the film is decoded
    once more, without converting all of it.

    Args:
        colorizer: whose network is to see it.
        render_size: short side of what it will see.

    Raises:
        LimitError: a frame has too many pixels.
        VideoError: the file is no film, or its frames are too small.
    """
    import av

    brightest, shape = None, (0, 0)
    with (
        open_reader(path, max_pixels) as reader,
        progress(total=reader.frames, desc=f"{reader.name}: bars", unit="frame", leave=False) as bar,
    ):
        try:
            for number, frame in enumerate(reader.stored()):
                if number % _EVERY == 0 and not frame.is_corrupt:
                    pixels = upright(frame)[0]
                    shape = shape if brightest is not None else pixels.shape[:2]
                    light = _light(pixels, brightest)
                    brightest = light if brightest is None else np.maximum(brightest, light)
                bar.update()
        except av.error.FFmpegError:  # of a damaged film, which is named when it is colored
            pass
    if brightest is None:
        return WHOLE
    return colorizer.allowed(inside_margins(brightest, of_a_film=True), shape, render_size)


def _light(pixels: Any, like: Floats | None) -> Floats:
    """Return L* of a small copy, as large as those before it."""
    height, width = pixels.shape[:2]
    scale = min(1.0, MARGINS_SEEN / min(height, width))
    size = (round(width * scale), round(height * scale)) if like is None else like.shape[::-1]
    return lightness(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)))
