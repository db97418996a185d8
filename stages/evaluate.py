"""evaluate: baselines and both generators on the test split -> reports/evaluate/."""

from pathlib import Path

from pipeline.params import Params, exit_with, read_or_exit


def main() -> None:
    params = read_or_exit()
    from pipeline.data.shards import ShardError
    from pipeline.models.artifact import ArtifactError
    from pipeline.training.devices import DeviceError

    try:
        run(params)
    except (ShardError, ArtifactError, DeviceError) as error:
        exit_with(str(error))


def run(params: Params) -> None:
    from pipeline.data.shards import Photographs, split_names
    from pipeline.evaluation.report import write_report
    from pipeline.evaluation.scoring import baselines, network_colorizer, score_all
    from pipeline.models.artifact import load_generator
    from pipeline.publish import fresh_folder, publish
    from pipeline.training.devices import start

    block, data, work = params.evaluate, Path("data/sample"), fresh_folder(Path("logs/evaluate"))
    device = start(params.base).device
    generators = {name: load_generator(Path("checkpoints", name)) for name in ("pretrain", "finetune")}
    size = generators["finetune"].card.image_size
    colorizers = baselines(Photographs(data, "train", size), block.batch_size, block.lightness_bins)
    for name, loaded in generators.items():
        colorizers[name] = network_colorizer(loaded.network, loaded.space, device)
    test = Photographs(data, "test", size)
    scores = score_all(colorizers, test, split_names(data, "test"), block.batch_size, block.columns)
    write_report(work, scores, block, len(test), size)
    for file in sorted(work.iterdir()):
        publish(file, Path("reports/evaluate", file.name))


if __name__ == "__main__":
    main()
