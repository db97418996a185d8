"""The sources of photographs by their names in params.yaml; each lists its candidates in a fixed order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ParamsError
from pipeline.params.schema import Sample, part_of
from pipeline.parts import load_part
from pipeline.sampling.arrays import lab_arrays, stl10
from pipeline.sampling.bundled import bundled
from pipeline.sampling.candidates import SPLITS, Candidate, Candidates, TemporaryTables
from pipeline.sampling.fastai_data import fastai_photographs
from pipeline.sampling.folder import folder
from pipeline.sampling.listed import listed
from pipeline.sampling.parquet import parquet
from pipeline.sampling.webdataset import webdataset

SOURCES: dict[str, Callable[[Sample, int], Candidates]] = {
    "bundled": lambda sample, seed: bundled(Path(sample.path), seed),
    "folder": lambda sample, _seed: folder(Path(sample.path), sample.include, sample.exclude),
    "files": lambda sample, _seed: listed(Path(sample.path)),
    "fastai": fastai_photographs,
    "stl10": lambda sample, _seed: stl10(Path(sample.path)),
    "webdataset": lambda sample, _seed: webdataset(Path(sample.path)),
    "parquet": lambda sample, _seed: parquet(Path(sample.path)),
    "lab_arrays": lambda sample, _seed: lab_arrays(Path(sample.path)),
}
"""(block `sample`, base.seed) -> candidates; raises SourceError."""


def list_candidates(sample: Sample, seed: int) -> Candidates:
    """Return all photographs of the source, which may be a part of one's own: function(path, seed) -> Candidates.

    Raises:
        ParamsError: a part cannot be used.
        SourceError: names the path, what was expected and what was found.
    """
    part = part_of("sources", sample.source)
    if not part:
        return SOURCES[sample.source](sample, seed)
    found = load_part("sample.source", part, "path", "seed")(Path(sample.path), seed)
    if not isinstance(found, Candidates):
        raise ParamsError(f"sample.source: {sample.source} must return Candidates, got {type(found).__name__}")
    _require_sound(sample.source, found)
    return found


def _require_sound(source: str, found: Candidates) -> None:
    """Check what a part returned: what is wrong in it would come out as another split, or after the training.

    Raises:
        ParamsError: names the candidate, what it has, and what is allowed.
    """
    found.weights = _sound_weights(source, found)
    names = TemporaryTables("CREATE TABLE names (name TEXT UNIQUE)")
    sides: dict[int, str] = {}
    for number, one in enumerate(found):
        problem = _problem(one, grouped=found.grouped)
        if not problem and not names.run("INSERT OR IGNORE INTO names VALUES (?)", one.name).rowcount:
            problem = f"name {one.name!r} is that of another candidate; each needs its own"
        if not problem and one.group is not None and one.split:
            side = sides.setdefault(one.group, one.split)
            if side != one.split:
                problem = f"group {one.group} is in {side} and in {one.split}; a group stays in one split"
        if problem:
            raise ParamsError(f"sample.source: {source}: candidate {number}: {problem}")


def _sound_weights(source: str, found: Candidates) -> NDArray[np.float64] | None:
    """Return the weights as numbers.

    Raises:
        ParamsError: they are not one number above 0 for each candidate.
    """
    if found.weights is None:
        return None
    must = f"sample.source: {source}: weights must be one number above 0 for each candidate"
    try:
        weights = np.asarray(found.weights, np.float64)
    except (TypeError, ValueError):
        raise ParamsError(f"{must}; got {found.weights!r:.100}") from None
    if weights.shape != (len(found),):
        raise ParamsError(f"{must}; got {len(found)} candidates and weights of shape {weights.shape}")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if len(wrong):
        raise ParamsError(f"{must}; that of candidate {wrong[0]} is {weights[wrong[0]]:g}")
    return weights


def _problem(one: object, *, grouped: bool) -> str:
    """Say what is wrong in a candidate by itself; "" for nothing."""
    if not isinstance(one, Candidate):
        return f"must be a Candidate, got {one!r}"
    if not isinstance(one.name, str) or not one.name:
        return f"name must be a text, got {one.name!r}"
    if not isinstance(one.file, Path):
        return f"file must be a pathlib.Path, got {one.file!r}"
    if one.split not in (None, *SPLITS):
        return f"split must be None or one of {', '.join(SPLITS)}, got {one.split!r}"
    if not one.name.isprintable() and one.name != one.name.encode(errors="replace").decode():
        return f"name must be a text that UTF-8 can hold, got {one.name!r}"
    if not isinstance(one.group, int | None):
        return f"group must be None or a whole number, got {one.group!r}"
    if one.group is not None and not grouped:
        return f"has group {one.group!r}, and Candidates was made without grouped=True, so groups would not count"
    return ""
