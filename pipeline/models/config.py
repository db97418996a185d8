"""model.json: what a model on disk is. Reading it needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

from pipeline.color.constants import ColorSpaceName
from pipeline.errors import ModelError
from pipeline.files import write_json
from pipeline.parts import OWN, Kind, find_part, known_or_own, listed

FORMAT = 2
"""Of model.json. A key that is added needs a default here; anything else a new format, and a line in _MIGRATIONS."""
Architecture = Literal["dynamic_unet", "pix2pix_unet", "pix2pix_unet_leaky", "compact_unet"]
_ARCHITECTURES, _JUDGES = get_args(Architecture), ("patchgan",)
# Of a model.json: the package that offers a network need not be installed where its exported file is used.
_OF_A_MODEL = {"of_a_model": True}


def _network(kind: Kind, known: tuple[str, ...], value: str, info: ValidationInfo) -> str:
    return value if info.context == _OF_A_MODEL else known_or_own(kind, known, value)


ArchitectureKey = Annotated[
    str, AfterValidator(partial(_network, "generators", _ARCHITECTURES)), listed(_ARCHITECTURES, f"{OWN}.FILE:function")
]
JudgeKey = Annotated[
    str, AfterValidator(partial(_network, "discriminators", _JUDGES)), listed(_JUDGES, f"{OWN}.FILE:function")
]
OF_DYNAMIC_UNET = ("backbone", "decoder", "max_width", "last_cross")
"""Keys of Generator that only dynamic_unet has."""
# a* and b* as fractions of 110 where a color is said, 0 elsewhere; and 1 where one is said, 0 elsewhere.
HINT_CHANNELS = 3
# In an exported file with a dial: its input, and the ends of the names of both weights that it mixes.
DIAL, FAITHFUL, CHANGE = "vivid", "_faithful", "_change"
GENERATOR_FILE, ONNX_FILE = "generator.safetensors", "generator.onnx"

# The sides of a generator's input must be multiples of it; 32 for those that are not listed.
_MULTIPLES: dict[str, int] = {"pix2pix_unet": 256, "pix2pix_unet_leaky": 256}


class Block(BaseModel):
    """Keys that are all known, each of its very type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def plain_int(value: Any) -> Any:
    """Return an int as it is, all else as text: to Python, 1, true and 1.0 are equal."""
    return value if type(value) is int else str(value)


def check_path(value: str) -> str:
    if "\0" in value or len(value) > 4000:
        raise ValueError("must be a path of at most 4,000 characters without NUL")
    if value.startswith("~"):
        whole = os.path.expanduser(value)
        raise ValueError(f"must not begin with ~, which only a shell knows; write the folder out: {whole}")
    return value


def check_width(value: int) -> int:
    if value == 1:
        raise ValueError("must be 0 or >= 2: a decoder halves it")
    return value


class Generator(Block):
    """Which network a generator is. The block of params.yaml, too."""

    architecture: ArchitectureKey = "dynamic_unet"
    """dynamic_unet: a U-Net on a timm backbone. The others: docs/reference/references.md. Or a network of your own:
    docs/how-to/extending.md."""
    backbone: Annotated[str, Field(min_length=1)] = "resnet18"
    """A timm name: the encoder of dynamic_unet."""
    weights: Annotated[str, Field(min_length=1), AfterValidator(check_path)] = "none"
    """The encoder's first weights: none, imagenet (from an installed package of the extra `weights`, else the hub's
    cache, else timm's hub), or a path to safetensors, which DVC does not watch: after a change of that file, type
    `dvc repro --force pretrain`."""
    decoder: Literal["fastai", "halved"] = "fastai"
    """dynamic_unet: fastai: the blocks of fastai's DynamicUnet. halved: blocks with half as many output channels, a
    third of the work, for quick trials; not the network of any publication."""
    last_cross: bool = False
    """decoder fastai: join the input to the last layer at full resolution, as fastai does, at twice the work."""
    max_width: Annotated[int, Field(ge=0, le=4096), AfterValidator(check_width)] = 512
    """dynamic_unet: most channels of the backbone's last feature map; a 1x1 convolution reduces more. 0: no limit."""
    noise: Literal["none", "dropout", "input"] = "none"
    """Where the randomness of several colorings comes from: dropout that stays on, or a Gaussian input channel."""
    hints: bool = False
    """Whether it sees colors that somebody says for places, beside the lightness; color_space lab, no noise input."""

    @property
    def own(self) -> bool:
        """Whether the network is not one of this project's."""
        return self.architecture not in _ARCHITECTURES

    @property
    def part(self) -> str:
        """The network as module:function, where it is one's own and found here; else ""."""
        return find_part("generators", self.architecture) if self.own else ""


