"""Copies of saved states in a bucket or on a shared disk, so that another machine can go on with a training."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Self

import fsspec
from fsspec.spec import AbstractFileSystem
from tqdm import tqdm

from pipeline.dvc_project import remote_options
from pipeline.errors import SavedStateError, missing_extra
from pipeline.files import HIDDEN, replacing

NOWHERE = "none"
"""What base.states says where saved states stay on this machine."""
INPUTS = "inputs.json"
STATE, KEPT = "[0-9]*.state", "kept-"
_ENDING, _ARCHIVE = ".state", ".tar"


@dataclass(frozen=True)
class Position:
    """A saved state that lies at an address."""

    stage: str
    fingerprint: str
    epoch: int
    batches: int
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

    @classmethod
    def of(cls, address: str) -> Self | None:
        """Return the place of base.states; None for `none`."""
        return None if address == NOWHERE else cls(address)

    def states(self) -> list[Position]:
        """Return the newest state of each training there.

        Raises:
            SavedStateError: the address cannot be read.
        """
        newest: dict[str, Position] = {}
        with self._readable():
            found = sorted(self._files.glob(f"{self._root}/*/*/{STATE}"))
        for name in found:
            *_, stage, key, file = PurePosixPath(name).parts
            epoch, _, batches = file.partition(".")[0].partition("-")
            if epoch.isdigit() and batches.isdigit():
                newest[f"{stage}/{key}"] = Position(stage, key, int(epoch), int(batches))
        return list(newest.values())

    def inputs(self, stage: str, key: str) -> dict[str, Any]:
        """Return the parameters, by block, of a training; empty where they cannot be read."""
        try:
            found = json.loads(self._files.cat_file(f"{self._root}/{stage}/{key}/{INPUTS}"))
        except Exception:  # whatever a protocol raises: this is only told to somebody
            return {}
        return found if isinstance(found, dict) else {}

    def begin(self, folder: Path, inputs: Path) -> None:
        """Put the parameters of a training there, which shows that it can be written to.

        Args:
            folder: .resume/STAGE/FINGERPRINT, whose last two names are those at the address.

        Raises:
            SavedStateError: it cannot.
        """
        with self._readable("written to"):
            self._put(inputs, self._place(folder, INPUTS))

    def fetch(self, folder: Path) -> int:
        """Fetch the states that are newer than those in a folder, and what is kept beside them.

        Returns:
            How many files came.

        Raises:
            SavedStateError: the address cannot be read, or what it has cannot be written here.
        """
        own = max((path.name for path in folder.glob(STATE)), default="")
        with self._readable():
            names = sorted(PurePosixPath(name).name for name in self._listed(folder))
            wanted = [name for name in names if _is_state(name) and name > own]
            kept = [name for name in names if name.startswith(KEPT) and not (folder / _folder_name(name)).exists()]
            for name in [*wanted, *(kept if wanted or not own else [])]:
                self._get(self._place(folder, name), folder / name)
        return len(wanted)

    def copy(self, path: Path, keep: int) -> None:
        """Copy a state there, and delete all but the newest; or a kept folder. Whatever goes wrong is said.

        Args:
            keep: how many states stay.
        """
        with self._tried(f"{path.name} could not be copied"):
            if path.is_dir():
                with TemporaryDirectory() as temporary:
                    archive = Path(temporary) / f"{path.name}{_ARCHIVE}"
                    with tarfile.open(archive, "w") as tar:
                        tar.add(path, ".")
                    self._put(archive, self._place(path.parent, archive.name))
                return
            self._put(path, self._place(path.parent, path.name))
            there = sorted(name for name in self._listed(path.parent) if _is_state(PurePosixPath(name).name))
            for old in there[:-keep]:
                self._files.rm_file(old)

    def clear(self, folder: Path) -> None:
        """Delete all that is there of a training; whatever goes wrong is said."""
        with self._tried("saved states could not be deleted"):
            for name in self._listed(folder):
                self._files.rm_file(name)
            if self._files.isdir(self._place(folder)):
                self._files.rmdir(self._place(folder))

    def _place(self, folder: Path, *names: str) -> str:
        return "/".join((self._root, folder.parent.name, folder.name, *names))

    def _listed(self, folder: Path) -> list[str]:
        self._files.invalidate_cache()
        try:
            return [str(name) for name in self._files.ls(self._place(folder), detail=False)]
        except FileNotFoundError:
            return []

    def _put(self, path: Path, place: str) -> None:
        """Upload a file under another name, then rename it."""
        parent, _, name = place.rpartition("/")
        self._files.makedirs(parent, exist_ok=True)
        hidden = f"{parent}/{HIDDEN}{name}"
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


def _is_state(name: str) -> bool:
    """Return whether a file is a whole state: one that is being uploaded has a hidden name."""
    return name.endswith(_ENDING) and not name.startswith(HIDDEN)


def _folder_name(name: str) -> str:
    return name.removesuffix(_ARCHIVE)
