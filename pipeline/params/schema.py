"""The schema of params.yaml: typed and bounded; unknown keys are refused, absent ones have the value of quickstart.

Imports neither torch nor numpy, so a bad value is refused before anything slow happens.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.color.constants import ColorSpaceName
from pipeline.errors import ParamsError
from pipeline.files import CONFLICT, has_conflict
from pipeline.models.config import Block, Discriminator, Generator, check_path
from pipeline.parts import Kind, find_part, known_or_own, listed

_RULES = {
    "greater_than": "must be > {gt}",
    "greater_than_equal": "must be >= {ge}",
    "less_than": "must be < {lt}",
    "less_than_equal": "must be <= {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_pattern_mismatch": "must be an identifier such as apache-2.0 or other",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be finite",
    "invalid_key": "must be a name",
    "tuple_type": "must be a list",
    "dict_type": "must be a block of keys",
    "too_short": "must name at least one",
}
# The type of an error about values that are each allowed, but not together.
_BETWEEN_KEYS = "between_keys"
# Keys of earlier versions, and what to write now.
_RENAMED = {
    "pretrain.content_loss": "pretrain.losses, a weight for each loss: `losses: {l1: 1}`",
    "finetune.content_loss": "finetune.losses, a weight for each loss: `losses: {l1: 100}`",
    "finetune.lambda_content": "the weight in finetune.losses: `losses: {l1: 100}`",
}


def sentence(error: ErrorDetails, schema: type[BaseModel]) -> str:
    """One of a ValidationError's errors, in words: `finetune.epochs must be >= 0, got -1`."""
    if error["type"] == _BETWEEN_KEYS:
        return error["msg"]
    *path, last = (str(part) for part in error["loc"] or ("the whole",))
    context = error.get("ctx", {})
    if last == "[key]" and error["type"] == "string_type":
        return f"{'.'.join(path)}: a name must be a string, got {short(error['input'])}"
    if last == "[key]" and error["type"] == "value_error":
        return f"{'.'.join(path)} is not known; allowed: {error['msg'].partition('must be ')[2]}"
    key = ".".join([*path, last])
    if key in _RENAMED:
        return f"{key} is now {_RENAMED[key]}"
    if error["type"] == "extra_forbidden":
        return f"{key} is not a key this project knows; {_similar_keys(path, last, schema)}"
    if error["type"] in ("model_type", "model_attributes_type"):
        return f"{key} must be a block of keys, got {short(error['input'])}"
    bounds = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
    if error["type"] == "string_type" and isinstance(error["input"], int | float | list | dict):
        return f"{key} must be a string, got {short(error['input'])}; in quotes it is one (with -S, in inner quotes)"
    rule = _RULES.get(error["type"], "").format(**bounds) or error["msg"].removeprefix("Value error, ")
    return f"{key} {rule}, got {short(error['input'])}"


def short(value: Any) -> str:
    """Return a value as Python writes it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _similar_keys(path: list[str], last: str, block: Any) -> str:
    for part in path:
        block = block.model_fields[part].annotation
    known = list(block.model_fields)
    close = difflib.get_close_matches(last, known, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"


def refuse(problems: Iterable[str]) -> None:
    """Raise what pydantic takes for an error of a block, where there is a problem: all sentences, one a line."""
    found = list(problems)
    if found:
        raise PydanticCustomError(_BETWEEN_KEYS, "{problems}", {"problems": "\n".join(found)})


def unshareable(stage: str, batch_size: int, micro_batch: int, processes: int) -> list[str]:
    """Return the sentence about a batch that processes cannot share, with two photographs for each at least, in whole
    parts of micro_batch; [] for none.
    """
    if processes == 1:
        return []
    share = batch_size // processes
    if batch_size % processes or share < 2:
        return [
            f"{stage}.batch_size must be a multiple of the number of processes ({processes}), and at least twice as "
            f"many, got {batch_size}"
        ]
    if not divides(micro_batch, share):
        return [f"{stage}.micro_batch must divide the {share} photographs of each process, got {micro_batch}"]
    return []


def divides(micro_batch: int, photographs: int) -> bool:
    """Whether so many photographs are whole parts of micro_batch, of two or more; 0 stands for all at once."""
    return micro_batch == 0 or (micro_batch >= 2 and photographs % micro_batch == 0)


# Heusel et al. write so beside their code, and recommend 10,000.
FEWEST_FOR_FID = 2048
# The folders of checkpoints/ that the pipeline writes, and so cannot start from.
RESULTS = ("pretrain", "finetune", "export")


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def sides_by_name(value: Any) -> Any:
    """parts.mine:error:lower -> {parts.mine:error: lower}, and none -> {}; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    if value == "none":
        return {}
    pairs = [pair.replace("=", ":").rpartition(":") for pair in value.replace(",", " ").split()]
    sides = {name: side for name, _, side in pairs}
    if len(sides) < len(pairs) or not set(sides.values()) <= {"lower", "higher"}:
        raise ValueError("must be none, or NAME:lower or NAME:higher for each metric of your own, once")
    return sides


