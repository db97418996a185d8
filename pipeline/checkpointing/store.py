"""Saved states of a training, which survive kill -9: written whole or not at all, checked before they are used.

A state file is one line (name, version, SHA-256 of the rest) and a safetensors block. What is not a tensor is stored as
JSON, so that loading executes nothing. Random numbers are functions of (seed, epoch, index) and of the step, so the
position is all that must be saved of them.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from pipeline.checkpointing.remote import FINISHED, INPUTS, KEPT, STATE, Copies, Remote
from pipeline.errors import SavedStateError
from pipeline.files import HIDDEN, remove, replacing, write_json

_MAGIC, _METADATA = b"twotone-state-1", "about"
# The newest state, and the one before it should that be damaged.
_NEWEST = 2


@dataclass(frozen=True)
class State:
    """Where a training is, and everything that it has changed so far."""

    epoch: int
    """Finished epochs."""
    batches: int
    """Finished batches of the epoch after them."""
    contents: dict[str, Any]
    """Tensors and JSON values by name."""


class SavedStates:
    """The saved states of one training: of one stage under one fingerprint.

    Args:
        folder: .resume/<stage>/<fingerprint> under the main repository.
        every: seconds between two states within an epoch.
        inputs: the parameters of the training, for those who look at the folder later.
        remote: where copies go, and where states of another machine may lie.
    """

    def __init__(self, folder: Path, every: float, inputs: dict[str, Any] | None = None, remote: Remote | None = None):
        self.folder, self._every, self.inputs, self.remote = folder, every, inputs or {}, remote
        self._copies = Copies(remote, _NEWEST) if remote else None
        self._saved_at = time.monotonic()
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def due(self) -> bool:
        """Whether the last state is old enough for another one."""
        return time.monotonic() - self._saved_at >= self._every

    def save(self, state: State) -> None:
        """Copy a state, and write it while training goes on; the one before it is kept, older ones are deleted.

        Raises:
            OSError: the last one could not be written; earlier states are as they were.
        """
        self.finish()
        # What is no tensor, too: training goes on and changes it.
        copied = {
            name: _own(value) if _is_tensor(value) else json.loads(json.dumps(value))
            for name, value in state.contents.items()
        }
        self._writing = self._writer.submit(self._write, replace(state, contents=copied))
        self._saved_at = time.monotonic()

    def finish(self) -> None:
        """Wait until the state that `save` was given is on disk.

        Raises:
            OSError: it could not be written; earlier states are as they were.
        """
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def __enter__(self) -> SavedStates:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """Wait for what is being written, however the block ended.

        Raises:
            OSError: it could not be written, and the block had not failed by itself.
        """
        with suppress(OSError) if failed else nullcontext():
            self.finish()
        if self._copies:
            self._copies.finish()

    def _write(self, state: State) -> None:
        block = pack(state)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.files():
            write_json(self.folder / INPUTS, self.inputs)
        path = self.folder / f"{state.epoch:06d}-{state.batches:08d}.state"
        with replacing(path) as hidden, hidden.open("wb") as file:
            file.write(b"%s %s\n" % (_MAGIC, hashlib.sha256(block).hexdigest().encode()))
            file.write(block)
        for old in self.files()[:-_NEWEST]:
            old.unlink(missing_ok=True)
        if self._copies:
            self._copies.offer(path)

    def fetch(self) -> None:
        """Fetch what another machine has saved of this training, where its states have a place outside.

        Raises:
            SavedStateError: that place cannot be read or written to.
        """
        if self.remote is None:
            return
        own = next((path for path in reversed(self.files()) if _is_whole(path)), None)
        count = self.remote.fetch(self.folder, own.name if own else "")
        if count:
            tqdm.write(f"{count} saved state(s) of this training came from {self.remote.address}")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / INPUTS, self.inputs)
        self.remote.begin(self.folder)
        if own and not count and self._copies:
            self._copies.offer(own)

    def load(self) -> State | None:
        """Return the newest state that is not damaged; None where nothing was saved.

        Raises:
            SavedStateError: every state is damaged.
        """
        files = self.files()
        for path in reversed(files):
            try:
                return read_state(path)
            except SavedStateError as error:
                tqdm.write(f"warning: {error}; trying the one before", file=sys.stderr)
        if files:
            raise SavedStateError(
                f"every saved state in {self.folder} is damaged; clear them with "
                "`twotone states --clear` and run again to train from the beginning"
            )
        return None

    @contextmanager
    def keeping(self, name: str) -> Iterator[Path]:
        """Give a folder to write to; it is kept beside the states, for the end of the training.

        Raises:
            OSError: it could not be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"{KEPT}{name}") as hidden:
            yield hidden

    def kept(self) -> dict[str, Path]:
        """Return the folders that were kept, by their names."""
        return {path.name.removeprefix(KEPT): path for path in sorted(self.folder.glob(f"{KEPT}*"))}

    def end(self) -> None:
        """Delete all states here; those in base.states stay, and are said to be of a finished training."""
        if self.remote:
            self.remote.end(self.folder)
        self.clear()

    def clear(self) -> None:
        """Delete all states here, all that was kept beside them, and what a killed process left half-written."""
        # States last: whoever is killed here leaves a folder that can still be found.
        for path in [*self.kept().values(), *self.folder.glob(f"{HIDDEN}*"), *self.files(), self.folder / INPUTS]:
            remove(path)

    def files(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob(STATE))


