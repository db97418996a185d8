"""Values that the schema of params.yaml takes, where a type and bounds do not say it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

# The folders of checkpoints/ that the pipeline writes, and so cannot start from.
RESULTS = ("pretrain", "finetune", "export")


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def weights_by_name(value: Any) -> Any:
    """l1:100 mse:10 -> {l1: 100.0, mse: 10.0}; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    pairs = [pair.replace("=", ":").split(":") for pair in value.replace(",", " ").split()]
    try:
        weights = {name: float(weight) for name, weight in pairs}
    except ValueError:
        weights = {}
    if not weights or len(weights) < len(pairs):
        raise ValueError("must be weights by name, such as {l1: 100} or the text l1:100 mse:10")
    return weights


def check_group(value: Any) -> Any:
    if value not in ("none", "folder") and (type(value) is not int or value < 2):
        raise ValueError("must be none, folder, or a number of files >= 2")
    return value


def check_processes(value: Any) -> Any:
    if value != "auto" and (type(value) is not int or not 1 <= value <= 1024):
        raise ValueError("must be auto or a number from 1 to 1024")
    return value


def check_start(value: str) -> str:
    """DVC would refuse a circle, too, but with the words of a graph."""
    place = PurePosixPath(value)
    if place.is_absolute() or ".." in place.parts or value.startswith("~") or not place.parts:
        raise ValueError("must be the name of a folder in checkpoints/, such as starter; copy yours there")
    inside = place.relative_to("checkpoints") if place.parts[0] == "checkpoints" else place
    if inside.parts[:1] and inside.parts[0] in RESULTS:
        raise ValueError(
            f"must not be what this pipeline writes itself; copy it (cp -r checkpoints/{inside} checkpoints/start) and "
            "name the copy: start"
        )
    if inside != place:
        raise ValueError(f"must be the name alone of a folder in checkpoints/: {inside if inside.parts else 'starter'}")
    return str(place)
