"""What the stages know of DVC: the files that each depends on, and where saved states are kept.

`python -m stages.dvc` writes the `deps` of each stage into dvc.yaml: the project's own files that its script imports,
directly or not, except for EXEMPT.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
STAGES = ("sample", "pretrain", "finetune", "evaluate", "export")
# Files that no result depends on, and why.
EXEMPT = {
    "pipeline/errors.py": "only texts and exit statuses",
    "pipeline/types.py": "only names for annotations",
    "pipeline/cores.py": "decides how many threads work, not what they make",
    "pipeline/params/schema.py": "the values themselves are watched: the schema has no defaults and changes none",
    "pipeline/params/values.py": "refuses values: the values themselves are watched",
    "pipeline/params/contradictions.py": "refuses values, and changes none",
    "pipeline/params/messages.py": "only texts",
    "pipeline/checkpointing/finished.py": "decides whether a stage trains, not what it makes",
    "pipeline/locks.py": "decides whether a stage runs, not what it makes",
    "pipeline/checkpointing/signals.py": "decides when a stage stops, not what it makes",
    "pipeline/handled_signals.py": "decides when a stage stops, not what it makes",
    "pipeline/training/failures.py": "only texts",
    "pipeline/training/trackers.py": "reports elsewhere",
    "stages/dvc.py": "decides when a stage runs, not what it makes",
}


def main() -> None:
    path, yaml = ROOT / "dvc.yaml", YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 120
    tree = yaml.load(path.read_text(encoding="utf-8"))
    for stage in STAGES:
        block = tree["stages"][stage]
        others = [dep for dep in block["deps"] if not is_code(dep)]
        block["deps"] = [*others, *(file.relative_to(ROOT).as_posix() for file in code_files(stage))]
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)


def is_code(dep: str) -> bool:
    return dep.startswith(("pipeline/", "stages/")) and dep.endswith(".py")


def code_files(stage: str) -> tuple[Path, ...]:
    """The files that can change what a stage makes, sorted."""
    files = _closure(ROOT / "stages" / f"{stage}.py", set())
    return tuple(sorted(file for file in files if file.relative_to(ROOT).as_posix() not in EXEMPT))


def in_the_workspace() -> bool:
    """Whether dvc runs the stage in the project itself, and not an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() == Path.cwd()


def resume_folder() -> Path:
    """The folder of saved states: in the main repository, also when an experiment runs in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", "."), ".resume")


def trackers_folder() -> Path:
    """Return the folder of trackers' runs: in the main repository, too, so that no experiment loses its own."""
    return Path(os.environ.get("DVC_ROOT", "."), "logs/trackers")


def _closure(file: Path, seen: set[Path]) -> set[Path]:
    seen.add(file)
    for imported in imported_files(file):
        if imported not in seen:
            _closure(imported, seen)
    return seen


def imported_files(file: Path) -> Iterator[Path]:
    """The project's own files that a file imports when it runs; empty ones do not count."""
    for node in ast.walk(_WithoutTypeChecking().visit(ast.parse(file.read_bytes()))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            yield from _files_of(name)


class _WithoutTypeChecking(ast.NodeTransformer):
    """Drops imports that only type checkers see."""

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node


def _files_of(module: str) -> Iterator[Path]:
    """pipeline.color.tensors -> pipeline/color/tensors.py, and the __init__.py of each folder on the way."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:end])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file() and file.stat().st_size:
                yield file


if __name__ == "__main__":
    main()
