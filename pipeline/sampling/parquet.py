"""The source `parquet`: data sets of Hugging Face, as Parquet or Arrow files, here or in a bucket."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.errors import SourceError, missing_extra
from pipeline.sampling.addresses import cannot_be_read, listed_addresses, opened, told_apart
from pipeline.sampling.candidates import Candidate, Candidates
from pipeline.sampling.folder import printable
from pipeline.sampling.photographs import Decoded, decode

if TYPE_CHECKING:
    import pyarrow

_SUFFIXES = (".parquet", ".arrow")
_FORM = (
    "expected a .parquet or .arrow file, a folder of them, or a text file with the address of one on each line, such "
    "as hf://datasets/NAME/data/train-{00000..00009}-of-00010.parquet"
)
_COLUMN = "image"
# Rows that are looked at at once. What pyarrow holds is a group of rows, which the file's writer has chosen.
_ROWS = 32


@dataclass(frozen=True)
class _Table:
    """A file, and the column of its photographs."""

    shown: str
    """How the manifest names it."""
    address: str
    column: str
    rows: int


def parquet(path: Path) -> Candidates:
    """List the photographs of tables, in the order of the files and of their rows.

    A part of such a file cannot be read by itself. So what is drawn next is copied to a temporary folder, by one pass
    through the files for thousands of photographs.

    Args:
        path: a file, a folder that is searched for them, or a text file of addresses that fsspec knows or paths
            relative to it.

    Raises:
        SourceError: no such files, one that cannot be read, or one without a column of pictures.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise SourceError(missing_extra("sample.source parquet: these files are read by pyarrow", "parquet")) from None
    tables = [_table(shown, address) for shown, address in told_apart(path, _files(path))]
    starts = [0]
    for table in tables:
        starts.append(starts[-1] + table.rows)
    if not starts[-1]:
        raise SourceError(f"sample.path {path}: no rows in its {len(tables)} files")
    drawn = _Drawn(tables, starts)
    return Candidates(starts[-1], drawn.candidate, prepare=drawn.copy)


class _Drawn:
    """Copies photographs from tables into a temporary folder, as they are drawn.

    Args:
        starts: number of the first photograph of each table, and of all.
    """

    def __init__(self, tables: Sequence[_Table], starts: Sequence[int]):
        self._tables, self._starts = tables, starts
        self._temporary = tempfile.TemporaryDirectory(prefix="twotone-")  # goes with this object, or with Python
        self._folder = Path(self._temporary.name)

    def candidate(self, number: int) -> Candidate:
        table = self._tables[self._table_of(number)]
        row = number - self._starts[self._table_of(number)]
        return Candidate(printable(f"{table.shown}/{row}"), self._folder / str(number), reader=_decode_once)

    def copy(self, candidates: Sequence[Candidate]) -> None:
        """Copy the photographs of these candidates.

        Raises:
            SourceError: a file cannot be read any more.
            OSError: the folder cannot be written, as where the disk is full.
        """
        wanted: dict[int, dict[int, Path]] = defaultdict(dict)
        for candidate in candidates:
            number = int(candidate.file.name)
            place = self._table_of(number)
            wanted[place][number - self._starts[place]] = candidate.file
        for place, files in sorted(wanted.items()):
            for row, content in _contents(self._tables[place], files):
                files[row].write_bytes(content)

    def _table_of(self, number: int) -> int:
        return bisect_right(self._starts, number) - 1


def _decode_once(copy: Path, max_pixels: int, side: int) -> Decoded:
    """Decode a copy as `decode` does, and delete it."""
    try:
        return decode(copy, max_pixels, side)
    finally:
        copy.unlink(missing_ok=True)


def _files(path: Path) -> Iterator[tuple[str, str]]:
    """Yield how each file is named, and its address."""
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
        shown = [(file.relative_to(path).as_posix(), str(file)) for file in found if not _hidden(file, path)]
        if not shown:
            raise SourceError(f"sample.path {path}: no {' and no '.join(_SUFFIXES)} file in it; {_FORM}")
        yield from shown
    elif path.suffix.lower() in _SUFFIXES:
        yield path.name, str(path)
    else:
        yield from listed_addresses(path, _FORM)


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _table(shown: str, address: str) -> _Table:
    try:
        with closing(_opened(address)) as file:
            return _Table(shown, address, _column(address, file.schema), file.rows)
    except SourceError:
        raise
    except Exception as error:  # what buckets and damaged files give is anything
        raise cannot_be_read(address, error) from None


