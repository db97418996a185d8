"""pretrain: the generator learns from the content loss alone -> checkpoints/pretrain/."""

from pathlib import Path

from pipeline.params import Params, exit_with, read_or_exit


def main() -> None:
    params = read_or_exit()
    from pipeline.data.shards import ShardError
    from pipeline.models.backbones import BackboneError
    from pipeline.models.weights import WeightsError
    from pipeline.training.devices import DeviceError
    from pipeline.training.trainer import TrainingError

    try:
        run(params)
    except (ShardError, BackboneError, WeightsError, DeviceError, TrainingError) as error:
        exit_with(str(error))
    except OSError as error:
        exit_with(f"{error.filename or 'output'}: {error.strerror or error}; the stage is not complete")


def run(params: Params) -> None:
    from pipeline.color import ColorSpace
    from pipeline.data.shards import Photographs
    from pipeline.models.generators import build_generator
    from pipeline.training.devices import start
    from pipeline.training.objectives import ContentObjective
    from pipeline.training.outcome import finish, prepare
    from pipeline.training.trainer import Plan, train

    base, block = params.base, params.pretrain
    space, data = ColorSpace(base.color_space), Path("data/sample")
    accelerator = start(base, "pretrain")
    recorder = prepare("pretrain", space, block.sample_epochs)
    plan = Plan(
        epochs=block.epochs,
        batch_size=block.batch_size,
        seed=base.seed,
        flip=block.flip,
        num_workers=base.num_workers,
        train=Photographs(data, "train", base.image_size),
        valid=Photographs(data, "valid", base.image_size),
    )
    generator = build_generator(params.generator, space, base.image_size, base.seed)
    objective = ContentObjective(generator, block, accelerator)
    train(objective, plan, recorder, accelerator)
    finish("pretrain", objective, recorder, params.generator, base.image_size, accelerator)


if __name__ == "__main__":
    main()
