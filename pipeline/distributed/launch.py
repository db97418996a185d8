"""Run a stage in several processes of this machine, and end them all where one fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO

from pipeline.errors import PeerError
from pipeline.system import cores, handled

# Seconds. Until then, a process whose peer has ended notices it and says so.
_GRACE = 10.0
_LIFELINE = "TWOTONE_LIFELINE"
_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(frozen=True)
class Process:
    rank: int
    running: subprocess.Popen[bytes]
    errors: IO[bytes] | None
    """What it prints on stderr; None for the first, which prints where this process does."""


def launch(command: Sequence[str], count: int) -> int:
    """Run a command in so many processes, told by their environment which of them each is, as torchrun tells it.

    SIGTERM and Ctrl-C are passed on to all. When one fails, the others are ended, and the cause is printed.

    Returns:
        0, the exit status of the process that failed, or 128 and the number of the signal that killed it.
    """
    processes: list[Process] = []
    try:
        with _passing_on(processes) as passed_on:
            port = _free_port()
            processes.extend(_start(command, number, count, port) for number in range(count))
            for number in passed_on:  # before all had been started
                for process in processes:
                    process.running.send_signal(number)
            failed = _wait(processes, passed_on)
    finally:
        for process in processes:
            process.running.kill()
            process.running.wait()
    if failed is None:
        return 0
    _print_cause(failed, count, passed_on)
    code = failed.running.returncode
    return code if code > 0 else 128 - code


def end_with_launcher() -> None:
    """In a process that `launch` has started: stop as for SIGTERM once the launcher is gone, however it ended.

    Until training listens to signals, Ctrl-C ends it at once, also where it waits for the others.
    """

    def wait() -> None:
        # Not through sys.stdin, which could not be closed while a thread reads it.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    if os.environ.pop(_LIFELINE, ""):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        threading.Thread(target=wait, daemon=True).start()


def _start(command: Sequence[str], rank: int, count: int, port: int) -> Process:
    threads = max(1, cores() // count)
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    environment = {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        **{name: str(value) for name, value in told.items()},
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        _LIFELINE: "1",
    }
    errors = tempfile.TemporaryFile() if rank else None  # noqa: SIM115
    # In a session of its own, Ctrl-C reaches it once: from here.
    running = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stderr=errors, start_new_session=True
    )  # fmt: skip
    return Process(rank, running, errors)


@contextmanager
def _passing_on(processes: list[Process]) -> Iterator[set[int]]:
    """Within, signals that ask to stop go to all processes; gives those that have come."""
    passed_on: set[int] = set()

    def pass_on(number: int, _frame: FrameType | None) -> None:
        passed_on.add(number)
        for process in processes:
            with suppress(ValueError):  # as for Ctrl-C on Windows, which reaches all processes of a console by itself
                process.running.send_signal(number)

    with handled(pass_on, signal.SIGTERM, signal.SIGINT):
        yield passed_on


def _wait(processes: list[Process], passed_on: set[int]) -> Process | None:
    """Until all have ended, or a while after one has failed; returns the one that failed by itself, if any.

    Those that stop because they were asked to are waited for, however long the first one saves.
    """
    failed: list[Process] = []
    deadline = float("inf")
    while any(process.running.poll() is None for process in processes) and time.monotonic() < deadline:
        for process in processes:
            code = process.running.poll()
            if code and process not in failed:
                failed.append(process)
                if code not in _STOPPED and -code not in passed_on:
                    deadline = min(deadline, time.monotonic() + _GRACE)
        time.sleep(0.02)
    failed.extend(process for process in processes if process.running.poll() and process not in failed)
    # One that has agreed to stop may be hit by the signal once more while it ends.
    stopped = [process for process in failed if process.running.returncode in _STOPPED]
    own = [process for process in failed if process.running.returncode != PeerError.status]
    return next(iter([*stopped, *own, *failed]), None)


def _print_cause(failed: Process, count: int, passed_on: set[int]) -> None:
    """Print why a process failed: the first has printed its own; where a signal has killed one, nobody has yet."""
    name, code = f"process {failed.rank} of {count} (from 0)", failed.running.returncode
    if failed.errors:
        failed.errors.seek(0)
        text = failed.errors.read().decode(errors="replace").strip()
        if text:
            print(f"{name}: {text}", file=sys.stderr)
    if code < 0 and -code in passed_on:
        print(f"error: stopped by {signal.Signals(-code).name}", file=sys.stderr)
    elif code < 0:
        print(
            f"error: {name} was ended by {signal.Signals(-code).name}; is there enough memory? the last saved state "
            "is kept, run again to continue",
            file=sys.stderr,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
