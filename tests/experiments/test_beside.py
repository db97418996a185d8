"""`twotone colorize` without --out: copies beside their photographs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from pipeline.coloring.jobs import Naming, Selection, require_output, select
from pipeline.errors import ImageError, InputError
from pipeline.media.pictures import read_picture
from pipeline.media.provenance import Origin
from pipeline.media.writing import WRITABLE
from pipeline.sampling.photographs import decode
from tests.helpers import save_photo, twotone, write_picture

ORIGIN = Origin("twotone", "a model", "its weights")


@pytest.fixture
def album(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Names that meet each other, in a folder and one inside; the current folder is above it."""
    (tmp_path / "album/inner").mkdir(parents=True)
    for name in ("a.jpg", "a.png", "b.JPG", "inner/a.gif"):
        save_photo(tmp_path / "album" / name, rng)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "album"


def chosen(*inputs: str, **options: Any) -> Selection:
    return select(inputs, Naming(None, **options))


def targets(*inputs: str, **options: Any) -> dict[str, list[str]]:
    """The names of the copies, by source."""
    jobs = chosen(*inputs, **options).jobs
    assert all(target.parent == job.source.parent for job in jobs for target in job.targets.values())
    return {job.source.as_posix(): [target.name for target in job.targets.values()] for job in jobs}


def test_copies_lie_beside_their_photographs_by_the_rules_for_names(album: Path, rng: np.random.Generator) -> None:
    assert targets("album") == {
        "album/a.jpg": ["a-color.jpg"],
        "album/a.png": ["a-color.png"],
        "album/b.JPG": ["b-color.jpg"],
        "album/inner/a.gif": ["a-color.png"],
    }
    assert targets("album/a.*", ending="png") == {"album/a.jpg": ["a-color.png"], "album/a.png": ["a-color-2.png"]}
    assert targets("album/b.JPG", seeds=(5, 6)) == {"album/b.JPG": ["b-color-5.jpg", "b-color-6.jpg"]}
    shards = [targets("album", shard=(number, 3)) for number in (1, 2, 3)]
    assert {source: names for shard in shards for source, names in shard.items()} == targets("album")
    # A photograph that is called so without being a copy is colored, and not written over.
    save_photo(album / "holi-color.jpg", rng)
    assert targets("album")["album/holi-color.jpg"] == ["holi-color-color.jpg"]
    save_photo(album / "c.v2.jpeg", rng)
    assert targets("album/c.v2.jpeg") == {"album/c.v2.jpeg": ["c.v2-color.jpeg"]}


def test_a_photograph_under_another_name_is_the_same_photograph(album: Path) -> None:
    """It is colored once, and never written over."""
    folder = album.parent
    (folder / "again").symlink_to(album)
    (folder / "one.jpg").symlink_to(album / "a.jpg")
    (folder / "out").mkdir()
    (folder / "out/a.jpg").symlink_to(album / "a.jpg")
    assert len(chosen("album", "again", "one.jpg", "again/../album/a.jpg").jobs) == 4
    for sources, out in (("album", "again"), ("again", "album"), ("album/a.jpg", "out"), ("one.jpg", "again/a.jpg")):
        with pytest.raises(InputError, match="would be overwritten by its own colors"):
            select([sources], Naming(Path(out)))


