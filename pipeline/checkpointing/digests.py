"""Checksums of files and of code, without torch, which a second of a command's start would go to."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def files_digest(paths: Iterable[Path]) -> str:
    """One checksum over the names and contents of files, in the order of their paths."""
    total = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def code_digest(paths: Iterable[Path]) -> str:
    """One checksum over what Python files do: comments, docstrings and the texts of errors do not count.

    Of other files the whole content counts.
    """
    # Not in the order of their paths, which differ between a workspace and an experiment's copy of it.
    described = json.dumps(sorted(f"{path.name} {_without_texts(path)}" for path in paths))
    return hashlib.sha256(described.encode()).hexdigest()


def _without_texts(path: Path) -> str:
    content = path.read_bytes()
    try:
        tree = ast.parse(content) if path.suffix == ".py" else None
    except (SyntaxError, ValueError):
        tree = None
    if tree is None:
        return hashlib.sha256(content).hexdigest()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A string that stands alone: a docstring of a module, class, function or attribute.
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(statement: ast.stmt) -> bool:
    alone = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return alone and isinstance(statement.value.value, str)  # type: ignore[attr-defined]
