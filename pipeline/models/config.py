"""model.json: what a model on disk is. Reading it needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from pipeline.errors import ModelError
from pipeline.files import write_json
from pipeline.params import Architecture, Block, ColorSpaceName, Discriminator, Generator

FORMAT = 1
GENERATOR_FILE, ONNX_FILE = "generator.safetensors", "generator.onnx"

# The sides of a generator's input must be multiples of it; 32 for those that are not listed.
_MULTIPLES: dict[Architecture, int] = {"pix2pix_unet": 256, "pix2pix_unet_leaky": 256}


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
    multiple_of: int
    """What H and W must be a multiple of: mirror the photograph at its right and bottom, and cut the colors back."""


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
        """A model whose weights are not saved yet."""
        return cls(format=FORMAT, generator=generator, color_space=color_space, image_size=image_size, sha256={})

    def learning_on(self, image_size: int, discriminator: Discriminator | None, began_with: str | None) -> ModelConfig:
        """A model that goes on learning from this one: what an exported one says of itself is not true of it."""
        update = {"image_size": image_size, "discriminator": discriminator, "began_with": began_with}
        return self.model_copy(update={**update, "scores": None, "interface": None})

    def network(self) -> dict[str, object]:
        """The parameters that decide which network it is. What its encoder started from is none of them."""
        keys = {"architecture", "noise"}
        if self.generator.architecture == "dynamic_unet":
            keys |= {"backbone", "decoder", "max_width"}
            keys |= {"last_cross"} if self.generator.decoder == "fastai" else set()
        decisive = {f"generator.{key}": getattr(self.generator, key) for key in sorted(keys)}
        # The others are the same at every size.
        sized = {"base.image_size": self.image_size} if self.generator.architecture in _MULTIPLES else {}
        return {**decisive, "base.color_space": self.color_space, **sized}

    def summary(self) -> str:
        """What it is, what it was trained on and how well it does, in a line."""
        generator = self.generator
        body = f" on {generator.backbone}" if generator.architecture == "dynamic_unet" else ""
        parts = [f"{generator.architecture}{body}, {self.image_size} px"]
        if self.training:
            more = " after others" if self.training.before else ""
            parts.append(f"trained on {self.training.photographs:,} photographs ({self.training.source}){more}")
        if self.scores:
            # A model that it went on from may have seen them.
            elsewhere = self.scores.maybe_seen or (self.training and self.training.before)
            kept = "held-out" if elsewhere else "unseen"
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
    """Write model.json."""
    write_json(folder / "model.json", config.model_dump(mode="json", exclude_defaults=True))


def read_config(folder: Path) -> ModelConfig:
    """Read model.json.

    Raises:
        ModelError: it is missing, damaged, or of another version.
    """
    path = folder / "model.json"
    try:
        text = path.read_text(encoding="utf-8")
        config = ModelConfig.model_validate_json(text)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; has the stage that writes it run?") from None
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise ModelError(f"{path}: not a model description: {' '.join(str(error).split())}") from None
    if config.format != FORMAT:
        raise ModelError(f"{path}: format {config.format}, this version reads {FORMAT}")
    return config


def read_weights(path: Path, config: ModelConfig) -> bytes:
    """The content of a weights file, whose checksum is that of model.json.

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
