"""Where hints come from: NAME.hints.json, NAME.hints.png (a copy with painted dots), or a reference picture."""

from __future__ import annotations

import json
import os
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from pipeline.coloring.copies import COLORED, stem_of
from pipeline.errors import HintError, ImageError
from pipeline.files import write_whole
from pipeline.inference.hints import MOST, Hint, Painted, require_hints
from pipeline.inference.reference import hints_like, with_alpha
from pipeline.media.decoding import SUFFIXES
from pipeline.media.pictures import read_picture
from pipeline.media.writing import eight_bits
from pipeline.types import Samples

MARK = ".hints"
"""What the name of a file of hints ends with, before its ending."""
_LARGEST, _MOST_PIXELS = 2**20, 200_000_000
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_ENDINGS = (".json", ".JSON", *_PICTURES, *(ending.upper() for ending in _PICTURES))
# A number; true and false are none.
_Number = Annotated[float, Strict()]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    x: _Number | str
    y: _Number | str
    color: str
    radius: _Number | str | None = None
    time: _Number = Field(0.0, ge=0, allow_inf_nan=False)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int | None = Field(None, ge=1, le=10**7)
    """The size of the photograph that positions in pixels are of; None for the photograph's own."""
    height: int | None = Field(None, ge=1, le=10**7)
    hints: list[_Entry]

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height belong together")
        return self


def is_hints(path: Path) -> bool:
    """Return whether a file is named as hints of another one: street.hints.json, street.hints.png."""
    return path.stem.endswith(MARK) and path.suffix in _ENDINGS


def belongs_to_another(path: Path) -> bool:
    """Return whether a file has the hints of a photograph or film beside it, and is none itself."""
    if not is_hints(path):
        return False
    stem = path.stem[: -len(MARK)]
    endings = ["", *(ending for suffix in COLORED for ending in (suffix, suffix.upper()))]
    return any(os.path.isfile(path.with_name(stem + ending)) for ending in endings)


def photograph_beside(film: Path) -> Path | None:
    """Return a photograph that has the name of a film, as phones write such pairs: hints of that name are its."""
    endings = [ending for suffix in SUFFIXES for ending in (suffix, suffix.upper())]
    return next((file for ending in endings if os.path.isfile(file := film.with_suffix(ending))), None)


def hints_beside(photograph: Path) -> Path | None:
    """Return the file of hints beside a photograph or film, if there is one: the JSON before a painted copy."""
    for stem in (stem_of(photograph), photograph.name):
        for ending in _ENDINGS:
            found = photograph.with_name(f"{stem}{MARK}{ending}")
            if os.path.isfile(found):  # False for a name that is too long, too
                return found
    return None