class Discriminator(Block):
    """Which network a discriminator is. The block of params.yaml, too."""

    architecture: JudgeKey = "patchgan"
    """patchgan (Isola et al. 2017), or a network of your own: docs/how-to/extending.md."""
    receptive_field: Annotated[Literal[1, 16, 70, 286], BeforeValidator(plain_int)] = 70
    """Side of the patch that one output sees, pixels (Isola et al. 2017)."""
    channels: Annotated[int, Field(ge=1, le=512)] = 64
    """Output channels of the first layer; 64 in the paper."""
    norm: Literal["batch", "spectral"] = "batch"
    """Normalization: batch as in pix2pix, spectral as in Miyato et al. 2018."""
    conditional: bool = True
    """Whether it sees the generator's input beside the colors."""

    @property
    def part(self) -> str:
        """The network as module:function, where it is one's own; else ""."""
        return "" if self.architecture in _JUDGES else find_part("discriminators", self.architecture)


class Dropout(Block):
    """An input of noise: (N, channels, H / smaller, W / smaller)."""

    input: str
    channels: int
    smaller: int


class Interface(Block):
    """What an exported network takes and gives, for users without this project."""

    input: str
    """Name of the input: (N, C, H, W) float32, any N."""
    channels: tuple[str, ...]
    """Each channel of the input, as a formula of CIE L* (sRGB, D65) in [0, 100]."""
    output: str
    colors: tuple[str, ...]
    """Each channel of the output."""
    dropout: tuple[Dropout, ...] = ()
    """More inputs: uniform numbers in [0, 1), float32. Others give another coloring."""
    dial: str | None = None
    """Name of one more input, (1,) float32 in [0, 1]: 0 for the pretrained weights, 1 for the fine-tuned ones."""
    dial_at: float = 1.0
    """What that input is where nobody sets it."""
    multiple_of: int
    """What H and W must be a multiple of: mirror the photograph at its right and bottom, and cut the colors back."""
    layout: str = "NCHW, float32, any N"
    color: str = "CIE 1976 L*a*b* of sRGB (IEC 61966-2-1), white D65 (X 0.95047, Y 1, Z 1.08883), 2 degree observer"
    short_side: int | None = None
    """Pixels to which the short side of the photograph is resized; the network was trained on squares of this side."""
    resize: str = (
        "8-bit gray or sRGB, bicubic (a = -0.5) with a support that grows with the reduction, both sides by the same "
        "factor: squashing to a square changes colors"
    )
    enlarge: str = (
        "a* and b* to the photograph's size: bilinear is enough; Twotone fits a line from L* to color around each "
        "pixel of the small picture and applies it to the full-size L*, so that color keeps to the edges"
    )
    join: str = (
        "L* is the full-size photograph's at each pixel; where L*, a*, b* is outside of sRGB, a* and b* are multiplied "
        "by the largest factor under 1 with which it is inside"
    )


class Training(Block):
    """What a generator has learnt from, and how well."""

    source: str
    """The source of the photographs: sample.source, or sample.dataset where that says more."""
    photographs: int
    validation_photographs: int
    ab_mae: float
    """Mean absolute error of a and b on the validation photographs, Lab units."""
    before: Training | None = None
    """The training that it went on from, by start_from."""


class Scores(Block):
    """What evaluate measured on the test photographs."""

    photographs: int
    ab_mae: float
    lightness_table_ab_mae: float
    """The same of the baseline lightness_table."""
    maybe_seen: bool = False
    """Whether a model that the generator went on from may have been trained on them."""
    validation: bool = False
    """Whether they are those of validation, by which the published epoch may have been chosen."""