def _column(address: str, schema: pyarrow.Schema) -> str:
    """Return the column of the photographs: `image`, or the only one that can be."""
    found = [str(field.name) for field in schema if _holds_pictures(field.type)]
    if _COLUMN in found or (_COLUMN in schema.names and _is_text(schema.field(_COLUMN).type)):
        return _COLUMN
    if len(found) == 1:
        return found[0]
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)[:300]
    raise SourceError(
        f"{address}: expected a column {_COLUMN} of bytes or paths, or one column of bytes alone; it has {columns}"
    )


def _holds_pictures(kind: pyarrow.DataType) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):  # what `datasets` writes: bytes, and the path that they had
        return kind.get_field_index("bytes") >= 0 and _holds_pictures(kind.field("bytes").type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _contents(table: _Table, wanted: Mapping[int, Path]) -> Iterator[tuple[int, bytes]]:
    """Yield these rows of a table, each with the content of its picture, where there is one."""
    try:
        with closing(_opened(table.address)) as file:
            for first, pictures in file.batches(table.column, wanted):
                for row in range(first, first + len(pictures)):
                    content = _content(table.address, pictures[row - first].as_py()) if row in wanted else None
                    if content is not None:
                        yield row, content
    except Exception as error:  # what buckets and damaged files give is anything
        raise cannot_be_read(table.address, error) from None


def _content(address: str, value: Any) -> bytes | None:
    """Return the bytes of a picture, which may be in a file of its own below the table's folder; None without one."""
    if isinstance(value, Mapping):
        value = value["bytes"] or value.get("path")
    if not isinstance(value, str):
        return value if isinstance(value, bytes) else None
    named = PurePosixPath(value)
    if named.is_absolute() or ".." in named.parts:  # somebody else's table must not choose among all files
        return None
    system, inside = opened(address)
    try:
        content: bytes = system.cat_file(str(PurePosixPath(inside).parent / named))
    except OSError:
        return None
    return content


class _Parquet:
    """A Parquet file, which is read by groups of rows."""

    def __init__(self, address: str):
        import pyarrow.parquet

        system, inside = opened(address)
        self._handle = system.open(inside, "rb")
        self._file = pyarrow.parquet.ParquetFile(self._handle)
        self.schema, self.rows = self._file.schema_arrow, self._file.metadata.num_rows

    def batches(self, column: str, wanted: Mapping[int, Any]) -> Iterator[tuple[int, pyarrow.Array]]:
        """Yield the number of the first row, and the pictures, of the groups that hold a row that is wanted."""
        first = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if any(row in wanted for row in range(first, first + rows)):
                at = first
                for batch in self._file.iter_batches(_ROWS, [group], [column], use_threads=False):
                    yield at, batch.column(0)
                    at += len(batch)
            first += rows

    def close(self) -> None:
        self._handle.close()


class _Arrow:
    """An Arrow file, or a stream of Arrow as `save_to_disk` writes it."""

    def __init__(self, address: str):
        import pyarrow

        system, inside = opened(address)
        self._handle = pyarrow.memory_map(inside) if "://" not in address else system.open(inside, "rb")
        try:
            self._reader: Any = pyarrow.ipc.open_file(self._handle)
            self._batches: Any = (self._reader.get_batch(one) for one in range(self._reader.num_record_batches))
        except pyarrow.ArrowInvalid:
            self._handle.seek(0)
            self._reader = self._batches = pyarrow.ipc.open_stream(self._handle)
        self.schema = self._reader.schema

    @property
    def rows(self) -> int:
        """The number of rows; a stream is gone through once for it."""
        return sum(len(batch) for batch in self._batches)

    def batches(self, column: str, _wanted: Mapping[int, Any]) -> Iterator[tuple[int, pyarrow.Array]]:
        """Yield the number of the first row, and the pictures, of each batch."""
        first = 0
        for batch in self._batches:
            yield first, batch.column(column)
            first += len(batch)

    def close(self) -> None:
        self._handle.close()


def _opened(address: str) -> _Parquet | _Arrow:
    return _Arrow(address) if address.lower().endswith(".arrow") else _Parquet(address)