def read_hints(path: Path) -> tuple[Hint, ...] | Painted:
    """Read a file of hints.

    Raises:
        HintError: it is missing, or holds none that can be read.
    """
    if path.suffix.lower() != ".json":
        return _painted(path)
    try:
        content = path.read_bytes()
        if len(content) > _LARGEST:
            raise HintError(f"{path}: {len(content)} bytes; a file of hints has at most {_LARGEST}")
        tree = json.loads(content, object_pairs_hook=partial(_once_each, path))
        file = _File.model_validate({"hints": tree} if isinstance(tree, list) else tree)
    except HintError:
        raise
    except OSError as error:
        raise HintError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise HintError(f"{path}: {_problem(error)}; {_EXAMPLE}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise HintError(f"{path}: {place}: this is no JSON ({error.msg.lower()}); {_EXAMPLE}") from None
    except (ValueError, RecursionError):
        raise HintError(f"{path}: no JSON; {_EXAMPLE}") from None
    if not file.hints:
        raise HintError(f"{path}: no hints in it; {_EXAMPLE}")
    size = None if file.width is None or file.height is None else (file.width, file.height)
    short = None if size is None else min(size)
    return tuple(
        Hint(
            _share(one.x, file.width),
            _share(one.y, file.height),
            one.color,
            None if one.radius is None else _share(one.radius, short),
            one.time,
            size,
        )
        for one in file.hints
    )


def _once_each(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON.

    Raises:
        HintError: a key stands in it twice, of which json would keep the last.
    """
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise HintError(f"{path}: {twice!r} stands twice in one object; {_EXAMPLE}")
    return dict(pairs)


def _problem(error: ValidationError) -> str:
    """Say what is wrong with the first hint that is wrong; hints count from 1. A key that is unknown is often the one
    that is missing, misspelt, and comes first.
    """
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    numbered = [f"hint {part + 1}" if isinstance(part, int) else str(part) for part in first["loc"] if part != "hints"]
    place = ": ".join(numbered) or "the file"
    return f"{place}: {'no such key' if first['type'] == 'extra_forbidden' else first['msg'].lower()}"


_EXAMPLE = 'hints are written as {"hints": [{"x": 120, "y": "40%", "color": "#8b1a1a"}]}'


def write_hints(path: Path, hints: tuple[Hint, ...]) -> None:
    """Write hints as `read_hints` reads them.

    Raises:
        OSError: the file cannot be written.
    """
    entries = [
        {"x": one.x, "y": one.y, "color": one.color}
        | ({} if one.radius is None else {"radius": one.radius})
        | ({"time": one.time} if one.time else {})
        for one in hints
    ]
    write_whole(path, (json.dumps({"hints": entries}, indent=2) + "\n").encode())


def _share(position: float | str, length: int | None) -> float | str:
    """Return pixels of a photograph of another size as a share of its side."""
    if length is None or (isinstance(position, str) and position.strip().endswith("%")):
        return position
    try:
        return f"{100 * float(position) / length!r}%"
    except ValueError:
        return position  # which is refused when it is used


def _painted(path: Path) -> Painted:
    try:
        picture = read_picture(path, _MOST_PIXELS)
    except ImageError as error:
        raise HintError(f"{path}: {error}") from None
    except OSError as error:
        raise HintError(f"{path}: cannot be read: {error.strerror}") from None
    pixels = picture.pixels
    if pixels.ndim == 2:
        raise HintError(f"{path}: a gray picture; paint dots of color on a copy of the photograph")
    covers = None if picture.alpha is None else picture.alpha > np.iinfo(picture.alpha.dtype).max // 2
    return Painted(eight_bits(pixels), covers)


def liked(pixels: Samples, reference: Samples, name: str, said: tuple[Hint, ...] = ()) -> tuple[tuple[Hint, ...], str]:
    """Find the hints that a reference picture has for a photograph.

    Args:
        pixels: (H, W) or (H, W, 3), of the photograph.
        reference: (h, w, 3), in color.
        name: of the picture.
        said: hints of somebody. Of two hints at one place the later one counts, and these come last.

    Returns:
        All hints, and a sentence on how much of the picture matches.

    Raises:
        HintError: the picture has no color, or what is said means nothing on the photograph.
        InputError, WeightsError: what compares the two is not installed.
    """
    require_hints(said, pixels.shape[1], pixels.shape[0])
    found = hints_like(pixels, reference)
    matches = f"{len(found)} places have colors of" if found else "nothing matches"
    # Of those found the surest come last.
    return (*found[max(0, len(found) + len(said) - MOST) :], *said), f"{matches} {name}"


@lru_cache(maxsize=1)
def reference_picture(path: Path) -> Samples:
    """Read a reference picture, once for all photographs.

    Raises:
        HintError: it cannot be read.
    """
    return read_reference(path, _MOST_PIXELS)


def read_reference(path: Path, max_pixels: int) -> Samples:
    """Read a reference picture: (H, W) or (H, W, 3), and (H, W, 4) uint8 where a part of it is transparent.

    Raises:
        HintError: it cannot be read.
    """
    try:
        picture = read_picture(path, max_pixels)
    except (ImageError, OSError) as error:
        raise HintError(f"{path}: {error}") from None
    return picture.pixels if picture.alpha is None else with_alpha(picture.pixels, picture.alpha)
