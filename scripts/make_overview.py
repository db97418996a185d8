"""Write the tables of docs/overview.md from the first lines of the modules: `python scripts/make_overview.py`."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
OVERVIEW = ROOT / "docs/overview.md"
MARK = "<!-- made by scripts/make_overview.py; change the first line of the module instead -->"


def main() -> None:
    text = OVERVIEW.read_text(encoding="utf-8")
    OVERVIEW.write_text(updated(text), encoding="utf-8")


def updated(text: str) -> str:
    """The overview with its tables made anew; what stands above the mark stays."""
    return text.partition(MARK)[0] + MARK + "\n" + "".join(table(folder) for folder in folders())


def folders() -> list[Path]:
    """stages/, pipeline/ and its rooms."""
    return [
        ROOT / "stages",
        ROOT / "pipeline",
        *sorted(path.parent for path in (ROOT / "pipeline").glob("*/__init__.py")),
    ]


def table(folder: Path) -> str:
    rows = [f"| `{file.name}` | {first_line(file)} |" for file in sorted(folder.glob("*.py")) if file.stat().st_size]
    name = folder.relative_to(ROOT).as_posix()
    return f"\n## `{name}/`\n\n| file | what it does |\n|---|---|\n" + "\n".join(rows) + "\n"


def first_line(file: Path) -> str:
    """Raises:
    ValueError: the module has no docstring.
    """
    docstring = ast.get_docstring(ast.parse(file.read_bytes()))
    if not docstring:
        raise ValueError(f"{file.relative_to(ROOT)}: no docstring, which docs/overview.md is made of")
    return docstring.splitlines()[0].replace("*", "\\*").replace("|", "\\|")


if __name__ == "__main__":
    main()
