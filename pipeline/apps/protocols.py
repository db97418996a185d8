"""Whether the scores of two runs were measured alike, by the protocol.json of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

FILE = Path("reports/evaluate/protocol.json")
# Texts of a version of this program, and what every run has of its own.
_OWN = ("colorizers", "intervals", "means", "photographs", "weights")


def read_protocol(text: str | None, side: str) -> dict[str, Any]:
    """What a run says of its scores; nothing where it has no protocol.json, as of an early version.

    Args:
        text: the file's; None where there is none.
        side: what an error calls the run.

    Raises:
        InputError: it is damaged.
    """
    try:
        found = json.loads(text) if text is not None else {}
    except ValueError as error:
        raise InputError(f"{FILE} of {side} is damaged ({error}); run dvc repro evaluate") from None
    if not isinstance(found, dict):
        raise InputError(f"{FILE} of {side} is damaged (no mapping); run dvc repro evaluate")
    return found


def require_same_pixels(before: dict[str, Any], after: dict[str, Any], side: str) -> None:
    """Refuse scores of photographs that have the same names and other pixels: of another size, or cut otherwise.

    Raises:
        InputError: says what each side was measured on.
    """
    sides = [protocol.get("photographs", {}) for protocol in (before, after)]
    digests = [one.get("sha256") for one in sides]
    if None not in digests and digests[0] != digests[1]:
        sizes = [f"{one.get('resolution', '?')} {one.get('fit', '')}".strip() for one in sides]
        raise InputError(
            f"{side} was measured on other pixels of the same photographs ({sizes[0]}, here {sizes[1]}), so nothing "
            "can be compared; use the same base.image_size, sample.fit and files, and run both again"
        )


def differences_of(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Sentences on what was measured otherwise, of what both sides name: `libraries: torch 2.4.0, here 2.5.1`."""
    for key in sorted(before.keys() & after.keys() - set(_OWN)):
        sides = before[key], after[key]
        if all(isinstance(side, dict) for side in sides):
            for name in sorted(sides[0].keys() & sides[1].keys()):
                if sides[0][name] != sides[1][name]:
                    yield f"{key}: {name} {sides[0][name]}, here {sides[1][name]}"
        elif sides[0] != sides[1]:
            yield f"{key}: {sides[0]}, here {sides[1]}"
