"""The notebook: a Python file and an .ipynb of the same cells, which train and color as they say."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable

import jupytext
import nbformat
import numpy as np
import pytest
from nbconvert.preprocessors import ExecutePreprocessor
from PIL import Image
from skimage.color import rgb2lab

from tests.helpers import ROOT, Project, environment

NOTEBOOK = ROOT / "docs/notebooks/quickstart.py"


def test_both_files_have_the_same_cells() -> None:
    """After a change of one: `uv run jupytext --sync docs/notebooks/quickstart.py`."""
    paired = [jupytext.read(path) for path in (NOTEBOOK, NOTEBOOK.with_suffix(".ipynb"))]
    script, notebook = ([(cell.cell_type, cell.source) for cell in file.cells] for file in paired)
    assert script == notebook
    # Outputs do not belong into git: they would be another machine's.
    assert not any(cell.get("outputs") for cell in paired[1].cells)


def _chroma(picture: str, column: int) -> float:
    """Of one of four photographs side by side, which lie on white; the mean of what is not white."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))
    part = np.array_split(pixels, 4, axis=1)[column]
    lab = rgb2lab(part[(part < 255).any(axis=-1)])
    return float(np.hypot(lab[:, 1], lab[:, 2]).mean())


@pytest.mark.slow
def test_it_trains_and_colors(make_project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh clone: results are committed, photographs and weights are not there yet."""
    project = make_project("notebook")
    for part in ("docs/notebooks", "docs/historic/prokudin-gorskii", "checkpoints/starter"):
        shutil.copytree(ROOT / part, project.folder / part)
    project.dvc("repro")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "trained")
    for part in ("data", "checkpoints/pretrain", "checkpoints/finetune", "checkpoints/export", ".dvc/cache", ".resume"):
        shutil.rmtree(project.folder / part, ignore_errors=True)

    somebody = {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for key, value in {**environment(), **somebody}.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(project.folder / "docs/notebooks/quickstart.ipynb", as_version=4)
    folder = {"metadata": {"path": str(project.folder / "docs/notebooks")}}
    ExecutePreprocessor(timeout=600).preprocess(notebook, folder)  # raises where a cell does

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    for stage in ("sample", "pretrain", "finetune", "evaluate", "export"):
        assert f"Running stage '{stage}'" in printed
    assert all(f"{name} " in printed for name in ("gray", "lightness_table", "pretrain", "finetune"))
    assert "Ran experiment(s)" in printed
    assert "| reports/finetune/metrics.json |" in printed
    # L*a*b*, losses, samples, and the photograph colored twice.
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4
    # "True color" is no scan of gray plates.
    assert _chroma(pictures[-1], -1) > 10 > 1 > _chroma(pictures[-1], 0)
    # The last cell goes back to the commit.
    project.git("diff", "--exit-code")
    assert (project.folder / "checkpoints/export/generator.onnx").is_file()