def weights_by_name(value: Any) -> Any:
    """l1:100 mse:10 -> {l1: 100.0, mse: 10.0}; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    pairs = [pair.replace("=", ":").rpartition(":") for pair in value.replace(",", " ").split()]
    try:
        weights = {name: float(weight) for name, _, weight in pairs}
    except ValueError:
        weights = {}
    if not weights or len(weights) < len(pairs):
        raise ValueError("must be weights by name, such as {l1: 100} or the text l1:100 mse:10")
    return weights


def check_group(value: Any) -> Any:
    if value not in ("none", "folder") and (type(value) is not int or value < 2):
        raise ValueError("must be none, folder, or a number of files >= 2")
    return value


def check_processes(value: Any) -> Any:
    if value != "auto" and (type(value) is not int or not 1 <= value <= 1024):
        raise ValueError("must be auto or a number from 1 to 1024")
    return value


def check_start(value: str) -> str:
    """DVC would refuse a circle, too, but with the words of a graph."""
    place = PurePosixPath(value)
    if place.is_absolute() or ".." in place.parts or value.startswith("~") or not place.parts:
        raise ValueError("must be the name of a folder in checkpoints/, such as starter; copy yours there")
    inside = place.relative_to("checkpoints") if place.parts[0] == "checkpoints" else place
    if inside.parts[:1] and inside.parts[0] in RESULTS:
        raise ValueError(
            f"must not be what this pipeline writes itself; copy it (cp -r checkpoints/{inside} checkpoints/start) and "
            "name the copy: start"
        )
    if inside != place:
        raise ValueError(f"must be the name alone of a folder in checkpoints/: {inside if inside.parts else 'starter'}")
    return str(place)


SourceName = Literal["bundled", "folder", "files", "webdataset", "parquet", "fastai", "stl10", "lab_arrays"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
LossName = Literal["l1", "mse", "smooth_l1", "l1_chromatic", "color_distribution", "feature_lite0"]
AdversarialLoss = Literal["bce", "lsgan", "hinge", "none"]
OnnxVariant = Literal["fp32", "fp16", "int8"]
Schedule = Literal["one_cycle", "constant", "linear_decay", "cosine", "warmup_cosine"]


_LOSSES, _SCHEDULES, _SOURCES = get_args(LossName), get_args(Schedule), get_args(SourceName)
_KNOWN: dict[Kind, tuple[str, ...]] = {"losses": _LOSSES, "schedules": _SCHEDULES, "sources": _SOURCES, "metrics": ()}
LossKey = Annotated[str, AfterValidator(partial(known_or_own, "losses", _LOSSES)), listed(_LOSSES)]
ScheduleKey = Annotated[str, AfterValidator(partial(known_or_own, "schedules", _SCHEDULES)), listed(_SCHEDULES)]
SourceKey = Annotated[str, AfterValidator(partial(known_or_own, "sources", _SOURCES)), listed(_SOURCES)]
MetricKey = Annotated[str, AfterValidator(partial(known_or_own, "metrics", ()))]


def part_of(kind: Kind, name: str) -> str:
    """Return a part of one's own as module:function; "" for one of this project's, and for what nobody has."""
    return "" if name in _KNOWN[kind] else find_part(kind, name)


Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=0)]
MicroBatch = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
EpochNumbers = tuple[Annotated[int, Field(ge=1)], ...]
# Sorted, because the order of a sum decides how it rounds, and must not depend on how the file was written.
Losses = Annotated[
    dict[LossKey, NonNegative],
    Field(min_length=1),
    BeforeValidator(weights_by_name),
    AfterValidator(lambda weights: dict(sorted(weights.items()))),
]
Metrics = Annotated[
    dict[MetricKey, Literal["lower", "higher"]],
    BeforeValidator(sides_by_name),
    AfterValidator(lambda sides: dict(sorted(sides.items()))),
]
Patterns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(as_tuple)]
Fit = Literal["crop", "random", "stretch"]
Weights = Annotated[
    dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1), BeforeValidator(weights_by_name)
]
StartFolder = Annotated[str, Field(min_length=1), AfterValidator(check_path), AfterValidator(check_start)]
WeightsFile = Annotated[str, Field(min_length=1), AfterValidator(check_path)]
NOTHING = "none"
"""What start_from says where a training starts from nothing. DVC watches checkpoints/none then, so that must exist."""
NO_PHOTOGRAPHS = f"checkpoints/{NOTHING}"
"""What evaluate.photographs says where there are none."""


def _only_l1(weight: float) -> dict[str, float]:
    return {"l1": weight}


class Base(Block):
    seed: Seed = 123
    """Seed of every random choice: the sample, the weights, the order of batches, flips."""
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=32)] = 64
    """Side of the square photographs the networks are trained on, pixels."""
    color_space: ColorSpaceName = "lab"
    """lab: L in, ab out. rgb: gray repeated to three channels in, RGB out."""
    device: DeviceName = "auto"
    """auto: cuda where there is an NVIDIA GPU, else mps where there is Apple's and deterministic is false, else cpu."""
    precision: Precision = "auto"
    """auto is bf16 where the hardware gains by it, fp32 elsewhere. tf32: fp32 whose products NVIDIA GPUs round."""
    deterministic: bool = True
    """Refuse operations that may give other bits on the next run."""
    processes: Annotated[Any, AfterValidator(check_processes)] = 1
    """Processes that share the batches of pretrain and finetune: a number, or auto for one on each GPU. Another number
    gives the same training but for rounding, and for what a generator with noise draws. Under torchrun, accelerate
    launch or srun theirs counts."""
    num_workers: Annotated[int, Field(ge=0, le=64)] = 0
    """Loader processes of each of them; any number gives the same batches, so DVC does not watch it."""
    save_every_minutes: Annotated[float, Field(gt=0, le=1440, allow_inf_nan=False)] = 5.0
    """Minutes between two saves of a training's state, besides that after the last epoch. DVC does not watch it."""
    states: Annotated[str, Field(min_length=1)] = "none"
    """Where saved states are copied, so that another machine can go on: an address such as s3://bucket/states, an
    absolute path, or the name of a DVC remote. none: they stay in .resume/ here. DVC does not watch it."""
    trackers: Annotated[
        tuple[Literal["tensorboard", "wandb", "dvclive", "mlflow"], ...], BeforeValidator(as_tuple)
    ] = ()
    """Report each epoch to these too, through Accelerate; each needs the extra of its name. DVC does not watch it."""


