"""pretrain: the generator learns from the content loss alone -> checkpoints/pretrain/, reports/pretrain/."""

from __future__ import annotations

from pathlib import Path

from pipeline.checkpointing.fingerprint import Inputs
from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import LoaderConfig
from pipeline.models.config import ModelConfig
from pipeline.models.generators import build_generator
from pipeline.params import Params
from pipeline.training.devices import start
from pipeline.training.objectives import ContentObjective
from pipeline.training.run import TrainConfig, prepare, train_and_publish
from stages.dvc import code_files, resume_folder


def run(params: Params) -> None:
    base, block = params.base, params.pretrain
    accelerator, space = start(base, "pretrain"), ColorSpace(base.color_space)
    generator = build_generator(params.generator, space, base.image_size, base.seed)
    objective = ContentObjective(generator, block, space, accelerator)
    loader = LoaderConfig(block.batch_size, base.seed, block.flip, base.num_workers)
    config = TrainConfig("pretrain", block.epochs, loader, block.sample_epochs)
    weights = () if params.generator.weights in ("none", "imagenet") else (Path(params.generator.weights),)
    inputs = Inputs(base, (params.generator, block), Path("data/sample"), weights, code_files("pretrain"))
    model = ModelConfig.describe(params.generator, base.color_space, base.image_size)
    train_and_publish(prepare(config, objective, inputs, model, resume_folder()), model)
