"""Hooks of mkdocs.yml: README.md and its neighbors become pages of the site, without a second copy of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Pages that lie above docs/, by their names in the site.
OUTSIDE = {
    "index.md": "README.md",
    "starter.md": "checkpoints/starter/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
    "license.md": "LICENSE",
}
# Drawn in a browser by a script that Material would load from elsewhere; the README has a table of the same.
MERMAID = re.compile(r"^```mermaid\n.*?^```\n", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(((?:\.\./)*)([\w./-]+)(#[\w-]+)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that lie above docs/."""
    for name, source in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source == "LICENSE":
            text = f"# License\n\n```\n{text}```\n"
        files.append(File.generated(config, name, content=from_above(text)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links out of docs/, such as ../README.md, into links to the pages of on_files."""
    return LINK.sub(_to_page, markdown) if page.file.src_uri not in OUTSIDE else markdown


def from_above(text: str) -> str:
    """Return a text that lies above docs/, with its links as they are inside docs/."""
    return LINK.sub(_to_page, MERMAID.sub("", text).replace("](docs/", "](").replace("](../../docs/", "]("))


def _to_page(link: re.Match[str]) -> str:
    up, target, place = link.groups()
    for name, source in OUTSIDE.items():
        if target == source:
            return f"]({up.removeprefix('../')}{name}{place or ''})"
    return link.group()
