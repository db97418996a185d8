"""Before and after the loop: locks, saved state and a folder to work in; what a training stage publishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm

from pipeline.color import ColorSpace
from pipeline.models.artifact import save_model
from pipeline.params import Generator
from pipeline.publish import fresh_folder, publish, require_writable, write_json
from pipeline.training.locks import held
from pipeline.training.objectives import Objective
from pipeline.training.resume import Keeper, fingerprint
from pipeline.training.tracking import Recorder


@dataclass(frozen=True)
class Session:
    """One run of a training stage."""

    recorder: Recorder
    """In logs/<stage>/, where the run can be watched."""
    keeper: Keeper


@contextmanager
def session(
    stage: str,
    identity: Mapping[str, Any],
    space: ColorSpace,
    sample_epochs: tuple[int, ...],
    save_every_minutes: float,
    root: Path,
) -> Iterator[Session]:
    """Everything that may fail without a step of training has been tried when this is entered.

    Args:
        root: where .resume/ is: the main repository, also when an experiment runs in a copy of it.

    Raises:
        LockError: another process runs this stage here, or trains the same elsewhere.
        OSError: an output or the folder for saved state cannot be written.
    """
    for folder in (Path("checkpoints"), Path("reports", stage)):
        require_writable(folder)
    states = root / ".resume" / stage
    folder = states / fingerprint(identity)
    with held(Path("logs", f"{stage}.lock"), f"{stage} in this folder"), held(folder / "lock", f"this very {stage}"):
        keeper = Keeper(folder, 60 * save_every_minutes)
        others = [path for path in states.glob("*/*.state") if path.parent != folder]
        if others and not keeper.files():
            tqdm.write(f"note: {states} holds saved state of other parameters, data or code; see `twotone resume`")
        yield Session(Recorder(fresh_folder(Path("logs", stage)), space, sample_epochs), keeper)


def finish(
    stage: str,
    objective: Objective,
    run: Session,
    generator: Generator,
    image_size: int,
    accelerator: Accelerator,
) -> None:
    """Publish checkpoints/<stage>/ and reports/<stage>/, reports first: weights mean that all is done."""
    work, reports = run.recorder.folder, Path("reports", stage)
    accelerator.end_training()
    networks = {name: accelerator.unwrap_model(network) for name, network in objective.networks.items()}
    with objective.ema.applied():
        save_model(work / "model", networks, generator, run.recorder.space, image_size)
    last = run.recorder.history[-1]
    write_json(work / "metrics.json", {name: float(f"{value:.6g}") for name, value in last.items()})
    for name in ("metrics.json", "history.csv", "samples"):
        publish(work / name, reports / name)
    publish(work / "model", Path("checkpoints", stage))
    run.keeper.clear()
