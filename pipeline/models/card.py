"""model.json: what a model on disk is; read without torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pipeline.params import Block, ColorSpaceName, Generator

FORMAT = 1


class ArtifactError(Exception):
    """The folder holds no model this version can load; the message names the file and the reason."""


class Interface(Block):
    """What an exported network takes and gives, for those who run it without this project."""

    input: str
    """Its name; (N, C, H, W) float32, any N."""
    channels: tuple[str, ...]
    """Each channel of the input, as a formula of CIE L* (sRGB, D65) in [0, 100]."""
    output: str
    colors: tuple[str, ...]
    """Each channel of the output."""
    multiple_of: int
    """H and W must be: mirror the photograph at its right and bottom, and cut the colors back."""


class ModelCard(Block):
    """All that is needed to build the network again and to feed it."""

    format: int
    generator: Generator
    color_space: ColorSpaceName
    image_size: int
    """Side of the photographs it was trained on, pixels; other multiples of 32 work too."""
    sha256: dict[str, str]
    """Of each weights file beside model.json."""
    interface: Interface | None = None
    """Of an exported model; a checkpoint's is in pipeline.color."""

    @property
    def multiple(self) -> int:
        """What the sides of its input must be a multiple of."""
        # The pix2pix U-Net halves as often as its training size could be halved.
        halvings = min(256, self.image_size & -self.image_size)
        return max(32, halvings) if self.generator.architecture == "pix2pix_unet" else 32


def read_card(folder: Path) -> ModelCard:
    """Read model.json.

    Raises:
        ArtifactError: it is missing, damaged, or of another version.
    """
    path = folder / "model.json"
    try:
        text = path.read_text(encoding="utf-8")
        card = ModelCard.model_validate_json(text)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; has the stage that writes it run?") from None
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise ArtifactError(f"{path}: not a model description: {' '.join(str(error).split())}") from None
    if card.format != FORMAT:
        raise ArtifactError(f"{path}: format {card.format}, this version reads {FORMAT}")
    return card
