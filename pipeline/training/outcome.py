"""Before and after the loop: a folder to work in, and what a training stage publishes."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from pipeline.color import ColorSpace
from pipeline.models.artifact import save_model
from pipeline.params import Generator
from pipeline.publish import fresh_folder, publish, write_json
from pipeline.training.objectives import Objective
from pipeline.training.tracking import Recorder


def prepare(stage: str, space: ColorSpace, sample_epochs: tuple[int, ...]) -> Recorder:
    """A recorder in logs/<stage>/, where a run can be watched."""
    return Recorder(fresh_folder(Path("logs", stage)), space, sample_epochs)


def finish(
    stage: str,
    objective: Objective,
    recorder: Recorder,
    generator: Generator,
    image_size: int,
    accelerator: Accelerator,
) -> None:
    """Publish checkpoints/<stage>/ and reports/<stage>/, reports first: weights mean that all is done."""
    work, reports = recorder.folder, Path("reports", stage)
    accelerator.end_training()
    networks = {name: accelerator.unwrap_model(network) for name, network in objective.networks.items()}
    with objective.ema.applied():
        save_model(work / "model", networks, generator, recorder.space, image_size)
    last = recorder.history[-1]
    write_json(work / "metrics.json", {name: float(f"{value:.6g}") for name, value in last.items()})
    for name in ("metrics.json", "history.csv", "samples"):
        publish(work / name, reports / name)
    publish(work / "model", Path("checkpoints", stage))
