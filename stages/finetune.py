"""finetune: pretrain's generator learns on against a PatchGAN -> checkpoints/finetune/."""

import os
from pathlib import Path

from pipeline.params import Params, exit_with, read_or_exit


def main() -> None:
    params = read_or_exit()
    from pipeline.data.shards import ShardError
    from pipeline.models.backbones import BackboneError
    from pipeline.models.card import ArtifactError
    from pipeline.training.devices import DeviceError
    from pipeline.training.locks import LockError
    from pipeline.training.resume import ResumeError
    from pipeline.training.signals import StoppedError
    from pipeline.training.trainer import TrainingError

    try:
        run(params)
    except (ShardError, ArtifactError, BackboneError, DeviceError, LockError, ResumeError, TrainingError) as error:
        exit_with(str(error))
    except StoppedError as stop:
        exit_with(str(stop), stop.status)
    except OSError as error:
        exit_with(f"{error.filename or 'output'}: {error.strerror or error}; the stage is not complete")


def run(params: Params) -> None:
    from pipeline.data.shards import Photographs
    from pipeline.models.artifact import load_generator
    from pipeline.models.discriminators import build_discriminator
    from pipeline.training.devices import start
    from pipeline.training.identity import identity
    from pipeline.training.objectives import AdversarialObjective
    from pipeline.training.outcome import finish, session
    from pipeline.training.trainer import Plan, train

    base, block, data = params.base, params.finetune, Path("data/sample")
    accelerator = start(base, "finetune")
    parent = Path("checkpoints/pretrain")
    pretrained = load_generator(parent)
    plan = Plan(
        epochs=block.epochs,
        batch_size=block.batch_size,
        # Another order of batches than in pretraining.
        seed=base.seed + 1,
        flip=block.flip,
        num_workers=base.num_workers,
        train=Photographs(data, "train", pretrained.card.image_size),
        valid=Photographs(data, "valid", pretrained.card.image_size),
    )
    discriminator = build_discriminator(params.discriminator, pretrained.space, base.seed)
    objective = AdversarialObjective(pretrained.network, discriminator, block, accelerator)
    who = identity("finetune", base, [params.discriminator, block], [data, parent], accelerator)
    root = Path(os.environ.get("DVC_ROOT", "."))
    with session("finetune", who, pretrained.space, block.sample_epochs, base.save_every_minutes, root) as current:
        train(objective, plan, current.recorder, accelerator, current.keeper)
        finish("finetune", objective, current, pretrained.card.generator, pretrained.card.image_size, accelerator)


if __name__ == "__main__":
    main()