def pack(state: State) -> bytes:
    """Pack a state of tensors on the CPU as bytes, of which `unpack` makes the state again."""
    tensors = {name: value for name, value in state.contents.items() if _is_tensor(value)}
    values = {name: value for name, value in state.contents.items() if name not in tensors}
    metadata = {"epoch": state.epoch, "batches": state.batches, "values": values}
    block: bytes = save(tensors, {_METADATA: json.dumps(metadata)})
    return block


def unpack(block: bytes) -> State:
    """Return the state of which `pack` made these bytes.

    Raises:
        SafetensorError, ValueError, KeyError, TypeError: it made none of this kind.
    """
    metadata = _metadata(block)
    return State(metadata["epoch"], metadata["batches"], {**load(block), **metadata["values"]})


def _metadata(block: bytes) -> dict[str, Any]:
    length = int.from_bytes(block[:8], "little")
    metadata: dict[str, Any] = json.loads(json.loads(block[8 : 8 + length])["__metadata__"][_METADATA])
    return metadata


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor)


def _own(value: Tensor) -> Tensor:
    """Copy to the CPU. A tensor may be a view of another or have another memory order: safetensors takes neither."""
    return value.detach().to("cpu", copy=True).contiguous()


def require_no_other_count(states: SavedStates) -> None:
    """Refuse to begin anew what another number of processes has begun.

    Raises:
        SavedStateError: there is a state of this very training, from another number of processes.
    """
    ours = states.inputs
    for theirs in (*_others_here(states), *_others_there(states)):
        if _same_training(theirs, ours) and theirs["processes"] != ours["processes"]:
            raise SavedStateError(
                f"this training was begun by {theirs['processes']} processes and cannot go on with "
                f"{ours['processes']}: sums would be rounded in another order; run it with as many again "
                "(base.processes), or clear its state with `twotone states --clear` to train from the beginning"
            )


def mention_others(states: SavedStates) -> None:
    """Say what other states there are where a training begins anew, and why it does not go on with them."""
    ours, here, there = states.inputs, list(_others_here(states)), list(_others_there(states))
    for theirs in (*here, *there):
        if _same_training(theirs, ours) and theirs.get("threads", ours["threads"]) != ours["threads"]:
            tqdm.write(
                f"note: this training was begun with {theirs['threads']} thread(s) and begins anew with "
                f"{ours['threads']}, since sums are rounded in another order; OMP_NUM_THREADS={theirs['threads']} "
                "would go on with its state"
            )
            return
    places = [str(states.folder.parent)] if here else []
    if there and states.remote:
        places.append(states.remote.address)
    if places:
        held = "holds" if len(places) == 1 else "hold"
        tqdm.write(
            f"note: {' and '.join(places)} {held} saved state of other parameters, data or code; see `twotone states`"
        )


