"""finetune: pretrain's generator learns on against a PatchGAN -> checkpoints/finetune/, reports/finetune/."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from pipeline.checkpointing.fingerprint import Inputs
from pipeline.data.loader import LoaderConfig
from pipeline.devices import start
from pipeline.models.checkpoint import digest, load_discriminator, load_generator, load_start
from pipeline.models.config import ModelConfig, Training
from pipeline.models.discriminators import build_discriminator
from pipeline.params.schema import Params, own_parts, start_folder
from pipeline.parts import part_files
from pipeline.training.objectives import AdversarialObjective
from pipeline.training.recorder import PreviewTimes
from pipeline.training.trainer import TrainConfig, Trainer
from stages.dvc import code_files, folders, trackers_folder, watched_files

_PRETRAINED = Path("checkpoints/pretrain")


def run(params: Params) -> None:
    base, block = params.base, params.finetune
    objective, model, parents = prepared(params)
    previews = PreviewTimes(block.sample_epochs, block.epochs, block.sample_steps)
    config = TrainConfig(
        stage="finetune",
        epochs=block.epochs,
        loader=loader(params),
        previews=previews,
        keep_epochs=block.keep_epochs,
        publish=block.publish,
        scored=True,
        started_from=_learnt_before(params, model, parents),
    )
    code = (*code_files("finetune"), *part_files("finetune", own_parts(params, block)))
    watched = watched_files("finetune")
    inputs = Inputs(base, (params.discriminator, block), Path("data/sample"), parents, code, watched)
    Trainer(config, objective, inputs, model, folders("finetune")).run()


def prepared(params: Params) -> tuple[AdversarialObjective, ModelConfig, tuple[Path, ...]]:
    """Return what is trained, with its first weights, the description of its model, and the folders it is from."""
    base, block = params.base, params.finetune
    accelerator, pretrained = (
        start(base, trackers_folder()),
        load_generator(_PRETRAINED, own_code=params.generator.part),
    )
    discriminator = (
        build_discriminator(params.discriminator, pretrained.space, base.seed, pretrained.config.image_size)
        if block.judged
        else None
    )
    begun, parents = pretrained, [_PRETRAINED]
    folder = start_folder(block.start_from)
    if folder:
        begun = load_start(folder, pretrained.config, "finetune.start_from", base.seed)
        parents.append(folder)
        has_discriminator = discriminator is not None and load_discriminator(
            folder, begun.config, discriminator, params.discriminator
        )
        parts = "the generator and the discriminator" if has_discriminator else "the generator"
        tqdm.write(f"goes on from {parts} of {folder}")
    model = begun.config.learning_on(
        pretrained.config.image_size,
        params.discriminator if block.judged else None,
        digest(begun.network),
    )
    objective = AdversarialObjective(begun.network, discriminator, block, pretrained.space, accelerator)
    return objective, model, tuple(parents)


def loader(params: Params) -> LoaderConfig:
    base, block = params.base, params.finetune
    return LoaderConfig(
        batch_size=block.batch_size,
        # Another seed than pretrain's, for another order of batches.
        seed=base.seed + 1,
        flip=block.flip,
        crop=block.crop,
        epoch_steps=block.epoch_steps,
        num_workers=base.num_workers,
    )


def _learnt_before(params: Params, model: ModelConfig, parents: tuple[Path, ...]) -> Training | None:
    """Return what the generator had learnt before this run.

    What pretrain has learnt in this run is no earlier training, but what it went on from is: without epochs, its own.
    (DVC watches pretrain's checkpoint, which a change of pretrain.epochs changes, and not pretrain.epochs.)
    """
    earlier = model.training
    learnt_here = parents == (_PRETRAINED,) and params.pretrain.epochs > 0
    return earlier.before if learnt_here and earlier else earlier
