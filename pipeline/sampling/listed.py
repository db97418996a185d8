"""The source `files`: the photographs that a CSV or a text file lists."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from math import isfinite
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.sampling.candidates import SPLITS, Candidate, Candidates, TemporaryTables

# What a photograph shows is for other programs.
_COLUMNS = ("path", "split", "group", "weight", "caption")
_COLUMN_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_FORM = (
    "expected a CSV with the column path and, where you like, split (train, valid, test or empty), group, weight and "
    "caption; or a text file with a path on each line"
)

_QUOTES = (
    'a field that begins with a double quote ends at the next one: write "" for each double quote in it, and put one '
    "before and after it"
)


def listed(listing: Path) -> Candidates:
    """List photographs, in the order of the file; their paths are relative to its folder.

    A split that is stated holds. Photographs of one group stay in one split. One of weight 2 is twice as likely to be
    drawn for training as one of weight 1, which one without a weight has. Captions are not read.

    Raises:
        SourceError: the file cannot be read, is malformed, lists nothing, or names a photograph twice.
    """
    tables = TemporaryTables("CREATE TABLE listed (path TEXT UNIQUE, split TEXT, grp INTEGER)")
    groups: dict[str, int] = {}
    sides: dict[int, str] = {}
    weights: list[float] = []
    for number, path, split, group, weight in _rows(listing):
        if split not in ("", *SPLITS):
            allowed = ", ".join(SPLITS)
            raise SourceError(f"sample.path {listing}: line {number}: split must be one of {allowed}, got {split!r}")
        own = groups.setdefault(group, len(groups)) if group else None
        if split and own is not None and sides.setdefault(own, split) != split:
            stated = f"{group} is stated to be in {sides[own]} and in {split}"
            raise SourceError(f"sample.path {listing}: line {number}: a group stays in one split, and {stated}")
        if not tables.run("INSERT OR IGNORE INTO listed VALUES (?, ?, ?)", path, split or None, own).rowcount:
            raise SourceError(f"sample.path {listing}: line {number}: {path} is listed twice")
        weights.append(_weight(listing, number, weight))
    if not weights:
        raise SourceError(f"sample.path {listing}: lists no photographs; {_FORM}")
    weighted = np.array(weights) if any(weight != 1 for weight in weights) else None
    make = partial(_candidate, tables, listing.parent)
    return Candidates(len(weights), make, grouped=bool(groups), weights=weighted)


def _weight(listing: Path, number: int, text: str) -> float:
    try:
        weight = float(text or 1)
    except ValueError:
        weight = 0.0
    if not (isfinite(weight) and weight > 0):
        raise SourceError(f"sample.path {listing}: line {number}: weight must be a number above 0, got {text!r}")
    return weight


def _candidate(tables: TemporaryTables, root: Path, number: int) -> Candidate:
    query = "SELECT path, split, grp FROM listed WHERE rowid = ?"
    path, split, group = tables.run(query, number + 1).fetchone()
    return Candidate(path, root / path, split=split, group=group)


def _rows(listing: Path) -> Iterator[tuple[int, str, str, str, str]]:
    """Yield the number of each line, and its path, split, group and weight.

    Raises:
        SourceError: the file cannot be read, or is malformed.
    """
    if not listing.is_file():
        raise SourceError(f"sample.path {listing}: {'not a file' if listing.exists() else 'no such file'}; {_FORM}")
    separator, read = _COLUMN_SEPARATORS.get(listing.suffix.lower()), 1
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            if separator is None:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield number, line.rstrip("\r\n"), "", "", ""
                return
            # Strict, since a quote that is never closed would take all lines after it for one field.
            reader = csv.DictReader(file, delimiter=separator, strict=True)
            unknown = set(reader.fieldnames or ()) - set(_COLUMNS)
            if "path" not in (reader.fieldnames or ()) or unknown:
                found = ", ".join(reader.fieldnames or ()) or "nothing"
                raise SourceError(f"sample.path {listing}: {_FORM}; found the columns {found}")
            for row in reader:
                read = at = reader.line_num
                if None in row:
                    beyond = ", ".join(row[None])  # type: ignore[call-overload]
                    raise SourceError(
                        f"sample.path {listing}: line {at}: has more fields than the first line ({beyond!r}); put what "
                        "has a comma in it between double quotes"
                    )
                if any("\n" in field for field in row.values() if field):
                    raise SourceError(f"sample.path {listing}: line {at}: a field goes over several lines; {_QUOTES}")
                if not row["path"]:
                    raise SourceError(f"sample.path {listing}: line {at}: path is empty")
                yield at, row["path"], row.get("split") or "", row.get("group") or "", row.get("weight") or ""
    except OSError as error:
        raise SourceError(f"sample.path {listing}: cannot be read: {error.strerror}") from None
    except csv.Error as error:
        problem = f"a field cannot be read to its end ({error})"
        raise SourceError(f"sample.path {listing}: line {read + 1}: {problem}; {_QUOTES}") from None
    except ValueError as error:
        raise SourceError(f"sample.path {listing}: is no text in UTF-8: {error}") from None
