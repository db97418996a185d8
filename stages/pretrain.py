"""pretrain: the generator learns from the content loss alone -> checkpoints/pretrain/."""

import os
from pathlib import Path

from pipeline.params import Params, exit_with, read_or_exit


def main() -> None:
    params = read_or_exit()
    from pipeline.data.shards import ShardError
    from pipeline.models.backbones import BackboneError
    from pipeline.models.weights import WeightsError
    from pipeline.training.devices import DeviceError
    from pipeline.training.locks import LockError
    from pipeline.training.resume import ResumeError
    from pipeline.training.signals import StoppedError
    from pipeline.training.trainer import TrainingError

    try:
        run(params)
    except (ShardError, BackboneError, WeightsError, DeviceError, LockError, ResumeError, TrainingError) as error:
        exit_with(str(error))
    except StoppedError as stop:
        exit_with(str(stop), stop.status)
    except OSError as error:
        exit_with(f"{error.filename or 'output'}: {error.strerror or error}; the stage is not complete")


def run(params: Params) -> None:
    from pipeline.color import ColorSpace
    from pipeline.data.shards import Photographs
    from pipeline.models.generators import build_generator
    from pipeline.training.devices import start
    from pipeline.training.identity import identity
    from pipeline.training.objectives import ContentObjective
    from pipeline.training.outcome import finish, session
    from pipeline.training.trainer import Plan, train

    base, block, data = params.base, params.pretrain, Path("data/sample")
    space = ColorSpace(base.color_space)
    accelerator = start(base, "pretrain")
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
    weights = [] if params.generator.weights in ("none", "imagenet") else [Path(params.generator.weights)]
    who = identity("pretrain", base, [params.generator, block], [data, *weights], accelerator)
    root = Path(os.environ.get("DVC_ROOT", "."))
    with session("pretrain", who, space, block.sample_epochs, base.save_every_minutes, root) as current:
        train(objective, plan, current.recorder, accelerator, current.keeper)
        finish("pretrain", objective, current, params.generator, base.image_size, accelerator)


if __name__ == "__main__":
    main()
