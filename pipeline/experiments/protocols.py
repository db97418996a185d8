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


def measured_otherwise(before: str | None, after: str | None, side: str) -> tuple[str, ...]:
    """Say what differs between two measurements of the same photographs: `libraries: torch 2.4.0, here 2.5.1`.

    Args:
        before, after: the texts of protocol.json; None where there is none, as of an early version.
        side: what an error calls `before`.

    Raises:
        InputError: the photographs have other pixels, or a file is damaged.
    """
    sides = _read(before, side), _read(after, "this run")
    _require_same_pixels(*sides, side)
    return tuple(_differences(*sides))


def _read(text: str | None, side: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text is not None else {}
    except ValueError as error:
        raise InputError(f"{FILE} of {side} is damaged ({error}); run dvc repro evaluate") from None
    if not isinstance(found, dict):
        raise InputError(f"{FILE} of {side} is damaged (no mapping); run dvc repro evaluate")
    return found


def _require_same_pixels(before: dict[str, Any], after: dict[str, Any], side: str) -> None:
    """Under the same names there may be photographs of another size, or cut otherwise."""
    sides = [protocol.get("photographs", {}) for protocol in (before, after)]
    digests = [one.get("sha256") for one in sides]
    if None not in digests and digests[0] != digests[1]:
        sizes = [f"{one.get('resolution', '?')} {one.get('fit', '')}".strip() for one in sides]
        raise InputError(
            f"{side} was measured on other pixels of the same photographs ({sizes[0]}, here {sizes[1]}), so nothing "
            "can be compared; use the same base.image_size, sample.fit and files, and run both again"
        )


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Of what both sides name."""
    for key in sorted(before.keys() & after.keys() - set(_OWN)):
        sides = before[key], after[key]
        if all(isinstance(side, dict) for side in sides):
            for name in sorted(sides[0].keys() & sides[1].keys()):
                if sides[0][name] != sides[1][name]:
                    yield f"{key}: {name} {sides[0][name]}, here {sides[1][name]}"
        elif sides[0] != sides[1]:
            yield f"{key}: {sides[0]}, here {sides[1]}"
