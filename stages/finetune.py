"""finetune: pretrain's generator learns on against a PatchGAN -> checkpoints/finetune/, reports/finetune/."""

from __future__ import annotations

from pathlib import Path

from pipeline.checkpointing.fingerprint import Inputs
from pipeline.data.loader import LoaderConfig
from pipeline.models.checkpoint import load_generator
from pipeline.models.discriminators import build_discriminator
from pipeline.params import Params
from pipeline.training.devices import start
from pipeline.training.objectives import AdversarialObjective
from pipeline.training.run import TrainConfig, prepare, train_and_publish
from stages.dvc import code_files, resume_folder


def run(params: Params) -> None:
    base, block, parent = params.base, params.finetune, Path("checkpoints/pretrain")
    accelerator, pretrained = start(base, "finetune"), load_generator(parent)
    discriminator = build_discriminator(params.discriminator, pretrained.space, base.seed)
    objective = AdversarialObjective(pretrained.network, discriminator, block, pretrained.space, accelerator)
    # Another seed than pretrain's, for another order of batches.
    loader = LoaderConfig(block.batch_size, base.seed + 1, block.flip, base.num_workers)
    config = TrainConfig("finetune", block.epochs, loader, block.sample_epochs)
    inputs = Inputs(base, (params.discriminator, block), Path("data/sample"), (parent,), code_files("finetune"))
    run = prepare(config, objective, inputs, pretrained.config, resume_folder())
    train_and_publish(run, pretrained.config)