def _others_here(states: SavedStates) -> Iterator[dict[str, Any]]:
    """Yield the inputs of each other training of the stage that has a saved state in .resume/."""
    for folder in sorted(states.folder.parent.glob("*")):
        if folder != states.folder and SavedStates(folder, 0).files():
            yield read_inputs(folder)


def _others_there(states: SavedStates) -> Iterator[dict[str, Any]]:
    """Yield those of each that has one in base.states and was not finished."""
    if states.remote:
        stage, own = states.folder.parent.name, states.folder.name
        for one in states.remote.trainings():
            if one.stage == stage and one.fingerprint != own and one.epoch is not None:
                theirs = states.remote.inputs(stage, one.fingerprint)
                if not theirs.get(FINISHED):
                    yield theirs


def _same_training(theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    return "training" in ours and theirs.get("training") == ours["training"]


def read_inputs(folder: Path) -> dict[str, Any]:
    """Return the parameters, by block, of the training whose states are in a folder; empty where they cannot be
    read.
    """
    try:
        inputs = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return inputs if isinstance(inputs, dict) else {}


def read_state(path: Path) -> State:
    """Read one state file.

    Raises:
        SavedStateError: it cannot be read, is damaged, or is of another version.
    """
    with _of_this_version(path):
        return unpack(_block(path))


def _is_whole(path: Path) -> bool:
    try:
        read_position(path)
    except SavedStateError:
        return False
    return True


def read_position(path: Path) -> tuple[int, int]:
    """(epoch, batches) of a state file, without its tensors.

    Raises:
        SavedStateError: it cannot be read, is damaged, or is of another version.
    """
    with _of_this_version(path):
        metadata = _metadata(_block(path))
        return metadata["epoch"], metadata["batches"]


@contextmanager
def _of_this_version(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise SavedStateError(f"saved state {path} is not of this version ({error!r})") from None


def _block(path: Path) -> bytes:
    """Read what follows the first line of a state file, whose checksum is right."""
    try:
        line, _, block = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise SavedStateError(f"saved state {path} cannot be read ({error.strerror})") from None
    if line != b"%s %s" % (_MAGIC, hashlib.sha256(block).hexdigest().encode()):
        raise SavedStateError(f"saved state {path} is damaged: its checksum does not match")
    return block


# How many parameters an optimizer has averages of.
_COUNTED = "counted"


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Adam's step and averages by `<index of the parameter>.<name>`, and of how many parameters there are some.

    Parameters that never learn, or that no step has used, have none.
    """
    states = optimizer.state_dict()["state"]
    tensors = {
        f"{index}.{name}": torch.as_tensor(value) for index, own in states.items() for name, value in own.items()
    }
    return {_COUNTED: torch.tensor(len(states)), **tensors}


def load_optimizer_tensors(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        KeyError: something is missing; names it.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key == _COUNTED:
            continue
        number, _, name = key.partition(".")
        # In the memory order of the parameter: another order may round differently.
        like = parameters[int(number)]
        ordered = torch.empty_like(like).copy_(value) if value.shape == like.shape and value.ndim else value
        states.setdefault(int(number), {})[name] = ordered
    names = {name for own in states.values() for name in own}
    for index, own in states.items():
        for name in names - set(own):
            raise KeyError(f"{name} of parameter {index}")
    counted = int(tensors[_COUNTED])
    if len(states) != counted:
        raise KeyError(f"{counted - len(states)} of {counted} parameters")
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def below(contents: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in contents.items() if name.startswith(prefix)}