class Sample(Block):
    source: SourceKey = "bundled"
    """Where photographs come from; path or dataset says which."""
    path: Annotated[str, Field(min_length=1), AfterValidator(check_path)] = "pipeline/sampling/bundled.csv"
    """Where the source is, watched by DVC. folder, lab_arrays: the directory. stl10: the file or its directory.
    files: a CSV with the columns path, split, group, weight and caption, or a text file of paths, relative to it.
    webdataset: a .tar, a folder of them, or a text file of their addresses, such as s3://bucket/{000..099}.tar.
    parquet: a .parquet or .arrow file of Hugging Face, a folder of them, or a text file of their addresses.
    bundled: the list of photographs inside installed packages. fastai: any path that exists; it is not read."""
    dataset: Annotated[str, Field(min_length=1)] = "COCO_SAMPLE"
    """fastai: the name of the data set among fastai's URLs, such as COCO_SAMPLE."""
    include: Patterns = ()
    """folder: patterns of paths below it, such as `*.jpg` or `summer/*`, of which one must fit, in letters of
    any case; []: all are taken."""
    exclude: Patterns = ()
    """folder: patterns of which none may fit, such as `*-mask.png`."""
    train: Count = 352
    """Photographs that both trainings learn from."""
    valid: Count = 20
    """Photographs that each epoch is scored on, and, as far as they have 8 megapixels together, the published one is
    chosen by."""
    test: Annotated[int, Field(ge=0)] = 20
    """0: no photograph is kept for the end, and evaluate measures on those of validation."""
    group: Annotated[Any, AfterValidator(check_group)] = "none"
    """Photographs that stay on one side of the split, such as frames of one shot: those of one folder, or so many
    consecutive file names. none: each photograph is on its own."""
    weights: Literal["none"] | Weights = "none"
    """Kinds of photographs: folders of path, and how much each counts in train, such as `{places: 2, people: 1}` or the
    text `places:2 people:1`. Held-out photographs are shared out evenly. none: all that are there count alike."""
    fit: Fit = "crop"
    """crop: the short side to image_size, then the center. random: then any place along the long side, by the name.
    stretch: both sides to image_size."""
    min_chroma: Annotated[float, Field(ge=0, le=100)] = 2.0
    """Least mean chroma of a photograph, Lab units: grayer ones are rejected, because they teach gray."""
    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Largest share of the examined photographs that may be rejected; beyond it the stage fails."""
    max_pixels: Annotated[int, Field(ge=1024)] = 100000000
    """Most pixels of a file; one whose header claims more is rejected before it is decoded."""

    @model_validator(mode="after")
    def _only_folders_have_kinds(self) -> Self:
        if self.source not in ("folder", "files"):
            refuse(self._of_folders_alone())
        if self.source != "folder":
            refuse(self._of_a_folder_alone())
        return self

    def _of_a_folder_alone(self) -> Iterator[str]:
        for key in ("include", "exclude"):
            if getattr(self, key):
                yield f"sample.{key} must be [] for sample.source {self.source}; only a folder is searched"

    def _of_folders_alone(self) -> Iterator[str]:
        if self.group != "none":
            yield (
                f"sample.group must be none for sample.source {self.source}, got {self.group!r}; only files "
                "have folders and neighbors"
            )
        if self.weights != "none":
            yield f"sample.weights must be none for sample.source {self.source}; only a folder has kinds below it"


def _epochs_problems(name: str, block: Pretrain | Finetune) -> Iterator[str]:
    """Yield what no epoch of a training can be made of."""
    if block.epochs and block.batch_size == 1:
        yield f"{name}.batch_size must be >= 2: batch normalization has nothing to compare, got 1"
    if block.epochs and not divides(block.micro_batch, block.batch_size):
        yield (
            f"{name}.micro_batch must be 0, or a number >= 2 that divides {name}.batch_size ({block.batch_size}), got "
            f"{block.micro_batch}"
        )
    late = [epoch for epoch in block.keep_epochs if epoch > block.epochs]
    if late:
        yield f"{name}.keep_epochs must be <= {name}.epochs ({block.epochs}), got {late[0]}"


class Pretrain(Block):
    start_from: StartFolder = "none"
    """The folder in checkpoints/ whose generator goes on learning, watched by DVC. starter: the starter model. none:
    weights are drawn. One that takes no hints may be started from where generator.hints is true."""
    epochs: Epochs = 10
    """Times that training goes through the photographs; 0 publishes what it starts from. An epoch leaves out what is
    less than a batch, other photographs each time."""
    epoch_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of an epoch that goes through a part of the photographs, another one each time; 0: through all of them."""
    batch_size: Count = 16
    """Photographs of a step, those of all processes together."""
    micro_batch: MicroBatch = 0
    """Photographs that go through the networks at once, where memory does not hold a whole batch; 0: all of them. The
    gradients of the parts are added up, so the step is that of the whole batch, but for rounding, for noise, and for
    batch normalization, which sees one part at a time. With several processes: of the part of each."""
    lr: Rate = 0.001
    """Peak learning rate of AdamW."""
    encoder_lr_factor: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Times the learning rate of dynamic_unet's backbone: a pretrained one may learn slower than its decoder, or, with
    0, not at all."""
    freeze_epochs: Epochs = 0
    """First epochs, in which the weights of dynamic_unet's backbone stay as they are. (Its running means follow the
    photographs.)"""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Decoupled weight decay of AdamW."""
    beta1: Beta = 0.9
    """Decay of AdamW's mean of the gradients."""
    beta2: Beta = 0.999
    """Decay of AdamW's mean of their squares."""
    schedule: ScheduleKey = "one_cycle"
    """Learning rate by progress. one_cycle: up in the first quarter, then down to nearly 0. linear_decay: to 0 in the
    second half. cosine: half a cosine down to 0. warmup_cosine: up in the first 5 %, then so."""
    losses: Losses = Field(default_factory=lambda: _only_l1(1.0))
    """Weight of each content loss in the sum that is minimized: `{l1: 1}`; or the text `l1:1 mse:10`, which replaces
    all of them where `-S` would merge a block. smooth_l1: squared within one Lab unit. l1_chromatic:
    strong colors weigh more. color_distribution: as much of each color as the photograph has, wherever in it.
    feature_lite0: what an ImageNet classifier sees (the extra `weights`)."""
    l1_penalty: NonNegative = 0.0
    """Weight of the sum of the absolute values of the generator's weights (not biases) in that sum; 0: none."""
    flip: bool = True
    """Mirror each photograph with probability 1/2."""
    crop: Share = 1.0
    """Least side of the square that is cut out of each photograph at random and enlarged again, as a share; 1: none."""
    degrade: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the photographs whose input, not whose colors, is made to look like that of an old photograph."""
    without_hints: Annotated[float, Field(ge=0, le=1)] = 0.3
    """With generator.hints, share of the photographs that get no hint: of these it learns to color by itself."""
    clip_norm: NonNegative = 0.0
    """Largest norm of a network's gradient, a frozen backbone's included; 0 clips nothing."""
    ema_decay: Beta = 0.0
    """Decay of the moving average of the generator's weights that is published, such as 0.999; 0: no average. At the
    n-th step it is (1 + n) / (10 + n) at most: 0.9 is reached after 80 steps, 0.999 after 8,990."""
    sample_epochs: Annotated[EpochNumbers, BeforeValidator(as_tuple)] = (1, 10)
    """Epochs (from 1) after which preview grids are drawn, besides the last one."""
    sample_steps: Annotated[int, Field(ge=0)] = 0
    """Steps between more preview grids; 0: none."""
    keep_epochs: Annotated[EpochNumbers, BeforeValidator(as_tuple)] = ()
    """Epochs (from 1) whose generator is published, too: checkpoints/pretrain/epoch-0020."""
    publish: Literal["best", "last"] = "last"
    """best: the epoch of the least ab_mae on the validation photographs. Each epoch that is better than all before is
    kept in .resume/ until the end."""
    patience: Epochs = 0
    """Epochs in a row without a lower ab_mae on the validation photographs after which training ends; 0: it goes
    through all epochs. For schedule constant: where the rate falls, the last epochs are usually the best."""

    @model_validator(mode="after")
    def _can_train(self) -> Self:
        unweighted = self.epochs and not any(self.losses.values())
        losses = [f"pretrain.losses must give a loss a weight > 0, got {self.losses}"] if unweighted else []
        frozen = (
            [f"pretrain.freeze_epochs must be <= pretrain.epochs ({self.epochs}), got {self.freeze_epochs}"]
            if self.freeze_epochs > self.epochs > 0
            else []
        )
        refuse([*_epochs_problems("pretrain", self), *losses, *frozen])
        return self


class Finetune(Block):
    start_from: StartFolder = "none"
    """The folder in checkpoints/ whose generator, and discriminator where it has one, go on learning instead of
    pretrain's, watched by DVC. none: pretrain's generator and a discriminator whose weights are drawn."""
    epochs: Epochs = 1
    epoch_steps: Annotated[int, Field(ge=0)] = 0
    batch_size: Count = 16
    micro_batch: MicroBatch = 0
    """As pretrain.micro_batch. The generator goes through each part twice then, once for each network's gradients."""
    lr_generator: Rate = 0.0002
    """Peak learning rate of the generator's Adam."""
    lr_discriminator: Rate = 0.0002
    """Peak learning rate of the discriminator's Adam."""
    beta1: Beta = 0.5
    """Decay of Adam's mean of the gradients; 0.5 in pix2pix."""
    beta2: Beta = 0.999
    """Decay of Adam's mean of their squares."""
    adversarial_loss: AdversarialLoss = "bce"
    """bce: as in pix2pix. lsgan: least squares (Mao et al. 2017). hinge: Lim and Ye 2017. none: there is no
    discriminator, and the generator learns on from the content losses alone."""
    losses: Losses = Field(default_factory=lambda: _only_l1(100.0))
    """Weight of each content loss beside the adversarial loss, whose weight is 1."""
    target_saturation: Annotated[float, Field(ge=1, le=2)] = 1.0
    """The discriminator and color_distribution are given the true a and b times this, the other losses the true ones.
    (DDColor's code shows its discriminator a truth with 1.2 times the color.)"""
    l1_penalty: NonNegative = 0.0
    schedule: ScheduleKey = "linear_decay"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """First steps, in which the discriminator learns alone: an untrained one would mislead the generator. The schedule
    runs meanwhile."""
    flip: bool = True
    crop: Share = 1.0
    degrade: Annotated[float, Field(ge=0, le=1)] = 0.0
    without_hints: Annotated[float, Field(ge=0, le=1)] = 0.3
    clip_norm: NonNegative = 0.0
    """Largest norm of a network's gradient; 0 clips nothing."""
    ema_decay: Beta = 0.9
    """As pretrain.ema_decay; steps of warmup_steps do not count."""
    publish: Literal["best", "last"] = "best"
    """best: of the epochs that beat the colors which the stage began with, times a factor, the nearest in color
    distribution, or the generator that it began with where none does (pipeline/training/selection.py)."""
    sample_epochs: Annotated[EpochNumbers, BeforeValidator(as_tuple)] = (1,)
    sample_steps: Annotated[int, Field(ge=0)] = 0
    keep_epochs: Annotated[EpochNumbers, BeforeValidator(as_tuple)] = ()
    """Epochs (from 1) whose generator is published, too: checkpoints/finetune/epoch-0020."""

    @model_validator(mode="after")
    def _can_train(self) -> Self:
        refuse([*_epochs_problems("finetune", self), *self._without_discriminator()])
        return self

    def _without_discriminator(self) -> Iterator[str]:
        if self.judged:
            return
        if self.epochs and not any(self.losses.values()):
            yield (
                f"finetune.losses must give a loss a weight > 0 with finetune.adversarial_loss none, got {self.losses}"
            )
        if self.warmup_steps:
            yield (
                "finetune.warmup_steps must be 0 with finetune.adversarial_loss none, where no discriminator learns, "
                f"got {self.warmup_steps}"
            )
        if self.target_saturation != 1 and not self.losses.get("color_distribution"):
            yield (
                "finetune.target_saturation must be 1 without a discriminator and without the loss color_distribution: "
                f"no other loss is shown saturated colors; got {self.target_saturation:g}"
            )

    @property
    def goes_on(self) -> bool:
        """Whether it begins with another generator than pretrain's."""
        return self.start_from != NOTHING

    @property
    def judged(self) -> bool:
        """Whether there is a discriminator."""
        return self.adversarial_loss != "none"


