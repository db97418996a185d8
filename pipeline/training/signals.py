"""Asked to stop: finish the step, save, and go."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(Exception):
    """Training was asked to stop and its state is saved.

    `status` is what a shell expects of a process ended by the signal: 143 for SIGTERM, 130 for Ctrl-C.
    """

    def __init__(self, number: int):
        self.status = 128 + number
        super().__init__(f"stopped by {signal.Signals(number).name}; state is saved, run again to continue")


class StopRequest:
    """The signal that asked to stop, if one did."""

    number: int | None = None


@contextmanager
def listening() -> Iterator[StopRequest]:
    """SIGTERM and the first Ctrl-C are remembered; the second Ctrl-C ends the process at once."""
    request = StopRequest()

    def remember(number: int, _frame: FrameType | None) -> None:
        request.number = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    before = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
