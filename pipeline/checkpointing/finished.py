"""Finished trainings: published again, without training, where only texts of the code have changed since."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpointing.digests import files_digest
from pipeline.files import write_json

_RECORD = "finished.json"
_AGAIN = "again"


@dataclass(frozen=True)
class Finished:
    """The record of the training whose results lie in a folder."""

    folder: Path
    """logs/<stage>: results, and the record among them."""
    fingerprint: str
    """The training that is asked for now."""
    code: tuple[Path, ...]
    """All files of code for whose change dvc starts the stage."""

    def is_enough(self) -> bool:
        """Whether the folder has the results of this training, and nobody wants it repeated.

        So it is where comments and texts of the code have changed since, and where dvc could not record the results. It
        is not where the code is the same to the letter (dvc repro --force).
        """
        try:
            record = json.loads((self.folder / _RECORD).read_text(encoding="utf-8"))
            same_training = record["fingerprint"] == self.fingerprint and record["results"] == self._results_digest()
            return bool(same_training and (record.get(_AGAIN) or record["code"] != self._code_digest()))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def record(self) -> None:
        """Remember that the results in the folder are those of this training."""
        record = {"fingerprint": self.fingerprint, "code": self._code_digest(), "results": self._results_digest()}
        write_json(self.folder / _RECORD, record)

    def _code_digest(self) -> str:
        return files_digest(self.code)

    def _results_digest(self) -> str:
        files = (path for path in self.folder.rglob("*") if path.is_file() and path.name != _RECORD)
        return files_digest(files)


def publish_again(folder: Path) -> bool:
    """Note that the next run of this training is to publish the results of logs/<stage>; returns whether it has any."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        write_json(folder / _RECORD, record | {_AGAIN: True})
        return True
    except (OSError, ValueError, TypeError):
        return False
