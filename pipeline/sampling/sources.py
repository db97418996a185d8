"""The sources of photographs by their names in params.yaml; each lists its candidates in a fixed order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import ParamsError
from pipeline.params.parts import load_part
from pipeline.params.schema import Sample, part_of
from pipeline.sampling.arrays import lab_arrays, stl10
from pipeline.sampling.bundled import bundled
from pipeline.sampling.candidates import Candidates
from pipeline.sampling.fastai_data import fastai_photographs
from pipeline.sampling.folder import folder
from pipeline.sampling.listed import listed
from pipeline.sampling.webdataset import webdataset

SOURCES: dict[str, Callable[[Sample, int], Candidates]] = {
    "bundled": lambda sample, seed: bundled(Path(sample.path), seed),
    "folder": lambda sample, _seed: folder(Path(sample.path), sample.include, sample.exclude),
    "files": lambda sample, _seed: listed(Path(sample.path)),
    "fastai": fastai_photographs,
    "stl10": lambda sample, _seed: stl10(Path(sample.path)),
    "webdataset": lambda sample, _seed: webdataset(Path(sample.path)),
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
    return found
