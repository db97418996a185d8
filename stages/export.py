"""export: the fine-tuned generator as ONNX, checked against torch -> checkpoints/export/."""

from pathlib import Path

from pipeline.params import Params, exit_with, read_or_exit


def main() -> None:
    params = read_or_exit()
    from importlib.util import find_spec

    for name in ("onnx", "onnxruntime"):
        if find_spec(name) is None:
            exit_with(f"the export stage needs {name}; install the extra twotone[onnx]")
    from pipeline.data.shards import ShardError
    from pipeline.inference.onnx_export import ExportError
    from pipeline.models.card import ArtifactError

    try:
        run(params)
    except (ShardError, ArtifactError, ExportError) as error:
        exit_with(str(error))
    except OSError as error:
        exit_with(f"{error.filename or 'output'}: {error.strerror or error}; the stage is not complete")


def run(params: Params) -> None:
    from pipeline.data.shards import Photographs
    from pipeline.inference.model_card import write_card
    from pipeline.inference.networks import load_network
    from pipeline.inference.onnx_export import ab_mae, parity, require_parity, write_onnx
    from pipeline.models.artifact import load_generator
    from pipeline.publish import fresh_folder, publish, write_json

    work, data = fresh_folder(Path("logs/export")), Path("data/sample")
    loaded = load_generator(Path("checkpoints/finetune"))
    size = loaded.card.image_size
    train, test = (Photographs(data, split, size) for split in ("train", "test"))
    write_onnx(loaded, work / "fp32", "fp32", train)
    differences = parity(loaded, work / "fp32", test)
    require_parity(differences)
    folders = {"fp32": work / "fp32"}
    if params.export.variant != "fp32":
        folders[params.export.variant] = work / params.export.variant
        write_onnx(loaded, work / params.export.variant, params.export.variant, train)
    metrics = {"parity": {name: float(f"{value:.2g}") for name, value in differences.items()}}
    for name, folder in folders.items():
        error = ab_mae(load_network(folder), loaded.space, test)
        metrics[name] = {"ab_mae": round(error, 5), "bytes": (folder / "generator.onnx").stat().st_size}
    chosen = folders[params.export.variant]
    write_card(chosen / "README.md", params, loaded.card, Path("reports/evaluate/metrics.json"), metrics)
    write_json(work / "metrics.json", metrics)
    publish(work / "metrics.json", Path("reports/export/metrics.json"))
    publish(chosen, Path("checkpoints/export"))


if __name__ == "__main__":
    main()
