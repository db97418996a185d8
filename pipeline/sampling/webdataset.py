"""The source `webdataset`: photographs in tar shards, as img2dataset and webdataset write them, here or in a bucket."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from pipeline.errors import ImageError, LimitError, SourceError
from pipeline.media.decoding import SUFFIXES, largest_file
from pipeline.sampling.addresses import cannot_be_read, listed_addresses, opened, told_apart
from pipeline.sampling.candidates import Candidate, Candidates, TemporaryTables
from pipeline.sampling.folder import printable
from pipeline.sampling.photographs import Decoded, decode_content

_FORM = (
    "expected a .tar, a folder of them, or a text file with the address of a shard on each line, such as "
    "s3://bucket/{000000..000099}.tar"
)
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_UNPACK = "a compressed shard cannot be read in places; unpack it"


def webdataset(path: Path) -> Candidates:
    """List the photographs of shards: of each key the first picture, in the order of the shards and of what is in them.

    Shards are gone through once, and what is drawn is read again: neither they nor the list are ever in memory.

    Args:
        path: a shard, a folder of shards, or a text file of addresses that fsspec knows or paths relative to it.

    Raises:
        SourceError: no shards, or one that cannot be read or is no whole tar file.
    """
    tables = TemporaryTables("CREATE TABLE listed (name TEXT, shard TEXT, start INTEGER, size INTEGER)")
    more = _More()
    for shown, shard in told_apart(path, _shards(path)):
        tables.add("INSERT INTO listed VALUES (?, ?, ?, ?)", _photographs(shown, shard, more))
    (count,) = tables.run("SELECT count(*) FROM listed").fetchone()
    if more.count:
        tqdm.write(
            f"sample.path {path}: {more.count:,} pictures are left out, since what is before the first dot of their "
            f"name is that of the picture before, such as {more.example}; if they are photographs of their own, rename "
            "them and make the shards again"
        )
    if not count:
        raise SourceError(f"sample.path {path}: no image files ({', '.join(sorted(SUFFIXES))}) in its shards")
    return Candidates(count, partial(_candidate, tables, path))


@dataclass
class _More:
    """Pictures that are not the first of their key."""

    count: int = 0
    example: str = ""


def _candidate(tables: TemporaryTables, path: Path, number: int) -> Candidate:
    query = "SELECT name, shard, start, size FROM listed WHERE rowid = ?"
    name, shard, start, size = tables.run(query, number + 1).fetchone()
    return Candidate(name, path, reader=partial(_decode_inside, shard, start, size))


def _shards(path: Path) -> Iterator[tuple[str, str]]:
    """Yield how each shard is named, and its address."""
    if path.is_dir():
        try:
            files = sorted(str(file) for file in path.iterdir() if not file.name.startswith("."))
        except OSError as error:
            raise SourceError(f"sample.path {path}: cannot be read: {error.strerror}") from None
        found = [file for file in files if file.lower().endswith(".tar")]
        compressed = [file for file in files if file.lower().endswith(_COMPRESSED)]
        if compressed and found:
            tqdm.write(f"sample.path {path}: {len(compressed)} are left out, such as {compressed[0]}: {_UNPACK}")
        elif compressed:
            raise SourceError(f"sample.path {compressed[0]}: {_UNPACK}")
        if not found:
            raise SourceError(f"sample.path {path}: no .tar in it; {_FORM}")
        yield from ((Path(file).name, file) for file in found)
    elif path.name.lower().endswith(_COMPRESSED):
        raise SourceError(f"sample.path {path}: {_UNPACK}")
    elif path.suffix.lower() == ".tar":
        yield path.name, str(path)
    else:
        yield from listed_addresses(path, _FORM)


def _photographs(shown: str, shard: str, more: _More) -> Iterator[tuple[str, str, int, int]]:
    """Yield the name, the shard, the place and the size of each key's first picture.

    As webdataset, it takes what follows each other for one key, and no name that begins with a dot.

    Args:
        shown: how the manifest names the shard.
        more: counts the pictures of a key after its first.
    """
    last = ""
    try:
        system, inside = opened(shard)
        with system.open(inside, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            while member := archive.next():
                archive.members = []  # type: ignore[attr-defined]  # a list of all would grow without end
                name = PurePosixPath(member.name)
                key = str(name.parent / name.name.partition(".")[0])
                if name.name.startswith(".") or name.suffix.lower() not in SUFFIXES:
                    continue
                if key == last:
                    more.count, more.example = more.count + 1, more.example or printable(f"{shown}/{member.name}")
                elif member.isreg() and not member.issparse():
                    last = key
                    yield printable(f"{shown}/{member.name}"), shard, member.offset_data, member.size
            # tarfile takes a damaged header for the end, which is a block of zeros.
            file.seek(archive.offset)
            end = file.read(tarfile.BLOCKSIZE)
            if len(end) < tarfile.BLOCKSIZE or end.strip(b"\0"):
                raise tarfile.ReadError(f"a damaged header, or a cut, at byte {archive.offset:,}")
    except tarfile.TarError as error:
        raise SourceError(f"{shard}: no whole tar file ({error}); a compressed one must be unpacked") from None
    except Exception as error:  # what buckets answer is anything
        raise cannot_be_read(shard, error) from None


def _decode_inside(shard: str, start: int, size: int, _path: Path, max_pixels: int, side: int) -> Decoded:
    if size == 0:
        raise ImageError("empty file")
    if size > largest_file(max_pixels):
        raise LimitError(f"too many bytes: {size:,}, more than {{most}} need", max_pixels)
    try:
        system, inside = opened(shard)
        content: bytes = system.cat_file(inside, start=start, end=start + size)
    except Exception as error:  # what buckets answer is anything
        raise ImageError(f"unreadable: {type(error).__name__}: {error}") from None
    if len(content) != size:
        raise ImageError(f"unreadable: {len(content):,} bytes came for {size:,}; can its server give a part of a file?")
    return decode_content(content, max_pixels, side)
