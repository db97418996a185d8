"""Recipes: params.yaml as quickstart has it, with a file of overrides laid over it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.params import ParamsError, parse

BASE = "quickstart"


def names(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.yaml") if file.is_file())


def opening(folder: Path, name: str) -> list[str]:
    """The comment a recipe opens with: its command, its data, what to expect."""
    lines = (folder / f"{name}.yaml").read_text(encoding="utf-8", errors="replace").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.lstrip("# ").rstrip() for line in lines[:end]] or ["(says nothing of itself)"]


def compose(folder: Path, name: str) -> Any:
    """All parameters of a recipe, checked.

    Raises:
        ParamsError: there is no such recipe, or what it sets is refused by the schema.
    """
    if name not in names(folder):
        raise ParamsError(f"no recipe {name!r} in {folder}; there are {', '.join(names(folder)) or 'none'}")
    tree = _load(folder / f"{BASE}.yaml")
    if name != BASE:
        for block, keys in _load(folder / f"{name}.yaml").items():
            if not isinstance(keys, Mapping):
                raise ParamsError(f"{folder / name}.yaml: {block} must be a block of keys, got {keys!r}")
            tree.setdefault(block, {}).update(keys)
        tree.yaml_set_start_comment("\n".join(opening(folder, name)) + "\n\n")
    parse(tree, f"{folder / name}.yaml")
    return tree


def write(tree: Any, path: Path) -> None:
    """Replace params.yaml in one step.

    Raises:
        ParamsError: it cannot be written; it is as it was.
    """
    yaml, text = YAML(), io.StringIO()
    yaml.width = 120
    yaml.dump(tree, text)
    copy = path.with_name(f".{path.name}.new")
    try:
        copy.write_text(text.getvalue(), encoding="utf-8")
        os.replace(copy, path)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise ParamsError(f"{path}: cannot be written: {error.strerror}") from None


def changes(before: Any, after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(key, before, after) of all that differs; absent values are None."""
    old = before if isinstance(before, Mapping) else {}
    for block in dict.fromkeys([*after, *old]):
        was, now = old.get(block), after.get(block)
        was, now = (value if isinstance(value, Mapping) else {} for value in (was, now))
        for key in dict.fromkeys([*now, *was]):
            if was.get(key) != now.get(key):
                yield f"{block}.{key}", was.get(key), now.get(key)


def current(path: Path) -> Any:
    """What params.yaml holds now, valid or not; None where there is nothing to read."""
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
