"""The Dockerfile: its lint, its steps as scripts/clean_root.py reads them, and what the image leaves out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.helpers import ROOT

sys.path.append(str(ROOT / "scripts"))
import clean_root


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([str(linter), str(ROOT / "Dockerfile")], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout
    # It does look: the same file with a step that it must refuse.
    bad = (ROOT / "Dockerfile").read_text(encoding="utf-8") + "RUN cd /tmp && sudo pip install twotone\n"
    assert subprocess.run([str(linter), "-"], input=bad, capture_output=True, encoding="utf-8").returncode == 1


def test_the_steps_are_read_as_a_builder_reads_them() -> None:
    steps = clean_root.instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    words = [word for word, _ in steps]
    assert words[:2] == ["FROM", "ARG"]
    assert words[-2:] == ["ENTRYPOINT", "CMD"]
    assert [rest for word, rest in steps if word == "ARG"] == ["TORCH_BACKEND=cpu"]
    assert not [rest for _, rest in steps if "\\\n" in rest or rest.lstrip().startswith("#")]


def test_the_default_command_is_one_that_twotone_has() -> None:
    steps = dict(clean_root.instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")))
    assert json.loads(steps["ENTRYPOINT"]) == ["twotone"]
    command, *rest = json.loads(steps["CMD"])
    refused = CliRunner().invoke(app, [command, *rest, "--no-such-option"])
    assert "No such option: --no-such-option" in refused.output
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_the_image_takes_along_code_and_no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    left_out = (
        ".git/HEAD",
        ".dvc/cache/x",
        "data/sample/x",
        "checkpoints/pretrain/x",
        "pipeline/__pycache__/x",
        "tests/x",
    )
    kept = (".dvc/config", "checkpoints/export/generator.onnx", "pipeline/data/shards.py")
    for name in (*left_out, *kept):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("", encoding="utf-8")
    shutil.copy(ROOT / ".dockerignore", project)
    monkeypatch.setattr(clean_root, "PROJECT", project)
    image = tmp_path / "image"
    clean_root.copy(image)
    taken = {path.relative_to(image).as_posix() for path in image.rglob("*") if path.is_file()}
    assert taken == {".dockerignore", *kept}