@pytest.mark.parametrize("options", [{}, {"ending": "webp"}, {"seeds": (0, 1), "compare": True}, {"ending": "png"}])
def test_copies_of_earlier_runs_are_no_sources(album: Path, options: dict[str, Any], rng: np.random.Generator) -> None:
    before = targets("album", **options)
    made = []
    for job in chosen("album", **options).jobs:
        for target in job.targets.values():
            made += [target, target.with_stem(f"{target.stem}-compare")] if options.get("compare") else [target]
    for copy in made:
        save_photo(copy, rng)
        picture = read_picture(copy, 10**6)
        write_picture(copy, picture.pixels, picture, WRITABLE[copy.suffix[1:].lower()], ORIGIN)
    again = chosen("album", **options)
    assert targets("album", **options) == before
    assert again.left_out["colored copies"] == len(made)
    # Nor where they go elsewhere, nor where a pattern or the shell names them.
    assert len(select(["album"], Naming(album.parent / "out")).jobs) == len(before)
    assert targets("album/**/*.*", **options) == before
    assert targets("album", *map(str, made), **options) == before
    pattern = chosen("album/*.webp", "album/a.jpg") if options.get("ending") == "webp" else chosen("album/a*", "album")
    assert not [job for job in pattern.jobs if "-color" in job.source.stem]
    # One that is named alone is asked for.
    assert targets(str(made[0])) != {}
    # Nothing learns from it; and a photograph that is only called so, beside another of that name, is colored.
    with pytest.raises(ImageError, match="colored by this program"):
        decode(made[0], 10**6)
    save_photo(made[0], rng)
    assert chosen("album", **options).left_out["colored copies"] == len(made) - 1
    assert decode(made[0], 10**6)


