"""pretrain: the generator learns from the content loss alone -> checkpoints/pretrain/, reports/pretrain/."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pipeline.checkpointing.fingerprint import Inputs
from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import LoaderConfig
from pipeline.devices import start
from pipeline.models.checkpoint import load_start
from pipeline.models.config import ModelConfig
from pipeline.models.generators import build_generator
from pipeline.models.packaged_weights import packaged_file
from pipeline.params.schema import Params, own_parts, start_folder
from pipeline.parts import part_files
from pipeline.training.objectives import ContentObjective
from pipeline.training.recorder import PreviewTimes
from pipeline.training.trainer import TrainConfig, Trainer
from stages.dvc import code_files, folders, trackers_folder, watched_files


def run(params: Params) -> None:
    base, block = params.base, params.pretrain
    objective, model = prepared(params)
    previews = PreviewTimes(block.sample_epochs, block.epochs, block.sample_steps)
    config = TrainConfig(
        stage="pretrain",
        epochs=block.epochs,
        loader=loader(params),
        previews=previews,
        keep_epochs=block.keep_epochs,
        publish=block.publish,
        patience=block.patience,
        started_from=model.training,
    )
    code = (*code_files("pretrain"), *part_files("pretrain", own_parts(params, block)))
    watched = watched_files("pretrain")
    inputs = Inputs(base, (params.generator, block), Path("data/sample"), _starts(params), code, watched)
    Trainer(config, objective, inputs, model, folders("pretrain")).run()


def prepared(params: Params) -> tuple[ContentObjective, ModelConfig]:
    """Return what is trained, with its first weights, and the description of its model."""
    accelerator, space = start(params.base, trackers_folder()), ColorSpace(params.base.color_space)
    generator, model = _generator(params)
    return ContentObjective(generator, params.pretrain, space, accelerator), model


def loader(params: Params) -> LoaderConfig:
    base, block = params.base, params.pretrain
    return LoaderConfig(
        batch_size=block.batch_size,
        seed=base.seed,
        flip=block.flip,
        crop=block.crop,
        epoch_steps=block.epoch_steps,
        num_workers=base.num_workers,
    )


def _starts(params: Params) -> tuple[Path, ...]:
    """Return the files and folders that the first weights are from."""
    weights, folder = params.generator.weights, start_folder(params.pretrain.start_from)
    packaged = packaged_file(params.generator.backbone) if weights == "imagenet" else None
    file = packaged if weights in ("none", "imagenet") else Path(weights)
    return tuple(path for path in (file, folder) if path)


def _generator(params: Params) -> tuple[nn.Module, ModelConfig]:
    """Return the generator with its first weights, and its description."""
    base, folder = params.base, start_folder(params.pretrain.start_from)
    model = ModelConfig.describe(params.generator, base.color_space, base.image_size)
    if folder is None:
        return build_generator(params.generator, ColorSpace(base.color_space), base.image_size, base.seed), model
    loaded = load_start(folder, model, "pretrain.start_from", base.seed)
    return loaded.network, loaded.config.learning_on(base.image_size, discriminator=None, began_with=None)
