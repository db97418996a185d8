"""Photographs in Parquet and Arrow files, as Hugging Face's `datasets` writes them, made by pyarrow."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.errors import SourceError
from pipeline.params.schema import Sample
from pipeline.sampling import draw as drawing
from pipeline.sampling.draw import draw
from pipeline.sampling.folder import folder
from pipeline.sampling.parquet import parquet
from tests.helpers import Project

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def photograph(rng: np.random.Generator) -> bytes:
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    written = io.BytesIO()
    coarse.resize((48, 40), Image.Resampling.BICUBIC).save(written, "PNG")
    return written.getvalue()


def as_table(photographs: list[bytes]) -> pa.Table:
    """The columns that `datasets` writes for a feature Image beside a label."""
    rows = [{"bytes": content, "path": None} for content in photographs]
    return pa.table({"image": pa.array(rows, IMAGE), "label": pa.array(range(len(rows)))})


@pytest.fixture
def photographs(rng: np.random.Generator) -> list[bytes]:
    return [photograph(rng) for _ in range(40)]


@pytest.fixture
def tables(tmp_path: Path, photographs: list[bytes]) -> Path:
    """A snapshot of a data set: two Parquet files with small groups of rows, and what the hub's tool leaves."""
    root = tmp_path / "snapshot"
    (root / "data").mkdir(parents=True)
    (root / ".cache").mkdir()
    (root / ".cache/x.parquet").write_bytes(b"")
    (root / "README.md").write_text("---\n---\n", encoding="utf-8")
    for number in range(2):
        own = as_table(photographs[20 * number : 20 * number + 20])
        pq.write_table(own, root / f"data/train-{number:05d}-of-00002.parquet", row_group_size=7)
    return root


def drawn(candidates: object, out: Path, **counts: int) -> tuple[list[str], bytes]:
    """The photographs' digests and pixels, in the order of the draw."""
    sample = Sample(**{"source": "folder", "path": "x", "train": 20, "valid": 5, "test": 5, **counts})
    out.mkdir()
    draw(candidates, sample, 32, 3, out)  # type: ignore[arg-type]
    rows = (out / "manifest.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [row.split(",")[1] for row in rows], b"".join(file.read_bytes() for file in sorted(out.glob("*.npy")))


def test_it_draws_what_a_folder_of_the_same_photographs_gives(
    tables: Path, photographs: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they are made ready three at a time."""
    (tmp_path / "folder").mkdir()
    for number, content in enumerate(photographs):
        (tmp_path / f"folder/{number:02d}.png").write_bytes(content)
    expected = drawn(folder(tmp_path / "folder", (), ()), tmp_path / "one")
    assert len(expected[0]) == 30
    assert drawn(parquet(tables), tmp_path / "two") == expected
    monkeypatch.setattr(drawing, "_MOST_PREPARED", 3)
    assert drawn(parquet(tables), tmp_path / "three") == expected


def test_each_group_of_rows_is_read_once_for_a_draw(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[int]] = []
    original = pq.ParquetFile.iter_batches

    def counted(self: pq.ParquetFile, size: int, groups: list[int], *rest: object, **more: object) -> object:
        read.append(groups)
        return original(self, size, groups, *rest, **more)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    drawn(parquet(tables), tmp_path / "out")
    assert len(read) == 6, "three groups in each of two files"


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files(photographs: list[bytes], tmp_path: Path, stream: bool) -> None:
    """`save_to_disk` writes a stream, other programs files."""
    table = as_table(photographs)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(tmp_path / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=9)
    pq.write_table(table, tmp_path / "same.parquet")
    found = parquet(tmp_path / "data-00000-of-00001.arrow")
    assert found[39].name == "data-00000-of-00001.arrow/39"
    assert drawn(found, tmp_path / "one") == drawn(parquet(tmp_path / "same.parquet"), tmp_path / "two")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.string()])
def test_columns_of_bytes_and_of_paths(photographs: list[bytes], tmp_path: Path, kind: pa.DataType) -> None:
    (tmp_path / "images").mkdir()
    for number, content in enumerate(photographs):
        (tmp_path / f"images/{number}.png").write_bytes(content)
    values = photographs if kind != pa.string() else [f"images/{number}.png" for number in range(40)]
    pq.write_table(pa.table({"image": pa.array(values, kind), "mask": photographs}), tmp_path / "one.parquet")
    pq.write_table(as_table(photographs), tmp_path / "two.parquet")
    one, two = (drawn(parquet(tmp_path / f"{name}.parquet"), tmp_path / name) for name in ("one", "two"))
    assert one == two


def test_what_is_no_picture_is_rejected_by_its_row(photographs: list[bytes], tmp_path: Path) -> None:
    rows = [{"bytes": content, "path": "a.png"} for content in photographs[:36]]
    (tmp_path / "elsewhere.png").write_bytes(photographs[37])
    (tmp_path / "in").mkdir()
    rows += [{"bytes": content, "path": path} for content, path in (
        (b"no picture", None), (None, None), (None, "gone.png"), (None, "../elsewhere.png")
    )]  # fmt: skip
    pq.write_table(pa.table({"photo": pa.array([*rows, None], IMAGE)}), tmp_path / "in/one.parquet")
    drawn(parquet(tmp_path / "in/one.parquet"), tmp_path / "out", train=26)
    with (tmp_path / "out/manifest.csv").open(encoding="utf-8") as file:
        reasons = [
            row["reason"] for row in sorted(csv.DictReader(file), key=lambda row: int(row["path"].split("/")[1]))
        ]
    assert reasons[36].startswith("unreadable: none of JPEG")
    assert reasons[37:] == ["unreadable: No such file or directory"] * 4


def test_what_cannot_be_used_is_a_sentence(tmp_path: Path, photographs: list[bytes]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no \.parquet and no \.arrow file in it; expected a \.parquet"):
        parquet(tmp_path / "empty")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match=r"bad\.parquet: cannot be read: ArrowInvalid"):
        parquet(tmp_path / "bad.parquet")
    pq.write_table(pa.table({"label": [1], "text": ["a"]}), tmp_path / "none.parquet")
    with pytest.raises(SourceError, match=r"expected a column image of bytes or paths.*label \(int64\), text \(string"):
        parquet(tmp_path / "none.parquet")
    pq.write_table(as_table(photographs).slice(0, 0), tmp_path / "zero.parquet")
    with pytest.raises(SourceError, match="no rows in its 1 files"):
        parquet(tmp_path / "zero.parquet")
    (tmp_path / "list.txt").write_text("missing-{0..1}.parquet\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"missing-0\.parquet: cannot be read: FileNotFoundError"):
        parquet(tmp_path / "list.txt")


def test_without_pyarrow_it_names_the_extra(tables: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\n"
        "from pipeline.sampling.parquet import parquet\n"
        f"parquet(Path({str(tables)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert "pyarrow" in done.stderr.splitlines()[-1]
    assert "parquet" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_stage_draws_from_it(tables: Path, make_project: Callable[[str], Project]) -> None:
    project = make_project("parquet")
    project.change(sample={"source": "parquet", "path": str(tables)})
    project.dvc("repro", "sample")
    assert "data/train-00001-of-00002.parquet/" in (project.folder / "data/sample/manifest.csv").read_text()
