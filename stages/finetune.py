"""finetune: pretrain's generator learns on against a PatchGAN -> checkpoints/finetune/, reports/finetune/."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from pipeline.checkpointing.fingerprint import Inputs
from pipeline.data.loader import LoaderConfig
from pipeline.devices import start
from pipeline.models.checkpoint import digest, load_discriminator, load_generator, load_start
from pipeline.models.discriminators import build_discriminator
from pipeline.params.schema import Params, start_folder
from pipeline.training.objectives import AdversarialObjective
from pipeline.training.recorder import PreviewTimes
from pipeline.training.trainer import TrainConfig, Trainer
from stages.dvc import code_files, folders, trackers_folder

_PRETRAINED = Path("checkpoints/pretrain")


def run(params: Params) -> None:
    base, block = params.base, params.finetune
    accelerator, pretrained = start(base, trackers_folder()), load_generator(_PRETRAINED)
    discriminator = build_discriminator(params.discriminator, pretrained.space, base.seed) if block.judged else None
    begun = pretrained
    parents = [_PRETRAINED]
    folder = start_folder(block.start_from)
    if folder:
        begun = load_start(folder, pretrained.config, "finetune.start_from", base.seed)
        parents = [_PRETRAINED, folder]
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
    # Another seed than pretrain's, for another order of batches.
    loader = LoaderConfig(
        batch_size=block.batch_size,
        seed=base.seed + 1,
        flip=block.flip,
        crop=block.crop,
        epoch_steps=block.epoch_steps,
        num_workers=base.num_workers,
    )
    previews = PreviewTimes(block.sample_epochs, block.epochs, block.sample_steps)
    # What pretrain has learnt in this run is no earlier training, but what it went on from is: without epochs, its own.
    # (DVC watches pretrain's checkpoint, which a change of pretrain.epochs changes, and not pretrain.epochs.)
    earlier = begun.config.training
    learnt_here = begun is pretrained and params.pretrain.epochs > 0
    before = earlier.before if learnt_here and earlier else earlier
    config = TrainConfig(
        stage="finetune",
        epochs=block.epochs,
        loader=loader,
        previews=previews,
        keep_epochs=block.keep_epochs,
        publish=block.publish,
        scored=True,
        started_from=before,
    )
    inputs = Inputs(base, (params.discriminator, block), Path("data/sample"), tuple(parents), code_files("finetune"))
    Trainer(config, objective, inputs, model, folders("finetune")).run()
