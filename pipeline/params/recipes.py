"""Recipes: the params.yaml of quickstart, with a file of overrides laid over it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import ParamsError
from pipeline.files import replacing
from pipeline.params.schema import parse

BASE = "quickstart"


def names(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.yaml") if file.is_file())


def opening(folder: Path, name: str) -> list[str]:
    """Return the comment that a recipe opens with: its command, its data, what to expect."""
    lines = (folder / f"{name}.yaml").read_text(encoding="utf-8", errors="replace").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").removeprefix(" ").rstrip() for line in lines[:end]] or ["(no description)"]


def compose(folder: Path, name: str) -> Any:
    """All parameters of a recipe, checked.

    Raises:
        ParamsError: there is no such recipe, or the schema refuses one of its values.
    """
    if name not in names(folder):
        raise ParamsError(f"no recipe {name!r} in {folder}; there are {', '.join(names(folder)) or 'none'}")
    tree = _load(folder / f"{BASE}.yaml")
    if name != BASE:
        for block, keys in _load(folder / f"{name}.yaml").items():
            if not isinstance(keys, Mapping):
                raise ParamsError(f"{folder / name}.yaml: {block} must be a block of keys, got {keys!r}")
            tree.setdefault(block, {}).update(keys)
        tree.yaml_set_start_comment("\n".join(f"# {line}".rstrip() for line in opening(folder, name)))
    parse(tree, f"{folder / name}.yaml")
    return tree


def write(tree: Any, path: Path) -> None:
    """Replace params.yaml in one step.

    Raises:
        ParamsError: it cannot be written; the old file is unchanged.
    """
    yaml, text = YAML(), io.StringIO()
    yaml.width = 120
    yaml.dump(tree, text)
    try:
        with replacing(path) as hidden:
            hidden.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise ParamsError(f"{path}: cannot be written: {error.strerror}") from None


def changes(before: Any, after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(key, before, after) of each value that differs; absent values are None."""
    old = before if isinstance(before, Mapping) else {}
    for block in dict.fromkeys([*after, *old]):
        was, now = old.get(block), after.get(block)
        was, now = (value if isinstance(value, Mapping) else {} for value in (was, now))
        for key in dict.fromkeys([*now, *was]):
            if was.get(key) != now.get(key):
                yield f"{block}.{key}", was.get(key), now.get(key)


def current(path: Path) -> Any:
    """Return the current values of params.yaml, valid or not; None where it cannot be read."""
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError, RecursionError):
        return None


def _load(path: Path) -> Any:
    try:
        tree = YAML().load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError, RecursionError) as error:
        raise ParamsError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ParamsError(f"{path}: must hold blocks of keys, got {tree!r}")
    return tree
