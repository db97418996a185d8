"""A model on disk: weights as safetensors, and model.json that says what they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.color import ColorSpace
from pipeline.models.card import FORMAT, ArtifactError, ModelCard, read_card
from pipeline.models.generators import build_generator
from pipeline.params import Generator
from pipeline.publish import write_json


@dataclass(frozen=True)
class LoadedGenerator:
    network: nn.Module
    card: ModelCard

    @property
    def space(self) -> ColorSpace:
        return ColorSpace(self.card.color_space)


def save_model(
    folder: Path, networks: dict[str, nn.Module], generator: Generator, space: ColorSpace, image_size: int
) -> None:
    """Write <name>.safetensors for each network, and model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, network in networks.items():
        path = folder / f"{name}.safetensors"
        state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
        save_file(state, path)
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    card = ModelCard(format=FORMAT, generator=generator, color_space=space.name, image_size=image_size, sha256=digests)
    write_json(folder / "model.json", card.model_dump(mode="json", exclude_none=True))


def load_generator(folder: Path) -> LoadedGenerator:
    """Build the generator again, in evaluation mode, on the CPU.

    Raises:
        ArtifactError: a file is missing, damaged, or not what model.json says.
    """
    card = read_card(folder)
    # Its weights are in the artifact: what the encoder started from is not needed again.
    start = card.generator.model_copy(update={"weights": "none"})
    network = build_generator(start, ColorSpace(card.color_space), card.image_size, seed=0)
    load_weights(network, folder, "generator", card)
    return LoadedGenerator(network.eval(), card)


def load_weights(network: nn.Module, folder: Path, name: str, card: ModelCard) -> None:
    path = folder / f"{name}.safetensors"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != card.sha256.get(path.name):
            raise ArtifactError(f"{path}: damaged: its checksum is not the one in model.json")
        state: dict[str, torch.Tensor] = load_file(path)
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ArtifactError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None
