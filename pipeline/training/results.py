"""What a training leaves: kept epochs, the model, and what experiments are compared by."""

from __future__ import annotations

from pathlib import Path

from pipeline.files import publish, write_json
from pipeline.models.checkpoint import save_model
from pipeline.models.config import ModelConfig, Training
from pipeline.training.prepare import TrainingRun


def keep(run: TrainingRun, epoch: int, model: ModelConfig) -> None:
    """Keep the generator of an epoch that is asked for, to be published with the last one."""
    if run.group.first and epoch in run.config.keep_epochs:
        with run.states.keeping(f"epoch-{epoch:04d}") as folder, run.objective.ema.applied():
            alone = _trained(run, model).model_copy(update={"discriminator": None})
            save_model(folder, {"generator": run.objective.unwrapped()["generator"]}, alone)


def save_results(run: TrainingRun, model: ModelConfig) -> None:
    """Write the model, and what experiments are compared by, beside the record of the run."""
    run.objective.accelerator.end_training()
    compared = {name: value for name, value in run.recorder.history[-1].items() if not _is_setting(name)}
    last = {name: float(f"{value:.6g}") for name, value in compared.items()}
    write_json(run.recorder.folder / "metrics.json", last)
    if run.config.epochs:
        model = _trained(run, model)
    with run.objective.ema.applied():
        save_model(run.recorder.folder / "model", run.objective.unwrapped(), model)
    for name, folder in run.states.kept().items():
        publish(folder, run.recorder.folder / "model" / name)


def publish_results(run: TrainingRun) -> None:
    """Publish reports/<stage>/ and then checkpoints/<stage>/: weights there mean that all is done."""
    stage, work = run.config.stage, run.recorder.folder
    for name in ("metrics.json", "history.csv", "steps.csv", "samples"):
        publish(work / name, Path("reports", stage, name))
    publish(work / "model", Path("checkpoints", stage))


def _is_setting(column: str) -> bool:
    """Whether a column of the history says how the run was set up, and not how it went."""
    return column == "epoch" or column.startswith("lr_")


def _trained(run: TrainingRun, model: ModelConfig) -> ModelConfig:
    """The description of a model that has learnt what this run has taught it so far."""
    train, valid = (len(run.splits[split]) for split in ("train", "valid"))
    error = float(f"{run.recorder.history[-1]['valid_ab_mae']:.6g}")
    training = Training(
        source=run.source,
        photographs=train,
        validation_photographs=valid,
        ab_mae=error,
        before=run.config.started_from,
    )
    return model.model_copy(update={"training": training})
