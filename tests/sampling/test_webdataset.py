"""Photographs in tar shards, made by tarfile, on disk and in a bucket."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ImageError, SourceError
from pipeline.sampling.webdataset import webdataset
from tests.helpers import ROOT, Project, environment

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def jpeg(rng: np.random.Generator) -> bytes:
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    written = io.BytesIO()
    coarse.resize((48, 40), Image.Resampling.BICUBIC).save(written, "JPEG")
    return written.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def shard(path: Path, rng: np.random.Generator, count: int) -> None:
    """As img2dataset writes: a picture, its caption and its facts under one key."""
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            key = f"{path.stem}{number:04d}"
            add(archive, f"{key}.jpg", jpeg(rng))
            add(archive, f"{key}.txt", b"a caption")
            add(archive, f"{key}.json", json.dumps({"key": key}).encode())


@pytest.fixture
def shards(tmp_path: Path, rng: np.random.Generator) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        shard(folder / f"{number:05d}.tar", rng, 8)
    return folder


def test_a_folder_a_shard_and_a_list_with_ranges(shards: Path) -> None:
    listing = shards / "shards.txt"
    listing.write_text("{00000..00001}.tar\n\n00002.tar\n", encoding="utf-8")
    names = [candidate.name for candidate in webdataset(shards)]
    assert names == [f"{one:05d}.tar/{one:05d}{number:04d}.jpg" for one in range(3) for number in range(8)]
    assert [candidate.name for candidate in webdataset(listing)] == names
    assert [candidate.name for candidate in webdataset(shards / "00001.tar")] == names[8:16]


def test_shards_of_one_name_are_told_apart(shards: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    """img2dataset calls them 00000.tar in every folder, and no absolute path goes into the manifest."""
    (tmp_path / "more").mkdir()
    shard(tmp_path / "more/00000.tar", rng, 2)
    listing = tmp_path / "all.txt"
    listing.write_text(f"{shards}/00000.tar\n{tmp_path}/more/00000.tar\n", encoding="utf-8")
    names = [candidate.name for candidate in webdataset(listing)]
    assert len(set(names)) == len(names) == 10
    assert names[0] == "00000.tar/000000000.jpg"
    assert names[8] == "00000.tar (2)/000000000.jpg"
    listing.write_text(f"{shards}/00000.tar\n{shards}/00000.tar\n", encoding="utf-8")
    with pytest.raises(SourceError, match="listed twice"):
        webdataset(listing)


def test_what_is_read_is_what_tarfile_reads(shards: Path) -> None:
    candidates = webdataset(shards)
    with tarfile.open(shards / "00001.tar") as archive:
        member = archive.extractfile("000010003.jpg")
        assert member is not None
        expected = np.asarray(Image.open(member))
    candidate = candidates[11]
    np.testing.assert_array_equal(candidate.reader(candidate.file, 10_000_000, 0).pixels, expected)


def test_one_picture_of_each_key(tmp_path: Path, rng: np.random.Generator) -> None:
    with tarfile.open(tmp_path / "one.tar", "w") as archive:
        for name in ("a/1.jpg", "a/1.seg.png", "b/1.JPG", "b/2.txt", "b/2.cls"):
            add(archive, name, jpeg(rng) if name.lower().endswith(("jpg", "png")) else b"text")
    assert [candidate.name for candidate in webdataset(tmp_path / "one.tar")] == ["one.tar/a/1.jpg", "one.tar/b/1.JPG"]


def test_pictures_of_one_key_are_counted(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    """webdataset ends a key at the first dot, and people's own names have dots."""
    (tmp_path / "odd::place").mkdir()
    with tarfile.open(tmp_path / "odd::place/one.TAR", "w") as archive:
        for name in ("Scan 12.1.png", "Scan 12.2.png", "Scan 12.3.png", "other.png"):
            add(archive, name, jpeg(rng))
    found = webdataset(tmp_path / "odd::place")
    assert [candidate.name for candidate in found] == ["one.TAR/Scan 12.1.png", "one.TAR/other.png"]
    assert found[1].reader(found[1].file, 10_000_000, 0).pixels.shape == (40, 48, 3)
    assert "2 pictures are left out, since what is before the first dot" in (said := capsys.readouterr().out)
    assert "such as one.TAR/Scan 12.2.png" in said
    (tmp_path / "odd::place/two.tar.gz").write_bytes(b"")
    assert len(webdataset(tmp_path / "odd::place")) == 2
    assert "1 are left out, such as" in capsys.readouterr().out
    (tmp_path / "odd::place/one.TAR").unlink()
    for path in (tmp_path / "odd::place", tmp_path / "odd::place/two.tar.gz"):
        with pytest.raises(SourceError, match=r"two\.tar\.gz: a compressed shard cannot be read in places; unpack"):
            webdataset(path)


