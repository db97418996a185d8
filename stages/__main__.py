"""Run a stage: `python -m stages NAME` reads params.yaml, runs stages/NAME.py, and ends every error in a sentence."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from pipeline.errors import InputError, exit_status
from pipeline.params import read
from stages.dvc import STAGES


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
    params = read(Path("params.yaml"))
    import_module(f"stages.{arguments[0]}").run(params)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
