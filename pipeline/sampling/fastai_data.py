"""The source `fastai`: a data set that fastai downloads."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.params import Sample
from pipeline.sampling.candidates import SPLITS, Candidate
from pipeline.sampling.folder import folder


def fastai_photographs(sample: Sample, seed: int) -> list[Candidate]:
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
    splits = [split for split in SPLITS for _ in range(counts[split])]
    drawn = [replace(candidates[i], split=split) for i, split in zip(chosen, splits, strict=True)]
    # The rest stand in for photographs that are rejected.
    return drawn + [candidates[i] for i in sorted(set(range(len(candidates))) - set(chosen.tolist()))]


def _fastai_folder(name: str) -> Path:
    from fastai.data.external import URLs, untar_data

    url = getattr(URLs, name, None)
    if not (isinstance(url, str) and url.endswith((".tgz", ".zip"))):
        known = [key for key, value in vars(URLs).items() if str(value).endswith((".tgz", ".zip"))]
        similar = ", ".join(difflib.get_close_matches(name, known, n=3)) or "COCO_SAMPLE"
        raise SourceError(f"sample.dataset {name!r} is no fastai data set; similar names: {similar}")
    try:
        return Path(untar_data(url))
    except Exception as error:  # urllib, tarfile and fastai raise many kinds
        archive = url.rsplit("/", 1)[-1]
        raise SourceError(
            f"sample.dataset {name}: neither found nor downloaded ({type(error).__name__}: {error}); put {archive} "
            "into the archive folder of fastai's config (FASTAI_HOME, default ~/.fastai), or set another sample.source"
        ) from None
