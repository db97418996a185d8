"""The sources `stl10` and `lab_arrays`: photographs in STL-10's binary file, and in L*a*b* arrays."""

from __future__ import annotations

import bisect
import hashlib
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import lab2rgb

from pipeline.errors import ImageError, SourceError
from pipeline.sampling.candidates import Candidate, Candidates
from pipeline.sampling.photographs import Decoded

# STL-10 (Coates et al. 2011): 3 planes of 96 columns of 96 bytes a photograph.
_STL_SIDE = 96
_STL_BYTES = 3 * _STL_SIDE * _STL_SIDE


def stl10(path: Path) -> Candidates:
    """Photographs of unlabeled_X.bin (or train_X.bin, test_X.bin), each 96x96 RGB.

    Args:
        path: the file, or the folder that holds unlabeled_X.bin.

    Raises:
        SourceError: no such file, or its size is no multiple of 27,648 bytes.
    """
    file = path / "unlabeled_X.bin" if path.is_dir() else path
    if not file.is_file():
        raise SourceError(f"sample.path {file}: no such file; set it to STL-10's unlabeled_X.bin or its directory")
    size = file.stat().st_size
    if size == 0 or size % _STL_BYTES:
        raise SourceError(
            f"sample.path {file}: expected a multiple of {_STL_BYTES:,} bytes (3 x 96 x 96 a photograph), "
            f"found {size:,}"
        )

    def make(number: int) -> Candidate:
        return Candidate(f"{file.name}#{number}", file, reader=partial(_read_stl10, number))

    return Candidates(size // _STL_BYTES, make)


def lab_arrays(folder: Path) -> Candidates:
    """Photographs of gray_scale.npy (N, S, S) uint8 and ab1.npy, ab2.npy, ... (M, S, S, 2), in OpenCV's 8-bit L*a*b*.

    The ab arrays follow each other; gray images beyond them have no colors and are left out.

    Raises:
        SourceError: a file is missing or of another shape or type, or there are more ab than gray images.
    """
    gray_file = folder / "gray_scale.npy"
    gray = _load(gray_file, 3)
    side = gray.shape[1:3]
    files = [folder / f"ab{number}.npy" for number in range(1, len(list(folder.glob("ab*.npy"))) + 1)]
    missing = [file.name for file in files if not file.is_file()] if files else ["ab1.npy"]
    if missing:
        # A gap would give one photograph's colors to another.
        raise SourceError(
            f"sample.path {folder}: expected ab1.npy, ab2.npy, ... without a gap and no other ab*.npy; "
            f"{len(files)} found, but no {missing[0]}"
        )
    ends: list[int] = []
    for file in files:
        ab = _load(file, 4)
        if ab.shape[1:] != (*side, 2):
            raise SourceError(
                f"{file}: expected (N, {side[0]}, {side[1]}, 2) uint8 as gray_scale.npy has it, found {ab.shape}"
            )
        ends.append((ends[-1] if ends else 0) + len(ab))
    if ends[-1] > len(gray):
        raise SourceError(
            f"sample.path {folder}: expected at most as many ab ({ends[-1]} found) as gray images ({len(gray)})"
        )

    def make(number: int) -> Candidate:
        which = bisect.bisect_right(ends, number)
        file, index = files[which], number - (ends[which - 1] if which else 0)
        return Candidate(f"{file.name}#{index}", file, reader=partial(_read_lab, gray_file, number, index))

    return Candidates(ends[-1], make)


def _load(file: Path, dimensions: int) -> NDArray[Any]:
    if not file.is_file():
        problem = "not a regular file" if file.exists() else "no such file"
        raise SourceError(f"sample.path: {file}: {problem}; expected a .npy array")
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises almost anything on a damaged header
        raise SourceError(f"{file}: no .npy array: {type(error).__name__}: {error}") from None
    if not isinstance(array, np.ndarray):
        raise SourceError(f"{file}: expected a .npy array, found an archive of arrays")
    if array.dtype != np.uint8 or array.ndim != dimensions or not array.size:
        raise SourceError(
            f"{file}: expected uint8 with {dimensions} dimensions, found {array.dtype} of shape {array.shape}"
        )
    return array


def _read_stl10(index: int, file: Path, max_pixels: int, _side: int) -> Decoded:
    _bound(_STL_SIDE, _STL_SIDE, max_pixels)
    planes = np.memmap(file, np.uint8, "r", offset=index * _STL_BYTES, shape=(3, _STL_SIDE, _STL_SIDE))
    # Column after column, as in the data set's own reader.
    pixels = np.ascontiguousarray(planes.transpose(2, 1, 0))
    return Decoded(Image.fromarray(pixels), hashlib.sha256(planes.tobytes()).hexdigest(), _STL_SIDE, _STL_SIDE)


def _read_lab(gray_file: Path, gray_index: int, index: int, file: Path, max_pixels: int, _side: int) -> Decoded:
    gray, ab = _mapped(gray_file)[gray_index], _mapped(file)[index]
    _bound(gray.shape[0], gray.shape[1], max_pixels)
    digest = hashlib.sha256(gray.tobytes() + ab.tobytes()).hexdigest()
    # OpenCV's 8-bit encoding: L * 255 / 100, a + 128, b + 128.
    lab = np.dstack([gray * (100 / 255), ab.astype(np.float64) - 128])
    pixels = (lab2rgb(lab) * 255).round().astype(np.uint8)
    return Decoded(Image.fromarray(pixels), digest, gray.shape[1], gray.shape[0])


@lru_cache(maxsize=64)
def _mapped(file: Path) -> NDArray[Any]:
    """Open an array that `_load` has checked: once, not for each photograph."""
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _bound(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise ImageError(f"too many pixels: {width}x{height} is over sample.max_pixels {max_pixels}")