def test_damage_within_a_shard_is_one_photographs(tmp_path: Path, rng: np.random.Generator) -> None:
    with tarfile.open(tmp_path / "one.tar", "w") as archive:
        for name, content in (("1.jpg", b""), ("2.jpg", jpeg(rng)[:300]), ("3.jpg", b"x" * 3_000_000)):
            add(archive, name, content)
    for candidate, sentence in zip(
        webdataset(tmp_path / "one.tar"), ("empty", "unreadable", "too many bytes"), strict=True
    ):
        with pytest.raises(ImageError, match=sentence):
            candidate.reader(candidate.file, 10_000, 0)


def header_of(path: Path, number: int) -> int:
    with tarfile.open(path) as archive:
        return archive.getmembers()[number].offset


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_names_that_are_no_photographs_or_no_text(tmp_path: Path, rng: np.random.Generator) -> None:
    """A Mac's shadow files, a sparse file, and a name in Latin-1."""
    with tarfile.open(tmp_path / "one.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name in ("._1.jpg", "1.jpg", "caf\xe9.jpg"):
            add(archive, name, jpeg(rng))
    assert [one.name for one in webdataset(tmp_path / "one.tar")] == ["one.tar/1.jpg", "one.tar/caf\\xe9.jpg"]
    holes = tmp_path / "holes.jpg"
    with holes.open("wb") as file:
        file.seek(10 * 2**20)
        file.write(jpeg(rng))
    tar = ["tar", "--sparse", "-C", str(tmp_path), "-cf", str(tmp_path / "sparse.tar"), "holes.jpg", "one.tar"]
    subprocess.run(tar, check=True)
    with pytest.raises(SourceError, match="no image files"):
        webdataset(tmp_path / "sparse.tar")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:20_000]), r"00001\.tar: no whole tar file"),
        (lambda path: path.write_bytes(path.read_bytes()[: header_of(path, 4) + 100]), "no whole tar file .*a damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[: header_of(path, 4)]), "no whole tar file .*a damaged"),
        (lambda path: flip(path, header_of(path, 4)), r"00001\.tar: no whole tar file .*a damaged header"),
        (lambda path: path.write_bytes(b"no tar" * 1000), r"00001\.tar: no whole tar file"),
        (lambda path: path.unlink(), r"00001\.tar: cannot be read: FileNotFoundError"),
    ],
)
def test_a_damaged_shard_is_named(shards: Path, damage: Callable[[Path], object], sentence: str) -> None:
    (shards / "list.txt").write_text("{00000..00002}.tar", encoding="utf-8")
    damage(shards / "00001.tar")
    with pytest.raises(SourceError, match=sentence):
        webdataset(shards / "list.txt")


def test_where_there_are_none_the_form_is_said(tmp_path: Path) -> None:
    for path, sentence in ((tmp_path, r"no \.tar in it; expected a \.tar"), (tmp_path / "none.txt", "cannot be read")):
        with pytest.raises(SourceError, match=sentence):
            webdataset(path)
    with tarfile.open(tmp_path / "empty.tar", "w") as archive:
        add(archive, "1.txt", b"text")
    with pytest.raises(SourceError, match="no image files"):
        webdataset(tmp_path / "empty.tar")
    (tmp_path / "down.txt").write_text("{3..1}.tar", encoding="utf-8")
    with pytest.raises(SourceError, match="a range goes upward"):
        webdataset(tmp_path / "down.txt")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """The address of an S3 server on loopback."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = subprocess.Popen([sys.executable, "-m", "tests.s3_server", str(folder)], cwd=ROOT, env=environment())
    while not (folder / "address").exists():
        assert server.poll() is None
        time.sleep(0.1)
    yield (folder / "address").read_text(encoding="utf-8")
    server.kill()
    server.wait()


@pytest.mark.slow
def test_a_bucket_gives_the_sample_that_the_disk_gives(
    shards: Path, bucket: str, make_project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("s3", endpoint_url=bucket, aws_access_key_id="test", aws_secret_access_key="test",
                          region_name="us-east-1")  # fmt: skip
    client.create_bucket(Bucket="photographs")
    for path in shards.glob("*.tar"):
        client.upload_file(str(path), "photographs", f"shards/{path.name}")
    project = make_project("webdataset")
    listing = project.folder / "shards.txt"
    listing.write_text(f"{shards}/{{00000..00002}}.tar\n", encoding="utf-8")
    project.change(sample={"source": "webdataset", "path": "shards.txt"})
    project.dvc("repro", "sample")
    local = project.outs()
    listing.write_text("s3://photographs/shards/{00000..00002}.tar\n", encoding="utf-8")
    for name, value in {**KEYS, "FSSPEC_S3_ENDPOINT_URL": bucket}.items():
        monkeypatch.setitem(os.environ, name, value)
    assert "24 photographs" in project.twotone("check").stdout
    project.dvc("repro", "sample")
    shards_of = [{name: content for name, content in outs.items() if name.endswith(".npy")}
                 for outs in (local, project.outs())]  # fmt: skip
    assert shards_of[0] == shards_of[1]
    assert len(shards_of[0]) == 3
    with (project.folder / "data/sample/manifest.csv").open(encoding="utf-8") as file:
        assert any(row["path"].startswith("s3://photographs/shards/00001.tar/00001") for row in csv.DictReader(file))
