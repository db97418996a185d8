"""The one schema of params.yaml: typed, bounded, unknown keys refused.

Imports neither torch nor numpy, so a bad value is refused before anything slow happens.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.refusals import sentence, short

ColorSpaceName = Literal["lab", "rgb"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
ContentLoss = Literal["l1", "mse", "smooth_l1"]
AdversarialLoss = Literal["bce", "lsgan", "hinge"]
OnnxVariant = Literal["fp32", "fp16", "int8"]
Schedule = Literal["one_cycle", "constant", "linear_decay"]

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Beta = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SampleEpochs = tuple[Annotated[int, Field(ge=1)], ...]


class ParamsError(ValueError):
    """params.yaml cannot be used; the message names the file, the key, the value and what is allowed."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain_int(value: Any) -> Any:
    """1, true and 1.0 are equal to Python, but only one of them is a number of pixels."""
    return value if type(value) is int else str(value)


def _usable_path(value: str) -> str:
    if "\0" in value or len(value) > 4000:
        raise ValueError("must be a path of at most 4,000 characters without NUL")
    return value


class Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Base(Block):
    seed: Seed
    """Of every random choice: the sample, the weights, the order of batches, flips."""
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=32)]
    """Side of the square photographs the networks are trained on, pixels."""
    color_space: ColorSpaceName
    """lab: L in, ab out. rgb: gray repeated to three channels in, RGB out."""
    device: DeviceName
    precision: Precision
    """auto is bf16 where the hardware gains by it, fp32 elsewhere."""
    deterministic: bool
    """Refuse operations that may give other bits on the next run."""
    num_workers: Annotated[int, Field(ge=0, le=64)]
    """Loader processes; any number gives the same batches, so DVC does not watch it."""
    save_every_minutes: Annotated[float, Field(gt=0, le=1440, allow_inf_nan=False)]
    """Save the state of training so often, and after every epoch; an interrupted run loses no more. Not watched."""
    trackers: Annotated[tuple[Literal["tensorboard", "wandb", "dvclive", "mlflow"], ...], BeforeValidator(_as_tuple)]
    """Also report each epoch there, through Accelerate; needs the extra of the same name. Not watched."""


class Sample(Block):
    source: Literal["bundled", "folder", "fastai", "stl10", "lab_arrays"]
    path: Annotated[str, Field(min_length=1), AfterValidator(_usable_path)]
    """What DVC watches. folder, lab_arrays: the directory. stl10: the file or its directory. bundled: the list
    of photographs inside installed packages. fastai: not read, but must exist."""
    dataset: Annotated[str, Field(min_length=1)]
    """fastai: the name of its URL."""
    train: Count
    valid: Count
    test: Count
    fit: Literal["crop", "stretch"]
    """crop: the short side to image_size, then the center. stretch: both sides to image_size."""
    min_chroma: Annotated[float, Field(ge=0, le=100)]
    """Photographs with less mean chroma (Lab units) are rejected: as targets they teach gray."""
    max_rejected: Annotated[float, Field(ge=0, le=1)]
    """The stage fails when a larger share of the photographs looked at is rejected: something is wrong with them."""
    max_pixels: Annotated[int, Field(ge=1024)]
    """Files whose header claims more are rejected before they are decoded."""


class Generator(Block):
    architecture: Literal["dynamic_unet", "pix2pix_unet", "compact_unet"]
    backbone: Annotated[str, Field(min_length=1)]
    """A timm name: the encoder of dynamic_unet."""
    weights: Annotated[str, Field(min_length=1)]
    """Of the encoder: none, imagenet (timm's, over the network), or a path to safetensors."""
    decoder: Literal["fastai", "halved"]
    """dynamic_unet: fastai's own blocks, or blocks that give half of what they join: a third of the work."""
    last_cross: bool
    """decoder fastai: join the input to the last layer at full resolution, as fastai does: twice the work."""
    max_width: Annotated[int, Field(ge=0, le=4096)]
    """dynamic_unet: reduce a wider last feature map of the backbone to so many channels; 0 leaves it."""
    noise: Literal["none", "dropout", "input"]
    """What makes one gray image give several colorings: dropout kept on, or a Gaussian channel beside it."""


class Pretrain(Block):
    epochs: Epochs
    batch_size: Count
    lr: Rate
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    schedule: Schedule
    content_loss: ContentLoss
    flip: bool
    """Mirror every second photograph, at random."""
    clip_norm: NonNegative
    """Largest norm of a network's gradient; 0 clips nothing."""
    ema_decay: Beta
    """Publish a moving average of the generator's weights (0.999, say); 0 publishes the weights themselves."""
    sample_epochs: Annotated[SampleEpochs, BeforeValidator(_as_tuple)]
    """Epochs (from 1) at which sample grids are drawn."""


