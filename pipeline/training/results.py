"""What a training leaves: kept epochs, the model, and what experiments are compared by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from pipeline.errors import TrainingError
from pipeline.files import publish, write_json
from pipeline.models.checkpoint import load_generator, save_model
from pipeline.models.config import ModelConfig, Training
from pipeline.training.prepare import TrainingRun
from pipeline.training.selection import Selection, best_epoch

# What the names begin with under which the best generators so far are kept. None is deleted before the end: a training
# that is resumed may come to another choice where it is not deterministic.
_BEST = "best-"


def keep(run: TrainingRun, epoch: int, model: ModelConfig) -> None:
    """Keep the generator of an epoch: one that is asked for, the best so far, and the last where none is published.

    The last, because hours may have gone into it: it is published beside the generator that the stage began with,
    unless it gives no numbers any more.
    """
    best = best_epoch(run.recorder.history) if run.choosing else None
    rejected = best == 0 and epoch == run.config.epochs and isfinite(_row(run, epoch)["valid_ab_mae"])
    names = [f"epoch-{epoch:04d}"] if epoch in run.config.keep_epochs or rejected else []
    if best == epoch:
        names.append(f"{_BEST}{epoch:04d}")
    for name in names if run.group.first else []:
        with run.states.keeping(name) as folder, run.objective.ema.applied():
            alone = _trained(run, model, epoch).model_copy(update={"discriminator": None})
            save_model(folder, {"generator": run.objective.unwrapped()["generator"]}, alone)


def save_results(run: TrainingRun, model: ModelConfig) -> None:
    """Write the model, and what experiments are compared by, beside the record of the run."""
    run.trackers.finish()
    chosen = best_epoch(run.recorder.history) if run.choosing else run.config.epochs
    # Of epoch 0 is published what the stage began with, which has learnt nothing here.
    if chosen:
        model = _trained(run, model, chosen)
    kept = run.states.kept()
    bests = {name: kept.pop(name) for name in list(kept) if name.startswith(_BEST)}
    with run.objective.ema.applied():
        networks = run.objective.unwrapped()
        if run.choosing:
            networks["generator"].load_state_dict(_chosen_weights(run.choosing, chosen, bests, kept))
        save_model(run.recorder.folder / "model", networks, model)
    write_json(run.recorder.folder / "metrics.json", _compared(run, chosen))
    for name, folder in kept.items():
        publish(folder, run.recorder.folder / "model" / name)


def _compared(run: TrainingRun, chosen: int) -> dict[str, float]:
    """Return the numbers of the epoch that is published."""
    row = _row(run, chosen)
    compared = {name: float(f"{value:.6g}") for name, value in row.items() if not _is_setting(name)}
    return compared | ({"published_epoch": chosen} if run.choosing else {})


def _chosen_weights(
    selection: Selection, chosen: int, bests: Mapping[str, Path], kept: Iterable[str]
) -> dict[str, Tensor]:
    if chosen:
        best = bests.get(f"{_BEST}{chosen:04d}")
        if best is None:
            raise TrainingError(
                f"the generator of epoch {chosen}, the best, has not been kept; `twotone resume --clear`, and run again"
            )
        tqdm.write(
            f"published: epoch {chosen}, the nearest in color distribution of those that beat the saturation knob"
        )
        return dict(load_generator(best).network.state_dict())
    tqdm.write(
        "WARNING: no epoch beats the saturation knob on the validation photographs: fine-tuning is worth less here "
        "than the colors that it began with, times a factor. The generator that it began with is published again"
        f"{''.join(f', beside it {name}' for name in kept)}; history.csv has the scores, and finetune.publish: last "
        "publishes the last epoch all the same."
    )
    return selection.weights


def publish_results(run: TrainingRun) -> None:
    """Publish reports/<stage>/ and then checkpoints/<stage>/: weights there mean that all is done."""
    stage, work = run.config.stage, run.recorder.folder
    for name in ("metrics.json", "history.csv", "steps.csv", "samples"):
        publish(work / name, Path("reports", stage, name))
    publish(work / "model", Path("checkpoints", stage))


def _row(run: TrainingRun, epoch: int) -> dict[str, float]:
    """Return an epoch of the history; for 0, the error of what the stage began with."""
    if run.selection and epoch == 0:
        return {"valid_ab_mae": run.selection.ab_mae}
    return next(row for row in run.recorder.history if row["epoch"] == epoch)


def _is_setting(column: str) -> bool:
    """Whether a column of the history says how the run was set up, and not how it went."""
    return column == "epoch" or column.startswith("lr_")


def _trained(run: TrainingRun, model: ModelConfig, epoch: int) -> ModelConfig:
    """Return the description of a model that has learnt what this run has taught it up to an epoch.

    Raises:
        TrainingError: it gives no numbers on the validation photographs, which finite weights may do.
    """
    train, valid = (len(run.splits[split]) for split in ("train", "valid"))
    error = float(f"{_row(run, epoch)['valid_ab_mae']:.6g}")
    if not isfinite(error):
        raise TrainingError(
            f"valid_ab_mae is {error} after epoch {epoch}, whose generator would be published; lower the learning "
            "rate, or set base.precision to fp32"
        )
    training = Training(
        source=run.source,
        photographs=train,
        validation_photographs=valid,
        ab_mae=error,
        before=run.config.started_from,
    )
    return model.model_copy(update={"training": training})
