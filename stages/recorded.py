"""What dvc will record as the inputs of a stage, held against what the stage has read: dvc looks at them afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.checkpointing.finished import publish_again
from pipeline.dvc_project import below
from pipeline.errors import InputError, TwotoneError
from pipeline.params.schema import Params, read
from stages.dvc import ROOT, watched_files

Inputs = dict[str, Any]
"""By name: values of parameters; digests of files of code; sizes and times of photographs."""


@contextmanager
def as_it_began(stage: str, params: Params) -> Iterator[None]:
    """Refuse to succeed where an input of the stage was changed while it ran.

    Raises:
        InputError: one was; says which.
    """
    before = _inputs(stage, params)
    yield
    changed = _changed(stage, before)
    if changed:
        kept = publish_again(Path("logs", stage))
        back = "; with the old state put back, it publishes these results again in seconds" if kept else ""
        named = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise InputError(
            f"{named}: changed while {stage} ran, and dvc would record the new state for results of the old one. `dvc "
            f"repro` runs the stage again{back}"
        )


def _changed(stage: str, before: Inputs) -> list[str]:
    """Return the names of the inputs that are others now; of a file that cannot be read any more, why."""
    try:
        now = _inputs(stage, read(Path("params.yaml")))
    except (TwotoneError, YAMLError, OSError, LookupError, TypeError, AttributeError) as error:
        return [f"params.yaml or dvc.yaml ({' '.join(str(error).split())})"]
    return [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]


def _inputs(stage: str, params: Params) -> Inputs:
    return {**_watched(stage, params), **_code(stage), **_photographs(stage, params)}


def _watched(stage: str, params: Params) -> Inputs:
    """Return the values of the parameters that dvc.yaml names for the stage."""
    named = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage].get("params", [])
    tree, found = params.model_dump(mode="json"), Inputs()
    for name in named:
        block, _, key = name.partition(".")
        found |= {f"{block}.{one}": value for one, value in tree.get(block, {}).items() if key in ("", one)}
    return found


def _code(stage: str) -> Inputs:
    return {
        file.relative_to(ROOT).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in watched_files(stage)
    }


def _photographs(stage: str, params: Params) -> Inputs:
    """Return size and time of what dvc watches of the photographs: of a file, or of each file of a folder.

    A file manager may leave its own files among them, which dvc looks past, too.
    """
    if stage not in ("sample", "evaluate"):
        return {}
    path = Path(params.sample.path if stage == "sample" else params.evaluate.photographs)
    found = Inputs()
    for file in below(path, ROOT) if path.is_dir() else [path]:
        with suppress(FileNotFoundError):  # deleted since it was listed
            if file.is_file():
                status = file.stat()
                found[str(file)] = (status.st_size, status.st_mtime_ns)
    return found
