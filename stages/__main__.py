"""Run a stage: `python -m stages NAME` reads params.yaml, runs stages/NAME.py, and ends every error in a sentence."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from pipeline.errors import InputError, ParamsError, exit_status
from pipeline.params import read
from stages.dvc import STAGES

# dvc says which stage it runs.
_WAY_BACK = (
    "\ndvc has removed the outs of this stage already; `git checkout params.yaml dvc.lock reports` and then `dvc "
    "checkout` bring back those of the last commit, and `twotone check` finds such values before"
)


def main(arguments: list[str]) -> int:
    return exit_status(lambda: run(arguments), "the stage")


def run(arguments: list[str]) -> None:
    """Raises:
    TwotoneError, OSError: whatever the stage raises.
    """
    if len(arguments) != 1 or arguments[0] not in STAGES:
        given = " ".join(arguments) or "nothing"
        raise InputError(f"python -m stages needs the name of a stage: {', '.join(STAGES)}; got {given}")
    # First, because a stage imports torch: a bad value is refused in a fraction of a second.
    try:
        params = read(Path("params.yaml"))
    except ParamsError as error:
        raise ParamsError(f"{error}{_WAY_BACK if 'DVC_STAGE' in os.environ else ''}") from None
    import_module(f"stages.{arguments[0]}").run(params)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
