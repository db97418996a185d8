"""The house stays as docs/overview.md describes it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py"))
# Each level may import itself and those to its right.
LEVELS = [
    {"stages", "pipeline.cli"},
    {"pipeline.training", "pipeline.evaluation", "pipeline.inference"},
    {"pipeline.models"},
    {"pipeline.data"},
    {
        "pipeline.color",
        "pipeline.colorimetry",
        "pipeline.params",
        "pipeline.refusals",
        "pipeline.publish",
        "pipeline.grids",
        "pipeline.recipes",
    },
]


def sources() -> list[Path]:
    return [path.relative_to(ROOT) for name in ("pipeline", "stages") for path in sorted((ROOT / name).rglob("*.py"))]


def module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def project_files(name: str) -> list[Path]:
    parts = name.split(".")
    found = []
    for end in range(1, len(parts) + 1):
        place = Path(*parts[:end])
        found += [place.with_suffix(".py"), place / "__init__.py"]
    return [path for path in found if (ROOT / path).is_file() and (ROOT / path).stat().st_size]


def closure(path: Path, seen: set[Path]) -> set[Path]:
    seen.add(path)
    for name in imported(path):
        for file in project_files(name):
            if file not in seen:
                closure(file, seen)
    return seen


def level(name: str) -> int:
    return next(
        i for i, rooms in enumerate(LEVELS) if any(name == room or name.startswith(room + ".") for room in rooms)
    )


def test_imports_point_one_way() -> None:
    wrong = []
    for path in sources():
        for name in imported(path):
            own = project_files(name)
            if own and module(path).count(".") and level(module(path)) > level(module(own[-1])):
                wrong.append(f"{path} imports {name}")
    assert not wrong


def test_the_package_knows_neither_stages_nor_dvc() -> None:
    for path in sources():
        if path.parts[0] == "pipeline":
            roots = {name.split(".")[0] for name in imported(path)}
            assert not roots & {"stages", "dvc"}, path


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_files_it_imports(stage: str) -> None:
    declared = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    code = {Path(dep) for dep in declared if dep.endswith(".py")}
    assert code == closure(Path("stages", f"{stage}.py"), set())


def test_every_file_is_in_the_overview_and_is_short() -> None:
    overview = (ROOT / "docs/overview.md").read_text()
    for path in sources():
        text = (ROOT / path).read_text()
        if text:
            assert f"`{path.as_posix()}`" in overview, f"docs/overview.md has no line for {path}"
        assert len(text.splitlines()) <= 300, f"{path} is long: which part is another room?"
        assert "utils" not in path.name


def test_no_file_names_a_download_address_or_pickle() -> None:
    for path in sources():
        text = (ROOT / path).read_text()
        assert "import pickle" not in text
        assert "torch.load(" not in text
    assert "uv.lock" in (ROOT / ".gitignore").read_text().split()


def test_the_lock_holds_every_dependency_by_hash_and_no_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "sha256:" in lock
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=]", requirement)[0]
        assert re.search(rf"^{re.escape(name.replace('.', '-'))}==", lock, re.MULTILINE), name


def test_every_parameter_is_watched_by_a_stage() -> None:
    """All but those that change no bytes."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].values()
    watched = {name for stage in stages for name in stage["params"]}
    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    unwatched = {f"{b}.{key}" for b, keys in tree.items() for key in keys if not {b, f"{b}.{key}"} & watched}
    assert unwatched == {"base.num_workers", "base.save_every_minutes", "base.trackers"}
