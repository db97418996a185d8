"""Coloring in a process of its own, which can be stopped when it takes too long. The extra twotone[serve]."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import TimeoutError as TookTooLongError
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.images import ImageError
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.lab import Samples
from pipeline.inference.pictures import WRITABLE, read_picture, write_picture

# Longest side of what the page shows; the download has the photograph's own size.
_PREVIEW = 1400


class WorkError(Exception):
    """This photograph could not be colored; the message is a sentence for whoever sent it."""


@dataclass(frozen=True)
class Request:
    source: Path
    folder: Path
    """Where the results go: it is there, and empty."""
    render_size: int
    seeds: tuple[int, ...]
    saturation: float


@dataclass(frozen=True)
class Result:
    """Files in the folder of the request."""

    before: Path
    """A preview of the photograph as it came."""
    after: tuple[Path, ...]
    """A preview of each coloring."""
    full: tuple[Path, ...]
    """Each at the photograph's own size."""


class Worker:
    """Colors one photograph after another with one model; a request that takes too long ends with its process."""

    def __init__(self, model: Path, max_pixels: int, seconds: float):
        from pebble import ProcessPool

        # Spawned: a fork of a server with threads may hang.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(max_workers=1, context=context)
        self._model, self._max_pixels, self._seconds = model, max_pixels, seconds

    def color(self, request: Request) -> Result:
        """Wait for a photograph to be colored.

        Raises:
            WorkError: it is no photograph, too large, or took too long.
        """
        from pebble import ProcessExpired

        task = self._pool.schedule(_color, args=[request, self._model, self._max_pixels], timeout=self._seconds)
        try:
            result: Result = task.result()
        except ImageError as error:
            raise WorkError(f"{request.source.name}: {error}") from None
        except TookTooLongError:
            raise WorkError(
                f"{request.source.name}: not done after {self._seconds:g} seconds; a smaller render size is faster"
            ) from None
        except (ProcessExpired, MemoryError):
            raise WorkError(f"{request.source.name}: not enough memory for a picture of its size") from None
        except OSError as error:
            raise WorkError(f"{request.source.name}: cannot be written: {error.strerror or error}") from None
        except ValueError as error:  # of an option that the page does not offer
            raise WorkError(f"{request.source.name}: {error}") from None
        return result

    def close(self) -> None:
        """Stop what runs."""
        self._pool.stop()
        self._pool.join()


@cache
def _colorizer(model: Path) -> Colorizer:
    return Colorizer.load(model)


def _color(request: Request, model: Path, max_pixels: int) -> Result:
    colorizer = _colorizer(model)
    picture = read_picture(request.source, max_pixels)
    ending = request.source.suffix[1:].lower()
    ending = ending if ending in WRITABLE else "png"
    after, full = [], []
    for seed in request.seeds:
        rgb = colorizer(picture.pixels, render_size=request.render_size, seed=seed, saturation=request.saturation)
        name = f"{request.source.stem}-color" + (f"-{seed}" if len(request.seeds) > 1 else "")
        full.append(request.folder / f"{name}.{ending}")
        write_picture(full[-1], rgb, picture, WRITABLE[ending])
        after.append(_preview(rgb, request.folder / f"after-{seed}.webp"))
    return Result(_preview(picture.pixels, request.folder / "before.webp"), tuple(after), tuple(full))


def _preview(pixels: Samples, path: Path) -> Path:
    eight = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(eight).convert("RGB")
    image.thumbnail((_PREVIEW, _PREVIEW), Image.Resampling.BICUBIC, reducing_gap=3.0)
    image.save(path, "WEBP", quality=90, method=2)
    return path
