"""The sources of photographs by their names in params.yaml; each lists its candidates in a fixed order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.params.schema import Sample, SourceName
from pipeline.sampling.arrays import lab_arrays, stl10
from pipeline.sampling.bundled import bundled
from pipeline.sampling.candidates import Candidates
from pipeline.sampling.fastai_data import fastai_photographs
from pipeline.sampling.folder import folder
from pipeline.sampling.listed import listed

SOURCES: dict[SourceName, Callable[[Sample, int], Candidates]] = {
    "bundled": lambda sample, seed: bundled(Path(sample.path), seed),
    "folder": lambda sample, _seed: folder(Path(sample.path)),
    "files": lambda sample, _seed: listed(Path(sample.path)),
    "fastai": fastai_photographs,
    "stl10": lambda sample, _seed: stl10(Path(sample.path)),
    "lab_arrays": lambda sample, _seed: lab_arrays(Path(sample.path)),
}
"""(block `sample`, base.seed) -> candidates; raises SourceError."""


def list_candidates(sample: Sample, seed: int) -> Candidates:
    """All photographs of the source.

    Raises:
        SourceError: names the path, what was expected and what was found.
    """
    return SOURCES[sample.source](sample, seed)
