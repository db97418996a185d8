"""`twotone states`: list and delete the saved states of interrupted trainings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.checkpointing.remote import Position, Remote
from pipeline.checkpointing.store import SavedStates, read_inputs, read_position
from pipeline.errors import InputError, LockError, ParamsError, SavedStateError
from pipeline.params import recipes
from pipeline.params.schema import read
from pipeline.system import held
from pipeline.tables import print_table

_DIGITS = 12


@dataclass(frozen=True)
class Training:
    """One interrupted training: a stage under a fingerprint."""

    folder: Path
    states: list[Path]
    """Oldest first."""
    bytes: int
    age: float
    """Seconds since the newest state was saved."""

    @property
    def stage(self) -> str:
        return self.folder.parent.name

    @property
    def fingerprint(self) -> str:
        return self.folder.name


def list_trainings(folder: Path, params: Path, fingerprint: str | None) -> None:
    """Print tables of the saved states in .resume/ and at base.states, and how their parameters differ from today's.

    Args:
        fingerprint: its first digits; None for all.

    Raises:
        InputError: no saved state has this fingerprint.
        SavedStateError: what is at base.states cannot be read.
    """
    remote = _remote(params)
    trainings, elsewhere = _asked_for(folder, remote, fingerprint)
    today = _today(params)
    headers = ("stage", "fingerprint", "after epoch", "and batches", "saved", "MiB", "parameters")
    rows = []
    for training in trainings:
        size = f"{training.bytes / 2**20:.1f}"
        position = _position(training.states[-1]) if training.states else ("no state yet", "")
        inputs = read_inputs(training.folder)
        count = inputs.get("processes", 1)
        changed = _differences(inputs, today) + (f"; shared by {count} processes" if count != 1 else "")
        rows.append((training.stage, training.fingerprint[:_DIGITS], *position, _ago(training.age), size, changed))
    if rows:
        print_table(headers, rows)
    goes_on = "; dvc repro goes on with that of today's parameters and data" if rows else ""
    print(f"interrupted trainings in {folder}: {len(rows) or 'none'}{goes_on}")
    if remote:
        there = []
        for one in elsewhere:
            changed = _differences(remote.inputs(one.stage, one.fingerprint), today)
            there.append((one.stage, one.fingerprint[:_DIGITS], str(one.epoch), str(one.batches), changed))
        if there:
            print_table(("stage", "fingerprint", "after epoch", "and batches", "parameters"), there)
        print(f"interrupted trainings in {remote.address}: {len(there) or 'none'}")


def clear_trainings(folder: Path, params: Path, fingerprint: str | None, *, ask: bool) -> None:
    """Delete saved states, here and at base.states, but for those of a training that runs here.

    Args:
        fingerprint: its first digits; None for all.
        ask: for a confirmation first.

    Raises:
        InputError: no saved state has this fingerprint.
        SavedStateError: what is at base.states cannot be read.
        typer.Abort: the answer is no.
    """
    import typer

    remote = _remote(params)
    trainings, elsewhere = _asked_for(folder, remote, fingerprint)
    if not trainings and not elsewhere:
        print(f"no saved states in {folder}")
        return
    here = [(training.stage, training.fingerprint) for training in trainings]
    alone = [one for one in elsewhere if (one.stage, one.fingerprint) not in here]
    both = [*here, *((one.stage, one.fingerprint) for one in alone)]
    names = ", ".join(f"{stage} {key[:_DIGITS]}" for stage, key in both)
    if ask:
        typer.confirm(f"Delete the saved states of {names}? These trainings will start anew.", abort=True)
    for training in trainings:
        try:
            with held(training.folder / "lock", f"{training.stage} {training.fingerprint[:_DIGITS]}"):
                SavedStates(training.folder, every=0, remote=remote).clear()
            print(f"deleted: {training.stage} {training.fingerprint[:_DIGITS]}, {training.bytes / 2**20:.1f} MiB")
        except LockError as error:
            print(f"kept: {error}")
    for one in alone:
        SavedStates(folder / one.stage / one.fingerprint, every=0, remote=remote).clear()
        print(f"deleted: {one.stage} {one.fingerprint[:_DIGITS]} at base.states")


def _remote(params: Path) -> Remote | None:
    """Return the place of base.states; None where nothing or nonsense is said."""
    try:
        return Remote.of(read(params).base.states)
    except (OSError, ParamsError):
        return None


def _asked_for(folder: Path, remote: Remote | None, fingerprint: str | None) -> tuple[list[Training], list[Position]]:
    """Return the trainings with saved states here, and those at base.states."""
    begins = fingerprint or ""
    here = [training for training in find_trainings(folder) if training.fingerprint.startswith(begins)]
    there = [one for one in remote.states() if one.fingerprint.startswith(begins)] if remote else []
    if fingerprint and not here and not there:
        raise InputError(f"{folder} has no saved state of fingerprint {fingerprint}; `twotone states` lists them")
    return here, there


def find_trainings(folder: Path) -> list[Training]:
    """All that have a saved state, or a generator that was kept before the first one, oldest first.

    A state may vanish meanwhile: its training has gone on.
    """
    found = [training for place in sorted(folder.glob("*/*/")) for training in _training(place)]
    return sorted(found, key=lambda training: -training.age)


def _training(folder: Path) -> Iterator[Training]:
    states, sizes, times = [], [], []
    saved = SavedStates(folder, every=0)
    kept = sum(file.stat().st_size for place in saved.kept().values() for file in place.rglob("*") if file.is_file())
    for path in saved.files():
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        states.append(path)
        sizes.append(status.st_size)
        times.append(status.st_mtime)
    # Generators are kept beside the states, and may be there before the first of them.
    times += [place.stat().st_mtime for place in saved.kept().values()]
    if times:
        yield Training(folder, states, sum(sizes) + kept, time.time() - max(times))


def _position(path: Path) -> tuple[str, str]:
    """Finished epochs, and batches of the next one."""
    try:
        epoch, batches = read_position(path)
    except SavedStateError:
        return ("damaged", "") if path.exists() else ("gone on", "")
    return str(epoch), str(batches)


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def _today(path: Path) -> Any:
    """Return today's parameters as a training keeps them; as they are written, where the schema refuses them."""
    try:
        return read(path).model_dump(mode="json")
    except (OSError, ParamsError):
        return recipes.current(path)


def _differences(then: dict[str, Any], today: Any) -> str:
    """Return the parameters whose values have changed since."""
    if not then or not isinstance(today, dict):
        return "unknown"
    now = {block: values if isinstance(values, dict) else {} for block, values in today.items()}
    changes = [
        f"{block}.{key} {value!r}, now {now.get(block, {}).get(key)!r}"
        for block, values in then.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if _plain(now.get(block, {}).get(key)) != value
    ]
    return "; ".join(changes) or "the same"


def _plain(value: Any) -> Any:
    """As JSON would give it back."""
    return list(value) if isinstance(value, tuple) else value
