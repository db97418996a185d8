"""What torch raises as a plain RuntimeError while a stage computes, in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import PeerError, TrainingError

# What a process says whose peer has gone.
_PEERS = ("gloo", "closed by peer", "reset by peer", "remote process exited")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Within, RuntimeErrors that have a known cause become TrainingErrors."""
    try:
        yield
    except RuntimeError as error:
        whole = " ".join(str(error).split())
        text = whole[:200]
        if "deterministic" in whole:
            raise TrainingError(
                f"an operation may give other bits on the next run ({text}); nothing was published; take another "
                "network or device, or set base.deterministic to false"
            ) from None
        if "address already in use" in whole.lower():
            raise TrainingError(f"the processes cannot meet ({text}); is MASTER_PORT taken? run again") from None
        if any(sign in whole for sign in _PEERS):
            raise PeerError(
                f"another process has ended ({text}); nothing was published, and the last saved state of a training "
                "is kept"
            ) from None
        if "Duplicate GPU" in whole:
            raise TrainingError(
                f"two processes were given one GPU ({text}); start as many as each machine has, each with its own"
            ) from None
        if "DataLoader worker" in whole:
            raise TrainingError(
                f"a process that loads photographs ended ({text}); nothing was published; is there enough "
                "memory? set base.num_workers to 0 to load without such processes"
            ) from None
        if "out of memory" in whole or "can't allocate memory" in whole:
            raise TrainingError(
                f"not enough memory ({text}); nothing was published; set a smaller batch_size or base.image_size"
            ) from None
        raise
