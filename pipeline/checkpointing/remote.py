"""Copies of saved states in a bucket or on a shared disk, so that another machine can go on with a training."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Self
from uuid import uuid4

import fsspec
from fsspec.spec import AbstractFileSystem
from tqdm import tqdm

from pipeline.dvc_project import remote_options
from pipeline.errors import SavedStateError, missing_extra
from pipeline.files import HIDDEN, replacing, write_json

_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "hf"}
NOWHERE = "none"
"""What base.states says where saved states stay on this machine."""
INPUTS, FINISHED = "inputs.json", "finished"
STATE, KEPT = "[0-9]*.state", "kept-"
_ENDING, _ARCHIVE = ".state", ".tar"
_STAGES = ("pretrain", "finetune")
_FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteTraining:
    """A training that has files at an address."""

    stage: str
    fingerprint: str
    epoch: int | None
    """Finished epochs of its newest state; None where there is none yet."""
    batches: int = 0
    """Finished batches of the epoch after the finished ones."""


class Remote:
    """A place for saved states: STAGE/FINGERPRINT/ with the same files as .resume/, and kept folders as tar files.

    Each file has another name until it is there whole. An error when a state is copied ends no training; one at the
    beginning does, since a training would begin anew that could go on.

    Args:
        address: as fsspec knows it, such as s3://bucket/states or /mnt/shared/states; or the name of a remote of DVC,
            whose folder `states` is used.

    Raises:
        SavedStateError: nobody knows such an address, or what speaks its protocol is not installed.
    """

    def __init__(self, address: str):
        self.address = address
        known, options = remote_options(address)
        if known is None and "://" not in address and not Path(address).is_absolute():
            raise SavedStateError(
                f"base.states {address}: expected an address such as s3://bucket/states, an absolute path or the name "
                "of a DVC remote (`dvc remote list` shows them)"
            )
        try:
            found = fsspec.core.url_to_fs(f"{known}/states" if known else address, **options)
        except (ValueError, ImportError) as error:
            needed = missing_extra(f"base.states {address}: {error}", "s3") if "s3" in str(error) else error
            raise SavedStateError(f"base.states {address}: {needed}") from None
        self._files: AbstractFileSystem = found[0]
        self._root = str(found[1]).rstrip("/")
        self._uploaded: dict[Path, int] = {}
        """When each kept folder was written that is there as it is here."""
        protocol = self._files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        # A bucket has no folders, and s3fs would make the bucket itself where somebody has mistyped its name.
        self._has_folders = not names & _BUCKETS
        self._local = "file" in names

    @classmethod
    def of(cls, address: str) -> Self | None:
        """Return the place of base.states; None for `none`."""
        return None if address == NOWHERE else cls(address)

    def trainings(self) -> list[RemoteTraining]:
        """Return each training that has something there, with its newest state.

        Raises:
            SavedStateError: the address cannot be read.
        """
        found = []
        with self._readable():
            # There may be other things, such as a file manager's.
            for stage in (name for name in self._names(self._root) if name in _STAGES):
                for key in filter(_FINGERPRINT.fullmatch, self._names(f"{self._root}/{stage}")):
                    names = self._names(f"{self._root}/{stage}/{key}")
                    newest = max(filter(_is_state, names), default="")
                    epoch, _, batches = newest.removesuffix(_ENDING).partition("-")
                    if names:
                        found.append(RemoteTraining(stage, key, int(epoch) if epoch else None, int(batches or 0)))
        return found

    def inputs(self, stage: str, key: str) -> dict[str, Any]:
        """Return the parameters, by block, of a training; empty where they cannot be read."""
        try:
            found = json.loads(self._files.cat_file(f"{self._root}/{stage}/{key}/{INPUTS}"))
        except Exception:  # whatever a protocol raises: this is only told to somebody
            return {}
        return found if isinstance(found, dict) else {}

    def begin(self, folder: Path) -> None:
        """Put the parameters of a training there, which shows that it can be written to.

        Args:
            folder: .resume/STAGE/FINGERPRINT, whose last two names are those at the address.

        Raises:
            SavedStateError: it cannot.
        """
        with self._readable("written to"):
            if self._local and not Path(self._root).parent.is_dir():
                raise FileNotFoundError(f"{Path(self._root).parent} is no folder")
            self._put(folder / INPUTS, self._place(folder, INPUTS))

    def end(self, folder: Path) -> None:
        """Say beside the states of a training that it has come to its end; another may then begin anew."""
        if not (folder / INPUTS).is_file():
            return  # of no epochs
        with self._tried(f"{INPUTS} could not be copied"), TemporaryDirectory() as temporary:
            path = Path(temporary) / INPUTS
            write_json(path, json.loads((folder / INPUTS).read_text(encoding="utf-8")) | {FINISHED: True})
            self._put(path, self._place(folder, INPUTS))

    def fetch(self, folder: Path, own: str) -> int:
        """Fetch the states that are newer than one in a folder, and what is kept beside them.

        Args:
            own: the name of the newest whole state in the folder; "" where there is none.

        Returns:
            How many states came.

        Raises:
            SavedStateError: the address cannot be read, or what it has cannot be written here.
        """
        with self._readable():
            names = self._names(self._place(folder))
            wanted = [name for name in names if _is_state(name) and name > own]
            # First what the states need: whoever is killed in between fetches the rest the next time. What newer states
            # have kept is newer, too.
            for name in names:
                if name.startswith(KEPT) and (wanted or not (folder / _folder_name(name)).exists()):
                    self._get(self._place(folder, name), folder / name)
            self._uploaded = {kept: kept.stat().st_mtime_ns for kept in folder.glob(f"{KEPT}*")}
            for name in wanted:
                self._get(self._place(folder, name), folder / name)
            everything = self._names(self._place(folder), hidden=True)
            cut_off = [name for name in everything if name.startswith(HIDDEN)]
        if cut_off:
            tqdm.write(
                f"note: {len(cut_off)} file(s) of this training in {self.address} have not been uploaded to their end, "
                "and do not count"
            )
        return len(wanted)

    def copy(self, path: Path, keep: int) -> None:
        """Copy a state there, after all that is kept beside it; whatever goes wrong is said.

        Args:
            keep: how many states stay there.
        """
        with self._tried(f"{path.name} could not be copied"):
            there = self._names(self._place(path.parent))
            for kept in sorted(path.parent.glob(f"{KEPT}*")):
                # One of the same name may be that of a machine before, which this one has trained anew.
                written = kept.stat().st_mtime_ns
                if f"{kept.name}{_ARCHIVE}" not in there or self._uploaded.get(kept) != written:
                    self._put_folder(kept)
                    self._uploaded[kept] = written
            self._put(path, self._place(path.parent, path.name))
            for old in sorted({*filter(_is_state, there), path.name})[:-keep]:
                self._files.rm_file(self._place(path.parent, old))

    def clear(self, folder: Path) -> bool:
        """Delete all that is there of a training; returns whether that went well, and says what did not."""
        with self._tried("saved states could not be deleted"):
            # Its parameters last: whoever is killed here leaves a folder that can still be found.
            names = self._names(self._place(folder), hidden=True)
            for name in sorted(names, key=lambda name: (name == INPUTS, _is_state(name))):
                self._files.rm_file(self._place(folder, name))
            if self._has_folders and self._files.isdir(self._place(folder)):
                self._files.rmdir(self._place(folder))
            return True
        return False

    def _place(self, folder: Path, *names: str) -> str:
        return "/".join((self._root, folder.parent.name, folder.name, *names))

    def _names(self, place: str, hidden: bool = False) -> list[str]:
        """Return the names in a folder there, sorted, without those that are being written."""
        self._files.invalidate_cache()
        try:
            found = [PurePosixPath(str(name)).name for name in self._files.ls(place, detail=False)]
        except FileNotFoundError:
            return []
        return sorted(name for name in found if hidden or not name.startswith(HIDDEN))

    def _put_folder(self, folder: Path) -> None:
        with TemporaryDirectory() as temporary:
            archive = Path(temporary) / f"{folder.name}{_ARCHIVE}"
            with tarfile.open(archive, "w") as tar:
                tar.add(folder, ".")
            self._put(archive, self._place(folder.parent, archive.name))

    def _put(self, path: Path, place: str) -> None:
        """Upload a file under a name of its own, then rename it."""
        parent, _, name = place.rpartition("/")
        if self._has_folders:
            self._files.makedirs(parent, exist_ok=True)
        hidden = f"{parent}/{HIDDEN}{uuid4().hex}-{name}"
        self._files.put_file(str(path), hidden)
        self._files.mv(hidden, place)

    def _get(self, place: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not place.endswith(_ARCHIVE):
            with replacing(path) as hidden:
                self._files.get_file(place, str(hidden))
            return
        with replacing(path.with_name(_folder_name(path.name))) as hidden, self._files.open(place, "rb") as file:
            hidden.mkdir()
            with tarfile.open(fileobj=file, mode="r:") as tar:
                tar.extractall(hidden, filter="data")

    @contextmanager
    def _readable(self, what: str = "read") -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each protocol has errors of its own
            reason = f"{type(error).__name__}: {error}"
            raise SavedStateError(f"base.states {self.address} cannot be {what} ({reason})") from None

    @contextmanager
    def _tried(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each protocol has errors of its own
            reason = f"{type(error).__name__}: {error}"
            tqdm.write(f"warning: {what} in base.states {self.address} ({reason})", file=sys.stderr)


class Copies:
    """Copies states to a remote in a thread of its own: of several that wait, the newest alone."""

    def __init__(self, remote: Remote, keep: int):
        self._remote, self._keep = remote, keep
        self._thread, self._lock = ThreadPoolExecutor(1), Lock()
        self._waiting: Path | None = None
        self._running: Future[None] | None = None

    def offer(self, path: Path) -> None:
        """Copy a state as soon as the one before is copied."""
        with self._lock:
            self._waiting = path
            if self._running is None:
                self._running = self._thread.submit(self._copy)

    def finish(self) -> None:
        """Wait until the newest state is copied, or a warning says why it is not."""
        while (running := self._running) is not None:
            running.result()

    def _copy(self) -> None:
        while True:
            with self._lock:
                path, self._waiting = self._waiting, None
                if path is None:
                    self._running = None
                    return
            self._remote.copy(path, self._keep)


def _is_state(name: str) -> bool:
    """Return whether a file is a state."""
    return re.fullmatch(r"\d+-\d+\.state", name) is not None


def _folder_name(name: str) -> str:
    return name.removesuffix(_ARCHIVE)
