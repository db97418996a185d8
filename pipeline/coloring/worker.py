"""Color a photograph of the page in a separate process, which is stopped when it takes too long."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import TimeoutError as TookTooLongError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.coloring.color_picture import advised, color_picture
from pipeline.coloring.copies import MARK, stem_of
from pipeline.coloring.hint_files import liked, read_reference
from pipeline.coloring.model_choice import load_signed, used
from pipeline.errors import ColoringError, HintError, TwotoneError
from pipeline.files import write_whole
from pipeline.inference.colorizer import ColoringOptions
from pipeline.inference.hints import Painted, require_hints
from pipeline.media.pictures import read_picture
from pipeline.media.writing import WRITABLE, copy_ending
from pipeline.types import Samples

PREVIEW: dict[str, Any] = {"format": "JPEG", "quality": 92, "subsampling": 0}
"""How what the page shows is saved: a tenth of the time that WebP takes, and each click waits for three of them."""
# Longest side of what the page shows; the download has the photograph's own size.
_PREVIEW = 1400


@dataclass(frozen=True)
class Request:
    source: Path
    folder: Path
    """An empty folder for the results."""
    coloring: ColoringOptions
    """With the seed of the first variant."""
    variants: int = 1
    """Colorings, by seeds that follow each other."""
    vivid: float | None = None
    """Where the dial stands; None for the model as it is."""
    like: Path | None = None
    """A reference picture, whose colors the photograph gets where they match."""


@dataclass(frozen=True)
class Result:
    """Files in the folder of the request."""

    before: Path
    """A preview of the photograph that was sent."""
    after: tuple[Path, ...]
    """A preview of each coloring."""
    full: tuple[Path, ...]
    """Each at the photograph's own size."""
    notes: tuple[str, ...] = ()
    """What of the photograph they have not, in a sentence each."""


class Worker:
    """Colors one photograph after another with one model; the process of a request that takes too long is stopped."""

    def __init__(self, model: Path, max_pixels: int, seconds: float, device: str = "auto"):
        from pebble import ProcessPool

        # Spawned: a fork of a server with threads may hang.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(max_workers=1, context=context)
        self._model, self._max_pixels, self._seconds, self._device = model, max_pixels, seconds, device

    def color(self, request: Request) -> Result:
        """Wait for a photograph to be colored.

        Raises:
            ColoringError: it is no photograph, too large, or took too long.
            HintError: its hints mean nothing on it.
        """
        result: Result = self._done(request.source.name, _color, request, self._model, self._max_pixels, self._device)
        return result

    def preview(self, picture: Path, folder: Path) -> Path:
        """Wait for a picture to be read, and return what the page shows of it.

        Args:
            folder: an empty one, for the preview.

        Raises:
            ColoringError: it is no picture, too large, or took too long.
        """
        path: Path = self._done(picture.name, _previewed, picture, folder, self._max_pixels)
        return path

    def _done(self, name: str, work: Callable[..., Any], *given: Any) -> Any:
        from pebble import ProcessExpired

        task = self._pool.schedule(work, args=given, timeout=self._seconds)
        try:
            return task.result()
        except HintError as error:
            raise HintError(f"{name}: {error}") from None
        except TwotoneError as error:
            raise ColoringError(f"{name}: {advised(error)}") from None
        except TookTooLongError:
            raise ColoringError(
                f"{name}: not done after {self._seconds:g} seconds; a smaller render size is faster"
            ) from None
        except (ProcessExpired, MemoryError):
            raise ColoringError(f"{name}: not enough memory for a picture of its size") from None
        except OSError as error:
            raise ColoringError(f"{name}: cannot be written: {error.strerror or error}") from None
        except ValueError as error:  # an option that the page does not offer
            raise ColoringError(f"{name}: {error}") from None
        except Exception as error:  # whatever torch or ONNX Runtime raises: one photograph never ends a batch
            raise ColoringError(f"{name}: cannot be colored: {type(error).__name__}: {error}") from None

    def close(self) -> None:
        """Stop the process, whatever it is doing."""
        self._pool.stop()
        self._pool.join()


def _color(request: Request, model: Path, max_pixels: int, device: str) -> Result:
    colorizer, origin = load_signed(model, request.vivid, device=device)
    # What is there of a damaged photograph: the page has no option to ask for it, and says what is missing.
    picture = read_picture(request.source, max_pixels, damaged=True)
    ending = copy_ending(request.source.suffix)
    asked, notes = _with_reference(request, picture.pixels, max_pixels)
    origin = used(origin, asked)
    after, full = [], []
    first = request.coloring.seed
    for seed in range(first, first + request.variants):
        coloring = replace(asked, seed=seed)
        colored = color_picture(picture, colorizer, coloring, WRITABLE[ending], origin)
        name = f"{stem_of(request.source)}{MARK}" + (f"-{seed}" if request.variants > 1 else "")
        full.append(request.folder / f"{name}.{ending}")
        write_whole(full[-1], colored.content)
        after.append(_preview(colored.rgb, request.folder / f"after-{seed}.jpg"))
        notes += [note for note in colored.notes if note not in notes]
    before = _preview(picture.pixels, request.folder / "before.jpg")
    return Result(before, tuple(after), tuple(full), tuple(notes))


def _with_reference(request: Request, pixels: Samples, max_pixels: int) -> tuple[ColoringOptions, list[str]]:
    """Add the hints that the reference picture gives; without it, where it cannot be used, and a note says why."""
    said = request.coloring.hints
    if request.like is None or isinstance(said, Painted):
        return request.coloring, []
    require_hints(said, pixels.shape[1], pixels.shape[0])  # of what somebody says, another sentence tells
    try:
        hints, note = liked(pixels, read_reference(request.like, max_pixels), request.like.name, said)
    except MemoryError:
        return request.coloring, [f"colored without {request.like.name}: not enough memory to compare the two"]
    except TwotoneError as error:
        reason = str(error).removeprefix(f"{request.like}: ")
        return request.coloring, [f"colored without {request.like.name}: {reason}"]
    return replace(request.coloring, hints=hints), [note]


def _previewed(picture: Path, folder: Path, max_pixels: int) -> Path:
    return _preview(read_picture(picture, max_pixels, damaged=True).pixels, folder / "picture.jpg")


def _preview(pixels: Samples, path: Path) -> Path:
    eight = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(eight).convert("RGB")
    image.thumbnail((_PREVIEW, _PREVIEW), Image.Resampling.BICUBIC, reducing_gap=3.0)
    image.save(path, **PREVIEW)
    return path
