"""export: the fine-tuned generator as ONNX, checked against torch -> checkpoints/export/, reports/export/."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs, held_out
from pipeline.export.model_card import earlier_training, read_metrics, write_card
from pipeline.export.onnx_export import as_function, parity, require_parity, write_onnx
from pipeline.files import fresh_folder, publish, write_json
from pipeline.inference.networks import load_network
from pipeline.models.checkpoint import load_generator
from pipeline.models.config import ONNX_FILE, Scores, read_config, write_config
from pipeline.models.mixing import faithful_folder, load_mixed
from pipeline.params.schema import Params
from pipeline.quality.validation import ab_mae

_BATCH_SIZE = 16
_FINETUNED = Path("checkpoints/finetune")


def run(params: Params) -> None:
    work, data = fresh_folder(Path("logs/export")), Path("data/sample")
    loaded = load_generator(_FINETUNED, own_code=params.generator.part)
    evaluated = read_metrics(Path("reports/evaluate/metrics.json"))
    train, test = (Photographs(data, split, loaded.config.image_size) for split in ("train", held_out(data)))
    faithful = (
        load_generator(faithful_folder(_FINETUNED), own_code=params.generator.part) if params.export.dial else None
    )
    write_onnx(loaded, work / "fp32", "fp32", train, faithful, params.export.vivid)
    differences = parity(loaded, work / "fp32", test, 1.0 if faithful else None)
    if faithful:
        between = parity(load_mixed(_FINETUNED, 0.5, own_code=params.generator.part), work / "fp32", test, 0.5)
        differences |= {f"{size}, dial at 0.5": difference for size, difference in between.items()}
    require_parity(differences)
    folders = {"fp32": work / "fp32"}
    if params.export.variant != "fp32":
        folders[params.export.variant] = work / params.export.variant
        write_onnx(loaded, work / params.export.variant, params.export.variant, train, faithful, params.export.vivid)
    metrics = {"parity": {name: float(f"{value:.2g}") for name, value in differences.items()}}
    for name, folder in folders.items():
        # Of the file itself, as other programs run it.
        error = ab_mae(as_function(load_network(folder, as_is=True)), plain_batches(test, _BATCH_SIZE), loaded.space)
        metrics[name] = {"ab_mae": round(error, 5), "bytes": (folder / ONNX_FILE).stat().st_size}
    chosen, error = folders[params.export.variant], metrics[params.export.variant]["ab_mae"]
    table = evaluated["lightness_table"]["ab_mae"]
    seen = earlier_training(params, loaded.config) is not None
    scores = Scores(
        photographs=len(test),
        ab_mae=error,
        lightness_table_ab_mae=table,
        maybe_seen=seen,
        validation=held_out(data) == "valid",
    )
    write_config(chosen, read_config(chosen).model_copy(update={"scores": scores}))
    write_card(chosen / "README.md", params, loaded.config, evaluated, metrics)
    write_json(work / "metrics.json", metrics)
    publish(work / "metrics.json", Path("reports/export/metrics.json"))
    publish(chosen, Path("checkpoints/export"))
