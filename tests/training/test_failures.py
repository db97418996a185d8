"""Texts of torch, as users have met them, and what they are told instead."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import PeerError, TrainingError
from pipeline.training.failures import translated_errors


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            TrainingError,
            "set a smaller batch_size",
        ),
        (RuntimeError("x" * 300 + " can't allocate memory"), TrainingError, "not enough memory"),
        (
            torch.distributed.DistBackendError("NCCL error in: ... Duplicate GPU detected : rank 1 and rank 0"),
            TrainingError,
            "two processes were given one GPU",
        ),
        (RuntimeError("[gloo/transport] Connection closed by peer [127.0.0.1]"), PeerError, "another process"),
    ],
)
def test_known_causes_are_named(error: RuntimeError, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence), translated_errors():
        raise error


def test_what_is_not_known_stays_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="something else"), translated_errors():
        raise RuntimeError("something else")
