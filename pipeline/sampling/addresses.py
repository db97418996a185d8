"""Files of many photographs, here or in a bucket: how each is named, and opened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from pipeline.errors import SourceError, missing_extra

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def listed_addresses(path: Path, form: str) -> Iterator[tuple[str, str]]:
    """Yield how each address of a text file is named, and the address: one that fsspec knows, or a path.

    Args:
        path: the text file; paths in it are relative to it.
        form: what was expected, for a message.

    Raises:
        SourceError: it cannot be read, or a range in it goes downward.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise SourceError(f"sample.path {path}: cannot be read ({error}); {form}") from None
    for line in filter(None, map(str.strip, lines)):
        for address in _expanded(line):
            if "://" in address:
                yield address, address
            else:
                # No path of this machine goes into the manifest.
                yield Path(address).name if Path(address).is_absolute() else address, str(path.parent / address)


def _expanded(address: str) -> Iterator[str]:
    """{000000..000002}.tar -> 000000.tar, 000001.tar, 000002.tar."""
    numbers = _RANGE.search(address)
    if not numbers:
        yield address
        return
    first, last = numbers.groups()
    if int(first) > int(last):
        raise SourceError(f"sample.path: {address}: a range goes upward")
    for number in range(int(first), int(last) + 1):
        yield from _expanded(f"{address[: numbers.start()]}{number:0{len(first)}d}{address[numbers.end() :]}")


def told_apart(path: Path, files: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield files with names of their own: of two of one name, in different folders, the second is named NAME (2).

    Raises:
        SourceError: one is listed twice.
    """
    addresses, names = set[str](), Counter[str]()
    for shown, address in files:
        if address in addresses:
            raise SourceError(f"sample.path {path}: {shown} is listed twice")
        addresses.add(address)
        names[shown] += 1
        yield f"{shown} ({names[shown]})" if names[shown] > 1 else shown, address


@lru_cache(maxsize=64)
def opened(address: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a file, and its path there."""
    if "://" not in address:  # fsspec would take a path with :: in it for several
        return fsspec.filesystem("file"), str(Path(address).absolute())
    found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    return found


def cannot_be_read(address: str, error: Exception) -> SourceError:
    """Return the sentence about what a file system has raised."""
    if isinstance(error, ImportError):
        needs = missing_extra(f"{address}: {error}", "s3") if address.startswith("s3://") else f"{address}: {error}"
        return SourceError(needs)
    return SourceError(f"{address}: cannot be read: {type(error).__name__}: {error}")