def own_parts(params: Params, block: Pretrain | Finetune) -> list[str]:
    """Return the networks, losses and schedule of one's own that a training uses, each as module:function."""
    networks = [params.generator.part]
    if isinstance(block, Finetune) and block.judged:
        networks.append(params.discriminator.part)
    named = [*networks, *(part_of("losses", name) for name in block.losses), part_of("schedules", block.schedule)]
    return [part for part in named if part]


class Evaluate(Block):
    photographs: Annotated[str, Field(min_length=1), AfterValidator(check_path)] = NO_PHOTOGRAPHS
    """A folder of other color photographs to measure on beside the split, watched by DVC; the results are in
    reports/evaluate/outside. checkpoints/none: there are none."""
    batch_size: Count = 32
    """Photographs that are colored at a time."""
    lightness_bins: Annotated[int, Field(ge=1, le=1001)] = 101
    """Rows of the lightness_table baseline."""
    classifier: Literal["none", "tf_efficientnet_lite0"] = "tf_efficientnet_lite0"
    """The network of top1, top5, feature_lite0 and fd_lite0; it needs the extra `weights`, which a checkout has."""
    lpips_weights: WeightsFile = "none"
    """none, fetch, or the path of torchvision's AlexNet: measure LPIPS in it; needs the extra `perceptual`."""
    fid_weights: WeightsFile = "none"
    """none, fetch, or the path of torch-fidelity's Inception: measure FID in it; needs the extra `perceptual`."""
    columns: Count = 8
    """Photographs in samples.png."""
    metrics: Metrics = Field(default_factory=dict)
    """Metrics of your own, each with the value that is better, lower or higher, such as `{parts.mine:error: lower}` or
    the text `parts.mine:error:lower`: docs/how-to/extending.md."""
    hints: Annotated[int, Field(ge=0)] = 30
    """Photographs of hints.csv, which says what 0 to 100 hints of the true colors are worth; 0 for none."""


