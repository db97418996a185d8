"""What the stages know of DVC: the code that each depends on, and where saved states are kept."""

from __future__ import annotations

import os
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.files import StageFolders
from pipeline.parts import OWN, other_files

ROOT = Path(__file__).parents[1]
STAGES = ("sample", "pretrain", "finetune", "evaluate", "export")
# A training knows the parts that it uses (pipeline/parts.py).
_CODE = (OWN, "pipeline", "stages")
# Its values are compared themselves: what it does with them changes no result.
_PARAMS = "pipeline/params"


def code_files(stage: str) -> tuple[Path, ...]:
    """Return the Python files that can change what a stage makes, sorted: those in its deps in dvc.yaml."""
    own = [ROOT / OWN, ROOT / _PARAMS]
    return tuple(file for file in watched_files(stage) if not any(file.is_relative_to(folder) for folder in own))


def watched_files(stage: str) -> tuple[Path, ...]:
    """Return all files of code for whose change dvc starts a stage, and what else lies in parts/, sorted."""
    tree = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    code = [dep for dep in tree["stages"][stage]["deps"] if Path(dep).parts[0] in _CODE]
    found = [file for dep in code for file in _python_files(ROOT / dep)]
    return tuple(sorted([*found, *(other_files(ROOT / OWN) if OWN in code else ())]))


def _python_files(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]


def in_the_workspace() -> bool:
    """Return whether dvc runs the stage in the project itself, and not an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() == Path.cwd()


def folders(stage: str) -> StageFolders:
    """Return where a training stage writes.

    Saved states, and the runs of trackers, are in the main repository, also when an experiment runs in a copy of it.
    """
    states = Path(os.environ.get("DVC_ROOT", "."), ".resume", stage)
    return StageFolders(
        Path("logs", stage), Path("reports", stage), Path("checkpoints", stage), states, trackers_folder()
    )


def trackers_folder() -> Path:
    """Return the folder of trackers' runs: in the main repository, too, so that no experiment loses its own."""
    return Path(os.environ.get("DVC_ROOT", "."), "logs/trackers")
