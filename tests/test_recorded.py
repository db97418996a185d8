"""What dvc would record wrong: photographs that change while they are sampled."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.errors import InputError
from pipeline.params.schema import parse
from stages.recorded import as_it_began
from tests.helpers import QUICKSTART


@pytest.mark.parametrize(
    ("stage", "source", "path"),
    [
        ("sample", "folder", "box"),
        ("sample", "webdataset", "box"),
        ("sample", "files", "box/list.txt"),
        ("evaluate", "folder", "elsewhere"),
    ],
)
def test_photographs_that_change_while_they_are_sampled(
    stage: str, source: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "box").mkdir()
    (tmp_path / "box/list.txt").write_text("one.jpg\n", encoding="utf-8")
    tree = YAML(typ="safe").load(QUICKSTART.read_text(encoding="utf-8"))
    tree["sample"] |= {"source": source, "path": path}
    tree["evaluate"]["photographs"] = "box"
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(tree, file)
    with as_it_began(stage, parse(tree)):
        # What a file manager leaves, and .dvcignore names.
        (tmp_path / "box/.DS_Store").write_bytes(b"icons")
    changed = pytest.raises(InputError, match=r"box/list\.txt: changed while \w+ ran, and dvc would record")
    with changed, as_it_began(stage, parse(tree)):
        (tmp_path / "box/list.txt").write_text("one.jpg\ntwo.jpg\n", encoding="utf-8")