class Export(Block):
    variant: OnnxVariant = "fp32"
    """fp16 is half the size of fp32, int8 a quarter; reports/export/metrics.json says what each loses."""
    dial: bool = False
    """Put the weights of both generators into the file, twice its size, so that `--vivid` can mix them; not int8."""
    vivid: Annotated[float, Field(ge=0, le=1)] = 1.0
    """With export.dial, where the dial stands when nobody sets it: 0 faithful, 1 the fine-tuned generator."""
    license: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+-]+$", max_length=64)] = "other"
    """Terms of the model for its card, by an identifier of SPDX such as apache-2.0; other where none fits. The terms of
    its photographs decide, and nobody but you knows them."""

    @model_validator(mode="after")
    def _has_weights_to_mix(self) -> Self:
        if self.dial and self.variant == "int8":
            refuse(["export.dial must be false with export.variant int8, whose rounded weights cannot be mixed"])
        return self


class Params(Block):
    base: Base = Base()
    sample: Sample = Sample()
    generator: Generator = Generator()
    pretrain: Pretrain = Pretrain()
    discriminator: Discriminator = Discriminator()
    finetune: Finetune = Finetune()
    evaluate: Evaluate = Evaluate()
    export: Export = Export()

    @model_validator(mode="after")
    def _blocks_fit_together(self) -> Self:
        refuse(
            [
                *self._too_few_photographs(),
                *self._unshared_batches(),
                *self._unfit_generator(),
                *self._unfit_discriminator(),
                *self._unfit_export(),
            ]
        )
        return self

    def _too_few_photographs(self) -> Iterator[str]:
        for name, block in self._trainings():
            if block.epochs and block.batch_size > self.sample.train:
                yield f"{name}.batch_size must be <= sample.train ({self.sample.train}), got {block.batch_size}"
        measured_on = self.sample.test or self.sample.valid
        if self.evaluate.fid_weights != "none" and measured_on < FEWEST_FOR_FID:
            yield (
                f"evaluate.fid_weights must be none with fewer than {FEWEST_FOR_FID} photographs in sample.test: the "
                f"covariance of FID's {FEWEST_FOR_FID} features needs as many, got {measured_on}"
            )

    def _unshared_batches(self) -> Iterator[str]:
        processes = self.base.processes
        if processes != "auto":
            for name, block in self._trainings():
                if block.epochs:
                    yield from unshareable(name, block.batch_size, block.micro_batch, processes)

    def _unfit_generator(self) -> Iterator[str]:
        generator = self.generator
        if generator.hints and (self.base.color_space != "lab" or generator.noise == "input"):
            yield "generator.hints must be false with base.color_space rgb, and with generator.noise input; got true"
        if generator.architecture == "dynamic_unet":
            return
        if generator.part and generator.noise == "dropout":
            yield (
                f"generator.noise must be none or input for generator.architecture {generator.architecture}, whose "
                "layers this project does not know, got 'dropout'"
            )
        if generator.weights != "none":
            yield (
                f"generator.weights must be none for generator.architecture {generator.architecture}, "
                f"which has no backbone, got {generator.weights!r}"
            )
        if self.pretrain.freeze_epochs:
            yield (
                f"pretrain.freeze_epochs must be 0 for generator.architecture {generator.architecture}, which has no "
                f"backbone, got {self.pretrain.freeze_epochs}"
            )
        if self.pretrain.encoder_lr_factor != 1:
            yield (
                f"pretrain.encoder_lr_factor must be 1 for generator.architecture {generator.architecture}, "
                f"which has no backbone, got {self.pretrain.encoder_lr_factor:g}"
            )

    def _unfit_discriminator(self) -> Iterator[str]:
        finetune = self.finetune
        full = self.sample.train // finetune.batch_size
        steps = finetune.epochs * min(full, finetune.epoch_steps or full)
        if steps and finetune.warmup_steps >= steps:
            yield (
                f"finetune.warmup_steps must be < all {steps} steps of finetune, got {finetune.warmup_steps}; "
                "the generator would never learn"
            )
        # The stride-2 layers of the 286 discriminator leave nothing of smaller photographs.
        smallest = {1: 32, 16: 32, 70: 32, 286: 128}[self.discriminator.receptive_field]
        patches = not self.discriminator.part
        if patches and finetune.epochs and finetune.judged and self.base.image_size < smallest:
            yield (
                f"base.image_size must be >= {smallest} for discriminator.receptive_field "
                f"{self.discriminator.receptive_field}, got {self.base.image_size}"
            )

    def _unfit_export(self) -> Iterator[str]:
        if self.export.dial and self.finetune.goes_on:
            yield (
                f"export.dial must be false with finetune.start_from {self.finetune.start_from}: only a generator that "
                "began with pretrain's can be mixed with it"
            )

    def _trainings(self) -> tuple[tuple[str, Pretrain | Finetune], ...]:
        return ("pretrain", self.pretrain), ("finetune", self.finetune)