@pytest.mark.usefixtures("album")
def test_folders_that_cannot_be_written_are_found_before_coloring(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = {"inner"}

    def refuse(folder: Path) -> None:
        if folder.name in closed:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.coloring.jobs.require_writable", refuse)
    selection = chosen("album")
    assert {job.source.parent.name for job in selection.jobs} == {"album", "inner"}
    # Those in the other folder can be colored.
    require_output(Naming(None), selection.jobs)
    require_output(Naming(None), [])
    closed.add("album")
    with pytest.raises(InputError, match="album cannot be written: Permission denied; name a folder with --out"):
        require_output(Naming(None), selection.jobs)


def test_a_photograph_that_is_only_called_like_a_copy_is_never_replaced(album: Path, rng: np.random.Generator) -> None:
    before = targets("album/a.jpg")
    assert before == {"album/a.jpg": ["a-color.jpg"]}
    save_photo(album / "a-color.jpg", rng)
    (job,) = select([str(album / "a.jpg")], Naming(None)).jobs
    assert job.renamed
    assert job.targets[0].name == "a-color-2.jpg"


def test_a_shells_star_may_name_the_folder_of_the_copies(album: Path, rng: np.random.Generator) -> None:
    """As `twotone colorize * -o colored` does when it goes on."""
    out = album / "colored"
    save_photo(album / "old.bmp", rng)
    inputs = ["album/a.jpg", "album/inner", "album/old.bmp"]
    first = select(inputs, Naming(out)).jobs
    out.mkdir()
    for job in first:
        copy = job.targets[0]
        save_photo(copy, rng)
        picture = read_picture(copy, 10**6)
        write_picture(copy, picture.pixels, picture, WRITABLE[copy.suffix[1:].lower()], ORIGIN)
    again = select(["album/colored", *inputs], Naming(out))
    assert [job.targets for job in again.jobs] == [job.targets for job in first]
    assert again.left_out["colored copies"] == len(first)
    # And where they lie among the photographs, in another format.
    copy = album / "a.png"
    write_picture(copy, picture.pixels, picture, "PNG", ORIGIN)
    assert copy not in [job.source.resolve() for job in select(["album"], Naming(album, "png")).jobs]
    # Copies alone are asked for, and cannot be colored into themselves.
    with pytest.raises(InputError, match="would be overwritten by its own colors"):
        select(["album/colored"], Naming(out))


def test_a_folder_that_cannot_be_looked_into_is_named(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refuse(path: str) -> Any:
        if Path(path).name == "inner":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert select(["album"], Naming(album.parent / "out")).unreadable == {Path("album/inner"): "Permission denied"}
    with pytest.raises(InputError, match="no photographs in album/inner; album/inner: Permission denied; looked for"):
        select(["album/inner"], Naming(album.parent / "out"))


@pytest.mark.slow
def test_photographs_of_a_phone_are_colored_beside_themselves_once(
    album: Path, model: Path, rng: np.random.Generator
) -> None:
    pixels = rng.integers(0, 256, (40, 48, 4), dtype=np.uint8)
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(album / "p.heic", quality=90)
    words = ("colorize", "album", "--model", str(model))
    first = twotone(album.parent, *words)
    assert first.returncode == 0, first.stderr
    assert (
        "p-color.jpg; .heic photographs are written as .jpg; its transparency could not be taken over" in first.stdout
    )
    assert "5 colored, 0 kept as they were, 0 failed" in first.stdout
    names = sorted(path.name for path in album.rglob("*-color*"))
    assert names == ["a-color.jpg", "a-color.png", "a-color.png", "b-color.jpg", "p-color.jpg"]
    content = {path: path.read_bytes() for path in album.rglob("*.*")}
    assert b"compact_unet, 32 px" in content[album / "p-color.jpg"]
    assert str(model).encode() not in content[album / "p-color.jpg"]
    second = twotone(album.parent, *words)
    assert "0 colored, 5 kept as they were, 0 failed" in second.stdout
    assert "not colored: 5 colored copies" in second.stdout
    assert twotone(album.parent, *words, "--overwrite").returncode == 0
    assert {path: path.read_bytes() for path in album.rglob("*.*")} == content


def test_nothing_is_colored_twice_unless_it_is_named(tmp_path: Path, rng: np.random.Generator, model: Path) -> None:
    """Copies under any name, in any folder, with comparison sheets, and films; as their own XMP and comments say."""
    save_photo(tmp_path / "street.jpg", rng, (64, 48))
    save_photo(tmp_path / "wall.png", rng, (64, 48))
    gray_film(tmp_path / "walk.mp4")
    words = ("--model", str(model))
    assert twotone(tmp_path, "colorize", ".", "-o", "album/colored", "--compare", *words).returncode == 0
    assert twotone(tmp_path, "colorize", "street.jpg", "-o", "street-in-color.jpg", *words).returncode == 0
    made = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != tmp_path]
    assert len(made) == 3 * 2
    for again in ((".",), (".", "-o", "elsewhere"), ("**/*.*", "-o", "other"), ("album", "-o", "third")):
        done = twotone(tmp_path, "colorize", *again, *words)
        assert done.returncode == 0, done.stderr
        colored = int(done.stdout.splitlines()[-1].split()[0])
        assert colored == (0 if again[0] == "album" else 3), done.stdout
        assert "colored copies" in done.stdout
    # Named by the shell's star beside photographs, left out; named alone, colored.
    done = twotone(tmp_path, "colorize", "street.jpg", "street-in-color.jpg", "-o", "fourth", *words)
    assert "not colored: 1 colored copies" in done.stdout
    done = twotone(tmp_path, "colorize", "street-in-color.jpg", "-o", "fifth", *words)
    assert done.stdout.splitlines()[-1].startswith("1 colored")
    done = twotone(tmp_path, "colorize", "album/colored/walk.mp4", "-o", "fifth", *words)
    assert done.stdout.splitlines()[-1].startswith("1 colored")


def test_an_option_that_changes_nothing_says_so(tmp_path: Path, rng: np.random.Generator, model: Path) -> None:
    save_photo(tmp_path / "street.jpg", rng, (64, 48))
    gray_film(tmp_path / "walk.mp4")
    done = twotone(tmp_path, "colorize", ".", "-o", "out", "--format", "png", "--damaged", "--model", str(model))
    assert "note: --format is for photographs; films such as walk.mp4 keep the kind of file" in done.stderr
    assert "note: --damaged is for photographs" in done.stderr
    done = twotone(tmp_path, "colorize", "street.jpg", "-o", "o.png", "--smoothing", "0.5", "--model", str(model))
    assert "note: --smoothing is for films, and there is none" in done.stderr


def gray_film(path: Path) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30 * number, np.uint8), "rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
