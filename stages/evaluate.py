"""evaluate: baselines and both generators on the test split -> reports/evaluate/."""

from pathlib import Path

from pipeline.params import Params, exit_with, read_or_exit


def main() -> None:
    params = read_or_exit()
    from pipeline.data.shards import ShardError
    from pipeline.models.card import ArtifactError
    from pipeline.training.devices import DeviceError

    try:
        run(params)
    except (ShardError, ArtifactError, DeviceError) as error:
        exit_with(str(error))
    except OSError as error:
        exit_with(f"{error.filename or 'output'}: {error.strerror or error}; the stage is not complete")


def run(params: Params) -> None:
    from pipeline.data.shards import Photographs, split_names
    from pipeline.evaluation.report import write_report
    from pipeline.evaluation.scoring import baselines, first_images, network_colorizer, score_all
    from pipeline.models.artifact import load_generator
    from pipeline.publish import fresh_folder, publish
    from pipeline.training.devices import start

    block, data, work = params.evaluate, Path("data/sample"), fresh_folder(Path("logs/evaluate"))
    device = start(params.base).device
    generators = {name: load_generator(Path("checkpoints", name)) for name in ("pretrain", "finetune")}
    size = generators["finetune"].card.image_size
    colorizers = baselines(Photographs(data, "train", size), block.batch_size, block.lightness_bins)
    for name, loaded in generators.items():
        colorizers[name] = network_colorizer(loaded.network, loaded.space, device, params.base.seed)
    test = Photographs(data, "test", size)
    scores = score_all(colorizers, test, split_names(data, "test"), block.batch_size)
    shown = {name: colorizers[name] for name in ("gray", "pretrain", "finetune")}
    final = generators["finetune"]
    if final.card.generator.noise != "none":
        for more in (1, 2):
            seed = params.base.seed + more
            shown[f"seed {seed}"] = network_colorizer(final.network, final.space, device, seed)
    images = first_images(shown, test, block.columns)
    write_report(work, scores, images, block, len(test), size, final.card.color_space)
    for file in sorted(work.iterdir()):
        publish(file, Path("reports/evaluate", file.name))


if __name__ == "__main__":
    main()