def start_folder(start_from: str) -> Path | None:
    """Return the folder that start_from names; None where a training starts from nothing."""
    return None if start_from == NOTHING else Path("checkpoints", start_from)


def parse(raw: Any, where: str = "params.yaml") -> Params:
    """Check a tree of plain values against the schema.

    Raises:
        ParamsError: names every offending key, what it got and what is allowed. Keys that contradict each other are
            named when each is allowed by itself, first those of one block.
    """
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = (problem for each in error.errors() for problem in sentence(each, Params).splitlines())
        raise ParamsError("\n".join(f"{where}: {problem}" for problem in problems)) from None


def absent(raw: Mapping[str, Any], params: Params) -> list[str]:
    """Name each key that a params.yaml does not have, with the value that was taken: `export.license: other`."""
    return [
        f"{block}.{key}: {json.dumps(value)}"
        for block, keys in params.model_dump(mode="json").items()
        for key, value in keys.items()
        if key not in (raw.get(block) or {})
    ]


def read(path: Path) -> Params:
    """Read and check a params.yaml.

    Raises:
        ParamsError: the file is missing, is no YAML, or holds what the schema refuses.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if has_conflict(text):
            raise ParamsError(f"{path}: {CONFLICT}")
        raw = YAML(typ="safe").load(text)
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the top of the project") from None
    except ParamsError:
        raise
    except (OSError, YAMLError, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, Mapping):
        raise ParamsError(f"{path}: must hold the blocks {', '.join(Params.model_fields)}, got {short(raw)}")
    return parse(raw, str(path))
