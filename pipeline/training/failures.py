"""What torch raises as a plain RuntimeError while it trains, in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import PeerError, TrainingError


@contextmanager
def translated_errors() -> Iterator[None]:
    """Within, RuntimeErrors that have a known cause become TrainingErrors."""
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())[:200]
        if "deterministic" in text:
            raise TrainingError(
                f"an operation may give other bits on the next run ({text}); nothing was published; take another "
                "network or device, or set base.deterministic to false"
            ) from None
        if "address already in use" in text.lower():
            raise TrainingError(f"the processes cannot meet ({text}); is MASTER_PORT taken? run again") from None
        if "gloo" in text or "closed by peer" in text or "reset by peer" in text or "remote process exited" in text:
            raise PeerError(
                f"another process of this training has ended ({text}); nothing was published, and the last saved state "
                "is kept"
            ) from None
        if "DataLoader worker" in text:
            raise TrainingError(
                f"a process that loads photographs ended ({text}); nothing was published; is there enough "
                "memory? set base.num_workers to 0 to load without such processes"
            ) from None
        if "out of memory" in text or "can't allocate memory" in text:
            raise TrainingError(
                f"not enough memory ({text}); nothing was published; set a smaller batch_size or base.image_size"
            ) from None
        raise
