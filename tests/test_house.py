"""The house stays as docs/reference/overview.md describes it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from pipeline.models.config import Architecture
from pipeline.models.generators import GENERATORS
from pipeline.params.schema import SourceName
from pipeline.sampling.sources import SOURCES
from stages.dvc import STAGES, code_files
from tests.conftest import LONGEST
from tests.helpers import QUICKSTART, ROOT

# A room may import the rooms of the lines below its own.
LEVELS = [
    ["stages"],
    ["experiments", "page", "importing"],
    ["coloring"],
    ["export"],
    ["training", "inference"],
    ["evaluation", "sampling", "checkpointing"],
    ["quality"],
    ["params"],
    ["models", "data", "media"],
    ["color", "distributed"],
    ["pipeline"],
]


def sources() -> list[Path]:
    return [path for name in ("pipeline", "stages") for path in sorted((ROOT / name).rglob("*.py"))]


# Files beside the rooms that import from rooms.
ABOVE = {"cli.py": "stages", "devices.py": "quality", "trackers.py": "quality"}


def room(path: Path) -> str:
    """pipeline/color/tensors.py -> color; pipeline/files.py -> pipeline; stages/sample.py -> stages."""
    return ABOVE.get(path.name, path.parent.name) if path.parent.name == "pipeline" else path.parent.name


def level(path: Path) -> int:
    return next(number for number, rooms in enumerate(LEVELS) if room(path) in rooms)


class _WithoutTypeChecking(ast.NodeTransformer):
    """Drops imports that only type checkers see."""

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node


def imported_files(file: Path) -> Iterator[Path]:
    """The project's own files that a file imports when it runs; empty ones do not count."""
    for node in ast.walk(_WithoutTypeChecking().visit(ast.parse(file.read_bytes()))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            yield from files_of(name)


def files_of(module: str) -> Iterator[Path]:
    """pipeline.color.tensors -> pipeline/color/tensors.py, and the __init__.py of each folder on the way."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:end])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file() and file.stat().st_size:
                yield file


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


def test_imports_point_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {other.relative_to(ROOT)}"
        for path in sources()
        for other in imported_files(path)
        if room(other) != room(path) and level(other) <= level(path)
    ]
    assert not wrong


def test_no_files_import_each_other() -> None:
    graph = {path: set(imported_files(path)) - {path} for path in sources()}
    assert list(TopologicalSorter(graph).static_order())  # raises where there is a circle


def test_the_package_knows_neither_stages_nor_dvc() -> None:
    for path in sources():
        # The command line stands beside the stages: lr-find takes what they would train.
        if path.is_relative_to(ROOT / "pipeline") and path != ROOT / "pipeline/cli.py":
            roots = {name.split(".")[0] for name in imported_names(path)}
            assert not roots & {"stages", "dvc"}, path


# Files that no result depends on. A stage that imports one need not name it in its deps.
NO_RESULT = {
    "pipeline/errors.py": "texts and exit statuses",
    "pipeline/types.py": "names for annotations",
    "pipeline/system.py": "when and on how many cores a stage runs, not what it makes",
    "pipeline/trackers.py": "reports elsewhere",
    "pipeline/parts.py": "finds parts of one's own, whose code counts itself",
    "pipeline/progress.py": "shows how far a stage is",
    "stages/dvc.py": "where results go",
    "pipeline/dvc_project.py": "where copies of saved states go",
}


def imports_of(file: Path, seen: set[Path]) -> set[Path]:
    """The project's own files that a stage imports, directly or not. Values of params.yaml are compared themselves."""
    seen.add(file)
    for other in imported_files(file):
        if other not in seen and file.parent.name != "params":
            imports_of(other, seen)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_the_deps_of_a_stage_are_the_folders_that_it_imports(stage: str) -> None:
    declared = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    deps = {dep for dep in declared if dep.startswith(("pipeline/", "stages/"))}
    files = {file.relative_to(ROOT) for file in imports_of(ROOT / f"stages/{stage}.py", set())}
    names = {file.as_posix() for file in files}
    folders = {f"pipeline/{file.parts[1]}" for file in files if len(file.parts) > 2}
    assert deps == folders | {name for name in names - NO_RESULT.keys() if name.count("/") == 1}
    assert set(code_files(stage)) >= {ROOT / file for file in files if file.parts[1] != "params"} - {
        ROOT / name for name in NO_RESULT
    }


def test_what_no_result_depends_on_cannot_change_one() -> None:
    assert all((ROOT / name).is_file() for name in NO_RESULT)
    errors = ast.parse((ROOT / "pipeline/errors.py").read_text(encoding="utf-8"))
    functions = [node.name for node in errors.body if isinstance(node, ast.FunctionDef)]
    assert functions == ["missing_extra", "exit_status", "_open_closed", "_say"]


def test_the_table_of_reruns_is_that_of_the_deps() -> None:
    text = (ROOT / "docs/reference/what-reruns.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    said = {
        name: set(stages.split(", ")) for names, stages in rows for name in re.findall(r"`(pipeline/[^`]+)`", names)
    }
    tree = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    parts = [path for path in sorted((ROOT / "pipeline").glob("*")) if path.is_dir() and "__" not in path.name]
    for name in [f"pipeline/{path.name}" for path in parts] + ["pipeline/files.py", "pipeline/devices.py"]:
        starts = {stage for stage in STAGES if name in tree[stage]["deps"]}
        expected = {"all stages"} if starts == set(STAGES) else starts or {"none"}
        assert said.get(name, {"none"}) == expected, name


def test_the_overview_names_every_room_and_file() -> None:
    text = (ROOT / "docs/reference/overview.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == rooms
    files = {path.name for path in (ROOT / "pipeline").glob("*.py") if path.name != "__init__.py"}
    assert files <= set(re.findall(r"`(\w+\.py)`", text))
    for room, first in re.findall(r"^\| `(\w+)/` \|.*\| `(\w+\.py)` \|$", text, re.MULTILINE):
        assert (ROOT / "pipeline" / room / first).is_file()


def test_files_say_what_they_are() -> None:
    for path in sources():
        assert "utils" not in path.name


def test_every_error_is_in_one_place() -> None:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and path != ROOT / "pipeline/errors.py":
                bases = [ast.unparse(base) for base in node.bases]
                assert not [base for base in bases if base.endswith(("Error", "Exception"))], f"{path}: {node.name}"


def test_tables_have_every_name_of_the_schema() -> None:
    assert set(GENERATORS) == set(get_args(Architecture))
    assert set(SOURCES) == set(get_args(SourceName))


@pytest.mark.parametrize(
    "document",
    [
        *(
            "docs/how-to/container.md",
            "docs/explanation/reliability.md",
            "docs/how-to/remotes.md",
            "docs/reference/what-reruns.md",
            "docs/reference/overview.md",
        ),
        *(
            "docs/how-to/hints.md",
            "docs/how-to/color-photographs.md",
            "docs/how-to/train-your-own.md",
            "docs/how-to/compare-and-swap.md",
        ),
        *(
            "docs/explanation/reproducible.md",
            "docs/explanation/saturation-baseline.md",
            "docs/reference/recipes.md",
            "docs/results/real-photographs.md",
        ),
        "README.md",
    ],
)
def test_every_test_and_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"
    for file in re.findall(r"`((?:pipeline|stages|docs|benchmarks)/[\w/]+\.\w+)`", text):
        assert (ROOT / file).is_file(), file
    for file in re.findall(r"\]\(([\w/.-]+)\)", text):
        assert (ROOT / document).parent.joinpath(file).exists(), file


def slow_tests(file: str) -> set[str]:
    """The names of a file's tests that are marked slow as a whole."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if any("slow" in ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)):
        return {function.name for function in functions}
    marks = {function.name: [ast.unparse(mark) for mark in function.decorator_list] for function in functions}
    return {name for name, given in marks.items() if "pytest.mark.slow" in given}


def test_the_table_of_faults_says_which_tests_are_slow() -> None:
    for row in (ROOT / "docs/explanation/reliability.md").read_text(encoding="utf-8").splitlines():
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row) if row.startswith("|") else []
        if tests:
            assert any(name in slow_tests(file) for file, name in tests) == row.endswith("(slow) |"), row


def test_no_file_names_a_download_address_or_pickle() -> None:
    for path in sources():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"import pickle|pickle import .*(load|Unpickler\b)", text)
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\(.*", text))
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


def test_every_parameter_is_watched_by_a_stage() -> None:
    """All but those that change no bytes."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    watched = {name for stage in stages for name in stage["params"]}
    tree = YAML(typ="safe").load(QUICKSTART.read_text(encoding="utf-8"))
    unwatched = {f"{b}.{key}" for b, keys in tree.items() for key in keys if not {b, f"{b}.{key}"} & watched}
    assert unwatched == {"base.num_workers", "base.save_every_minutes", "base.states", "base.trackers"}


def test_the_modules_that_begin_first_are_there() -> None:
    assert set(LONGEST) <= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
