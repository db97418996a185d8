"""Run a stage: `python -m stages NAME` reads params.yaml, runs stages/NAME.py, and ends every error in a sentence.

The stages that train run in base.processes processes; or, under torchrun, accelerate launch or srun, in those that
these have started, as `sample` can, too.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pipeline.distributed.launch import end_with_launcher, launch
from pipeline.distributed.world import adopt_slurm, hush, rank, world_size
from pipeline.errors import InputError, ParamsError, exit_status
from pipeline.params.schema import Base, Params, read
from pipeline.system import keep_freed_memory
from pipeline.training.failures import translated_errors
from stages.dvc import STAGES, in_the_workspace

# dvc says which stage it runs.
_WAY_BACK = (
    "\ndvc has removed the outs of this stage already. Where your last run is committed, `git checkout params.yaml "
    "dvc.lock reports` and then `dvc checkout` bring it back; where it is not, mend the value and type `dvc repro`. "
    "`twotone check` finds such values before"
)
_TRAIN = ("pretrain", "finetune")
_SHARED = ("sample", *_TRAIN)
_KEEP_MEMORY = (*_TRAIN, "evaluate")


def main(arguments: list[str]) -> int:
    return exit_status(lambda: run(arguments), "the stage")


def run(arguments: list[str]) -> int:
    """Run a stage; returns its exit status.

    Raises:
        TwotoneError, OSError: whatever the stage raises.
    """
    if len(arguments) != 1 or arguments[0] not in STAGES:
        given = " ".join(arguments) or "nothing"
        raise InputError(f"python -m stages needs the name of a stage: {', '.join(STAGES)}; got {given}")
    (stage,) = arguments
    # First, because a stage imports torch: a bad value is refused in a fraction of a second.
    try:
        params = read(Path("params.yaml"))
    except ParamsError as error:
        raise ParamsError(f"{error}{_WAY_BACK if 'DVC_STAGE' in os.environ and in_the_workspace() else ''}") from None
    adopt_slurm()
    if stage not in _SHARED and world_size() > 1:
        raise InputError(f"the stage {stage} runs in one process, and {world_size()} were started; run it without them")
    count = _processes(params.base) if stage in _TRAIN and "WORLD_SIZE" not in os.environ else 1
    if count > 1:  # each of them comes here again
        return launch([sys.executable, "-m", "stages", stage], count)
    end_with_launcher()
    _mention_count(stage, params.base)
    hush()
    if stage in _KEEP_MEMORY:
        keep_freed_memory()
    module = _imported(stage)
    with _as_dvc_records(stage, params), translated_errors():
        module.run(params)
    if world_size() > 1:
        from pipeline.distributed.group import leave

        leave()
    return 0


def _mention_count(stage: str, base: Base) -> None:
    """Say where processes were started by another program, and are not as many as base.processes."""
    wanted = base.processes
    if stage in _TRAIN and rank() == 0 and wanted not in ("auto", world_size()):
        outside = f"WORLD_SIZE {world_size()} comes from outside"
        print(f"note: {outside}, so base.processes {wanted} has no effect", file=sys.stderr)


def _as_dvc_records(stage: str, params: Params) -> AbstractContextManager[None]:
    """Of several processes, the first one compares what was read with what is there at the end."""
    from stages.recorded import as_it_began

    return as_it_began(stage, params) if rank() == 0 else nullcontext()


def _imported(stage: str) -> ModuleType:
    """Return the module of a stage, and all that it imports.

    torch makes hundreds of thousands of objects that stay. Looking through them for garbage, now and while an
    optimizer imports torch's compiler, would take a third of the time (3.0 s for 2.1 s).
    """
    gc.disable()
    try:
        return import_module(f"stages.{stage}")
    finally:
        gc.enable()
        gc.freeze()


def _processes(base: Base) -> int:
    """How many processes to start: auto is one for each GPU that would be used."""
    if base.processes != "auto":
        return int(base.processes)
    import torch

    return max(1, torch.cuda.device_count()) if base.device in ("auto", "cuda") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
