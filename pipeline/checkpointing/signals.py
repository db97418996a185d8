"""Requests to stop: SIGTERM and Ctrl-C are remembered until the step is finished and saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.errors import StoppedError
from pipeline.system import handled


class StopRequest:
    """The signal that asks to stop, if one came."""

    number: int = 0
    """0: none."""


def obey(number: int) -> None:
    """End a stage that has saved its state.

    Raises:
        StoppedError: number is that of a signal; the status is what a shell expects: 143 for SIGTERM, 130 for Ctrl-C.
    """
    if number:
        name = signal.Signals(number).name
        raise StoppedError(f"stopped by {name}; state is saved, run again to continue", 128 + number)


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Within, SIGTERM and the first Ctrl-C are remembered; the second Ctrl-C ends the process at once."""
    request = StopRequest()

    def remember(number: int, _frame: FrameType | None) -> None:
        request.number = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    with handled(remember, signal.SIGTERM, signal.SIGINT):
        yield request
