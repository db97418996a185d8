"""`twotone states`: list and delete the saved states of interrupted trainings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.checkpointing.remote import Remote, RemoteTraining
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
    trainings, today = _found(folder, fingerprint), _today(params)
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
    today_is = "that of today's parameters, data, code, packages and number of threads"
    goes_on = f"; dvc repro goes on with {today_is}" if rows else ""
    print(f"interrupted trainings in {folder}: {len(rows) or 'none'}{goes_on}")
    # What is here is told first, should that place be out of reach.
    remote, there = _elsewhere(params, fingerprint)
    if fingerprint and not rows and not there:
        raise _unknown(folder, fingerprint)
    if remote:
        lines = []
        for one in there:
            changed = _differences(remote.inputs(one.stage, one.fingerprint), today)
            epoch = "no state yet" if one.epoch is None else str(one.epoch)
            lines.append((one.stage, one.fingerprint[:_DIGITS], epoch, str(one.batches), changed))
        if lines:
            print_table(("stage", "fingerprint", "after epoch", "and batches", "parameters"), lines)
        print(f"trainings with states in {remote.address}: {len(lines) or 'none'}")


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

    trainings, problem = _found(folder, fingerprint), None
    try:
        remote, there = _elsewhere(params, fingerprint)
    except SavedStateError as error:
        remote, there, problem = None, [], error
    if fingerprint and not trainings and not there and not problem:
        raise _unknown(folder, fingerprint)
    if not trainings and not there and not problem:
        print(f"no saved states in {folder}")
        return
    names = [f"{one.stage} {one.fingerprint[:_DIGITS]}" for one in trainings]
    if remote and there:
        elsewhere = ", ".join(f"{one.stage} {one.fingerprint[:_DIGITS]}" for one in there)
        names.append(f"in {remote.address}, where another machine may be at work, {elsewhere}")
    if ask and names:
        typer.confirm(f"Delete the saved states of {', '.join(names)}? These trainings will start anew.", abort=True)
    running = set()
    for training in trainings:
        try:
            with held(training.folder / "lock", f"{training.stage} {training.fingerprint[:_DIGITS]}"):
                SavedStates(training.folder, every=0).clear()
            print(f"deleted: {training.stage} {training.fingerprint[:_DIGITS]}, {training.bytes / 2**20:.1f} MiB")
        except LockError as error:
            running.add((training.stage, training.fingerprint))
            print(f"kept: {error}")
    for one in there:
        if (
            remote
            and (one.stage, one.fingerprint) not in running
            and remote.clear(folder / one.stage / one.fingerprint)
        ):
            print(f"deleted: {one.stage} {one.fingerprint[:_DIGITS]} in {remote.address}")
    if problem:
        raise problem


def _elsewhere(params: Path, fingerprint: str | None) -> tuple[Remote | None, list[RemoteTraining]]:
    """Return the place of base.states, and the trainings that have something there; None where nothing is said.

    Raises:
        SavedStateError: the place cannot be read.
    """
    try:
        remote = Remote.of(read(params).base.states)
    except (OSError, ParamsError):
        return None, []
    if remote is None:
        return None, []
    return remote, [one for one in remote.trainings() if one.fingerprint.startswith(fingerprint or "")]


def _found(folder: Path, fingerprint: str | None) -> list[Training]:
    return [training for training in find_trainings(folder) if training.fingerprint.startswith(fingerprint or "")]


def _unknown(folder: Path, fingerprint: str) -> InputError:
    return InputError(f"{folder} has no saved state of fingerprint {fingerprint}; `twotone states` lists them")


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
