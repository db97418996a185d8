"""The source `fastai`: a data set that fastai downloads."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.params.schema import Sample
from pipeline.sampling.candidates import SPLITS, Candidate, Candidates
from pipeline.sampling.folder import folder


def fastai_photographs(sample: Sample, seed: int) -> Candidates:
    """Photographs of a fastai data set, downloaded and unpacked where fastai keeps them.

    The choice is that of the COCO notebooks: numpy's legacy generator, seeded, picks as many as are asked for and
    shuffles them; the first sample.train are for training. The notebooks pick from an unsorted listing, which differs
    from machine to machine; here it is sorted.

    Raises:
        SourceError: no such data set, or it can be neither found nor downloaded.
    """
    candidates = folder(_fastai_folder(sample.dataset))
    counts = {split: int(getattr(sample, split)) for split in SPLITS}
    total = sum(counts.values())
    if total > len(candidates):
        return candidates
    legacy = np.random.RandomState(seed)
    chosen = legacy.choice(len(candidates), total, replace=False)[legacy.permutation(total)]
    # The rest stand in for photographs that are rejected.
    order = np.concatenate([chosen, np.setdiff1d(np.arange(len(candidates)), chosen)])
    ends = np.cumsum([counts[split] for split in SPLITS])

    def make(number: int) -> Candidate:
        split = SPLITS[int(np.searchsorted(ends, number, "right"))] if number < total else None
        return replace(candidates[int(order[number])], split=split)

    return Candidates(len(candidates), make)


def require_dataset(name: str) -> str:
    """Return the address of a fastai data set.

    Raises:
        SourceError: there is none of this name.
    """
    from fastai.data.external import URLs

    url = getattr(URLs, name, None)
    if not (isinstance(url, str) and url.endswith((".tgz", ".zip"))):
        known = [key for key, value in vars(URLs).items() if str(value).endswith((".tgz", ".zip"))]
        similar = ", ".join(difflib.get_close_matches(name, known, n=3)) or "COCO_SAMPLE"
        raise SourceError(f"sample.dataset {name!r} is no fastai data set; similar names: {similar}")
    return url


def _fastai_folder(name: str) -> Path:
    from fastai.data.external import untar_data

    url = require_dataset(name)
    try:
        return Path(untar_data(url))
    except Exception as error:  # urllib, tarfile and fastai raise many kinds
        archive = url.rsplit("/", 1)[-1]
        raise SourceError(
            f"sample.dataset {name}: neither found nor downloaded ({type(error).__name__}: {error}); put {archive} "
            "into the archive folder of fastai's config (FASTAI_HOME, default ~/.fastai), or set another sample.source"
        ) from None
