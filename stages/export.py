"""export: the fine-tuned generator as ONNX, checked against torch -> checkpoints/export/, reports/export/."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pipeline.data.shards import Photographs
from pipeline.errors import ExportError
from pipeline.evaluation.validation import ab_mae
from pipeline.export.model_card import write_card
from pipeline.export.onnx_export import as_function, parity, require_parity, write_onnx
from pipeline.files import fresh_folder, publish, write_json
from pipeline.inference.networks import ONNX_FILE, load_network
from pipeline.models.checkpoint import load_generator
from pipeline.params import Params

_BATCH_SIZE = 16


def run(params: Params) -> None:
    for name in ("onnx", "onnxruntime"):
        if find_spec(name) is None:
            raise ExportError(f"the export stage needs {name}; install the extra twotone[onnx]")
    work, data = fresh_folder(Path("logs/export")), Path("data/sample")
    loaded = load_generator(Path("checkpoints/finetune"))
    train, test = (Photographs(data, split, loaded.config.image_size) for split in ("train", "test"))
    write_onnx(loaded, work / "fp32", "fp32", train)
    differences = parity(loaded, work / "fp32", test)
    require_parity(differences)
    folders = {"fp32": work / "fp32"}
    if params.export.variant != "fp32":
        folders[params.export.variant] = work / params.export.variant
        write_onnx(loaded, work / params.export.variant, params.export.variant, train)
    metrics = {"parity": {name: float(f"{value:.2g}") for name, value in differences.items()}}
    for name, folder in folders.items():
        error = ab_mae(as_function(load_network(folder)), test, loaded.space, _BATCH_SIZE)
        metrics[name] = {"ab_mae": round(error, 5), "bytes": (folder / ONNX_FILE).stat().st_size}
    chosen = folders[params.export.variant]
    write_card(chosen / "README.md", params, loaded.config, Path("reports/evaluate/metrics.json"), metrics)
    write_json(work / "metrics.json", metrics)
    publish(work / "metrics.json", Path("reports/export/metrics.json"))
    publish(chosen, Path("checkpoints/export"))