class Discriminator(Block):
    receptive_field: Annotated[Literal[1, 16, 70, 286], BeforeValidator(_plain_int)]
    """Side of the patch that one output sees, pixels (Isola et al. 2017)."""
    channels: Annotated[int, Field(ge=1, le=512)]
    """Of the first layer: 64 in the paper."""
    norm: Literal["batch", "spectral"]
    conditional: bool
    """Show it the generator's input beside the colors."""


class Finetune(Block):
    epochs: Epochs
    batch_size: Count
    lr_generator: Rate
    lr_discriminator: Rate
    beta1: Beta
    beta2: Beta
    adversarial_loss: AdversarialLoss
    content_loss: ContentLoss
    lambda_content: NonNegative
    """Weight of the content loss beside the adversarial loss."""
    schedule: Schedule
    warmup_steps: Annotated[int, Field(ge=0)]
    """Steps in which the discriminator learns alone, so that the generator is not led by a blind one."""
    flip: bool
    clip_norm: NonNegative
    """Largest norm of a network's gradient; 0 clips nothing."""
    ema_decay: Beta
    """Publish a moving average of the generator's weights (0.999, say); 0 publishes the weights themselves."""
    sample_epochs: Annotated[SampleEpochs, BeforeValidator(_as_tuple)]


class Evaluate(Block):
    batch_size: Count
    lightness_bins: Annotated[int, Field(ge=1, le=1001)]
    """Rows of the lightness_table baseline."""
    columns: Count
    """Photographs in samples.png."""


class Export(Block):
    variant: OnnxVariant
    """Of generator.onnx: fp16 is half the size, int8 a quarter; reports/export/metrics.json says what is lost."""


class Params(Block):
    base: Base
    sample: Sample
    generator: Generator
    pretrain: Pretrain
    discriminator: Discriminator
    finetune: Finetune
    evaluate: Evaluate
    export: Export


def parse(raw: Any, where: str = "params.yaml") -> Params:
    """Check a tree of plain values against the schema.

    Raises:
        ParamsError: names every offending key, what it got and what is allowed.
    """
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise ParamsError("\n".join(f"{where}: {sentence(e, Params)}" for e in error.errors())) from None
    problems = _contradictions(params)
    if problems:
        raise ParamsError("\n".join(f"{where}: {problem}" for problem in problems))
    return params


def read(path: Path) -> Params:
    """Read and check a params.yaml.

    Raises:
        ParamsError: the file is missing, is no YAML, or holds what the schema refuses.
    """
    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the top of the project") from None
    except (OSError, YAMLError, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, Mapping):
        raise ParamsError(f"{path}: must hold the blocks {', '.join(Params.model_fields)}, got {short(raw)}")
    return parse(raw, str(path))


def read_or_exit(path: Path = Path("params.yaml")) -> Params:
    """Read params.yaml for a stage: on bad values print the reason and exit with status 2."""
    try:
        return read(path)
    except ParamsError as error:
        exit_with(str(error), status=2)


def exit_with(message: str, status: int = 1) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status)


def _contradictions(params: Params) -> list[str]:
    problems = []
    for name, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
        if block.epochs and block.batch_size == 1:
            problems.append(f"{name}.batch_size must be >= 2: batch normalization has nothing to compare, got 1")
        if block.epochs and block.batch_size > params.sample.train:
            problems.append(
                f"{name}.batch_size must be <= sample.train ({params.sample.train}), got {block.batch_size}"
            )
    steps = params.finetune.epochs * (params.sample.train // params.finetune.batch_size)
    if steps and params.finetune.warmup_steps >= steps:
        problems.append(
            f"finetune.warmup_steps must be < all {steps} steps of finetune, got {params.finetune.warmup_steps}; "
            "the generator would never learn"
        )
    if params.generator.architecture != "dynamic_unet" and params.generator.weights != "none":
        problems.append(
            f"generator.weights must be none for generator.architecture {params.generator.architecture}, "
            f"which has no backbone, got {params.generator.weights!r}"
        )
    # The stride-2 layers of the 286 discriminator leave nothing of smaller photographs.
    smallest = {1: 32, 16: 32, 70: 32, 286: 128}[params.discriminator.receptive_field]
    if params.finetune.epochs and params.base.image_size < smallest:
        problems.append(
            f"base.image_size must be >= {smallest} for discriminator.receptive_field "
            f"{params.discriminator.receptive_field}, got {params.base.image_size}"
        )
    return problems