class ModelConfig(Block):
    """All that is needed to build the network again and to feed it."""

    format: int
    generator: Generator
    color_space: ColorSpaceName
    image_size: int
    """Side of the photographs it was trained on, pixels; other multiples of `multiple` work too."""
    sha256: dict[str, str]
    """SHA-256 of each weights file beside model.json."""
    discriminator: Discriminator | None = None
    """Of the discriminator beside the generator, where there is one."""
    began_with: str | None = None
    """SHA-256 of the generator that fine-tuning began with; None where it is not fine-tuned."""
    training: Training | None = None
    """None for a generator that was never trained here."""
    scores: Scores | None = None
    """Only of an exported model."""
    interface: Interface | None = None
    """Only of an exported model; that of a checkpoint is pipeline.color.tensors."""

    @classmethod
    def describe(cls, generator: Generator, color_space: ColorSpaceName, image_size: int) -> ModelConfig:
        """Describe a model whose weights are not saved yet."""
        return cls(format=FORMAT, generator=generator, color_space=color_space, image_size=image_size, sha256={})

    def learning_on(self, image_size: int, discriminator: Discriminator | None, began_with: str | None) -> ModelConfig:
        """Describe a model that goes on learning from this one: what an exported one says of itself is not true of
        it.
        """
        update = {"image_size": image_size, "discriminator": discriminator, "began_with": began_with}
        return self.model_copy(update={**update, "scores": None, "interface": None})

    def network(self) -> dict[str, object]:
        """Return the parameters that decide which network it is. What its encoder started from is none of them."""
        keys = {"architecture", "noise", "hints"}
        if self.generator.architecture == "dynamic_unet":
            keys |= {"backbone", "decoder", "max_width"}
            keys |= {"last_cross"} if self.generator.decoder == "fastai" else set()
        decisive = {f"generator.{key}": getattr(self.generator, key) for key in sorted(keys)}
        # The others are the same at every size.
        sized = {"base.image_size": self.image_size} if self.generator.architecture in _MULTIPLES else {}
        return {**decisive, "base.color_space": self.color_space, **sized}

    def summary(self) -> str:
        """Say what it is, what it was trained on and how well it does, in a line."""
        generator = self.generator
        body = f" on {generator.backbone}" if generator.architecture == "dynamic_unet" else ""
        parts = [f"{generator.architecture}{body}, {self.image_size} px"]
        if self.training:
            more = " after others" if self.training.before else ""
            parts.append(f"trained on {self.training.photographs:,} photographs ({self.training.source}){more}")
        if self.scores:
            # A model that it went on from may have seen them.
            elsewhere = self.scores.maybe_seen or (self.training and self.training.before)
            kept = "validation" if self.scores.validation else "held-out" if elsewhere else "unseen"
            parts.append(
                f"ab_mae {self.scores.ab_mae:.2f} on {self.scores.photographs:,} {kept} photographs, where a table "
                f"from lightness to color has {self.scores.lightness_table_ab_mae:.2f}"
            )
        elif self.training:
            held_out = self.training.validation_photographs
            parts.append(f"ab_mae {self.training.ab_mae:.2f} on {held_out:,} validation photographs")
        return "; ".join(parts)

    @property
    def multiple(self) -> int:
        """What the sides of its input must be a multiple of."""
        # The pix2pix U-Net halves only as often as its training size can be halved: what the lowest set bit says.
        lowest_bit = self.image_size & -self.image_size
        return max(32, min(_MULTIPLES.get(self.generator.architecture, 32), lowest_bit))


def write_config(folder: Path, config: ModelConfig) -> None:
    """Write model.json, defaults and all: another version may have others."""
    write_json(folder / "model.json", config.model_dump(mode="json", exclude_none=True))


def read_config(folder: Path) -> ModelConfig:
    """Read model.json.

    Raises:
        ModelError: it is missing, damaged, or of another version.
    """
    path = folder / "model.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict) or type(raw.get("format")) is not int:
            raise ValueError("it has no format")
        made = raw["format"]
        if made > FORMAT:
            raise ModelError(
                f"{path}: made by a newer version of Twotone (format {made}; this version reads up to {FORMAT}); "
                "install that version, or export the model again with this one"
            )
        for older in range(made, FORMAT):
            raw = _MIGRATIONS[older](raw)
        return ModelConfig.model_validate_json(json.dumps(raw), context=_OF_A_MODEL)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; has the stage that writes it run?") from None
    except (OSError, ValueError, KeyError, RecursionError, ValidationError) as error:
        raise ModelError(f"{path}: not a model description: {' '.join(str(error).split())}") from None


def _from_1(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 1 did not say how a photograph is brought to the network's size: it was done as now."""
    interface = raw.get("interface")
    if interface:
        raw = raw | {"interface": interface | {"short_side": raw["image_size"]}}
    return raw | {"format": 2}


# From each older format to the next.
_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}


def read_weights(path: Path, config: ModelConfig) -> bytes:
    """Read the content of a weights file, whose checksum is that of model.json.

    Raises:
        ModelError: it is missing or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be loaded: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != config.sha256.get(path.name):
        raise ModelError(f"{path}: damaged: its checksum is not the one in model.json")
    return content
