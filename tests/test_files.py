"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import LockError
from pipeline.files import replacing


def test_of_two_that_write_one_file_the_second_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with replacing(path) as hidden:
        hidden.write_bytes(b"A" * 200)
        with pytest.raises(LockError, match=r"film.mp4 is being written by another process"), replacing(path) as other:
            other.write_bytes(b"B")
    assert path.read_bytes() == b"A" * 200
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept"

    def write(text: str) -> None:
        with replacing(path) as hidden:
            hidden.mkdir()
            (hidden / "weights").write_text(text, encoding="utf-8")

    write("first")
    write("second")
    assert (path / "weights").read_text(encoding="utf-8") == "second"

    def full(_source: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.files.os.replace", full)
        with pytest.raises(OSError, match="No space left"):
            write("third")
    assert (path / "weights").read_text(encoding="utf-8") == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_between_its_two_renames_it_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    with replacing(path) as hidden:
        hidden.mkdir()
        aside = hidden.with_suffix(".old")
        (hidden / "weights").write_text("first", encoding="utf-8")
    path.rename(aside)
    with pytest.raises(KeyboardInterrupt), replacing(path) as hidden:
        raise KeyboardInterrupt
    assert not path.exists()  # nothing was finished that could take its place
    with replacing(path) as hidden:
        hidden.mkdir()
    assert list(tmp_path.iterdir()) == [path]
