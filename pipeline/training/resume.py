"""State that survives kill -9: written whole or not at all, checked before it is used.

A state file is one line (name, version, SHA-256 of the rest) and a safetensors block. What is not a tensor travels as
JSON, so that loading executes nothing. Randomness is a function of (seed, epoch, index) and of the step, so the
position is all there is to remember of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from tqdm import tqdm

_MAGIC, _KEPT, _ABOUT = b"twotone-state-1", 2, "about"


class ResumeError(Exception):
    """Saved state cannot be used; the message names it and says what to do."""


@dataclass(frozen=True)
class State:
    """Where training is, and everything that moved on the way there."""

    epoch: int
    """Finished epochs."""
    batches: int
    """Finished batches of the epoch after them."""
    tensors: dict[str, Tensor]
    values: dict[str, Any]
    """What JSON holds: history, scale of the gradients, names."""


class Keeper:
    """The saved states of one training: of one stage under one fingerprint.

    Args:
        folder: .resume/<stage>/<fingerprint> under the main repository.
        every: seconds between states within an epoch.
    """

    def __init__(self, folder: Path, every: float):
        self.folder, self._every = folder, every
        self._saved_at = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._saved_at >= self._every

    def save(self, state: State) -> None:
        """Write a state; the one before it is kept, older ones go.

        Raises:
            OSError: it could not be written; earlier states are as they were.
        """
        about = {"epoch": state.epoch, "batches": state.batches, "values": state.values}
        # A tensor may be a view of another or lie in another order: safetensors wants neither.
        tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.tensors.items()}
        block = save(tensors, {_ABOUT: json.dumps(about)})
        path = self.folder / f"{state.epoch:06d}-{state.batches:08d}.state"
        _write(path, b"%s %s\n" % (_MAGIC, hashlib.sha256(block).hexdigest().encode()), block)
        for old in self.files()[:-_KEPT]:
            old.unlink(missing_ok=True)
        self._saved_at = time.monotonic()

    def load(self) -> State | None:
        """The newest state that is whole; None where there is none at all.

        Raises:
            ResumeError: there are states, and every one of them is damaged.
        """
        files = self.files()
        for path in reversed(files):
            try:
                return read_state(path)
            except ResumeError as error:
                tqdm.write(f"warning: {error}; trying the one before", file=sys.stderr)
        if files:
            raise ResumeError(
                f"every saved state in {self.folder} is damaged; clear them with "
                "`twotone resume --clear` and run again to train from the beginning"
            )
        return None

    def clear(self) -> None:
        for path in [*self.files(), *self.folder.glob("*.writing")]:
            path.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("*.state"))


def read_state(path: Path) -> State:
    """Read one state file.

    Raises:
        ResumeError: it cannot be read, is damaged, or is of another version.
    """
    try:
        line, _, block = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise ResumeError(f"saved state {path} cannot be read ({error.strerror})") from None
    if line != b"%s %s" % (_MAGIC, hashlib.sha256(block).hexdigest().encode()):
        raise ResumeError(f"saved state {path} is damaged: its checksum is another")
    try:
        length = int.from_bytes(block[:8], "little")
        about = json.loads(json.loads(block[8 : 8 + length])["__metadata__"][_ABOUT])
        return State(about["epoch"], about["batches"], load(block), about["values"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"saved state {path} is not what this version writes ({error!r})") from None


def fingerprint(parts: Mapping[str, Any]) -> str:
    """64 hexadecimal digits of all that must be equal for a state to be continued."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def digest(paths: list[Path]) -> str:
    """One checksum over the names and contents of files, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _write(path: Path, *parts: bytes) -> None:
    """Temporary file, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    copy = path.with_suffix(".writing")
    try:
        with copy.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(copy, path)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
