"""The dial from faithful to vivid: weights between those of the pretrained and the fine-tuned generator.

Interpolating two networks that share a beginning gives networks between them, without training (Wang et al. 2018, "Deep
Network Interpolation"). Running means and variances of batch normalization are interpolated with the weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.errors import DialError
from pipeline.models.checkpoint import LoadedGenerator, load_generator, require_same_architecture
from pipeline.models.config import GENERATOR_FILE, read_config


def mixed(faithful: nn.Module, vivid: nn.Module, share: float) -> dict[str, Tensor]:
    """Return the state (1 - share) * faithful's + share * vivid's; counters are vivid's."""
    begun = faithful.state_dict()
    return {
        name: torch.lerp(begun[name], value, share) if value.is_floating_point() else value
        for name, value in vivid.state_dict().items()
    }


def load_mixed(folder: Path, share: float, *, own_code: str = "") -> LoadedGenerator:
    """Load the generator of a fine-tuned checkpoint, mixed with the one that fine-tuning began with.

    Args:
        share: 0 for the one it began with, 1 for its own.
        own_code: the network of one's own that may be built, as in `load_generator`.

    Raises:
        DialError: the generator that it began with is not at hand.
        ModelError: a file is missing or damaged.
    """
    reason = why_no_dial(folder)
    if reason:
        raise DialError(f"{folder}: {reason}")
    faithful, vivid = (load_generator(one, own_code=own_code) for one in (faithful_folder(folder), folder))
    require_same_architecture(faithful_folder(folder), faithful.config, vivid.config, "the dial: the generator of")
    vivid.network.load_state_dict(mixed(faithful.network, vivid.network, share))
    return vivid


def faithful_folder(folder: Path) -> Path:
    """Where the generator is that a fine-tuned checkpoint began with."""
    return folder.parent / "pretrain"


def why_no_dial(folder: Path) -> str:
    """Why a checkpoint folder has no dial; "" where it has one.

    Raises:
        ModelError: model.json is missing or damaged.
    """
    began_with, faithful = read_config(folder).began_with, faithful_folder(folder)
    if began_with is None:
        return "the dial needs a generator that finetune has made, such as checkpoints/finetune"
    if not (faithful / "model.json").is_file():
        return f"the dial needs the generator that fine-tuning began with, and {faithful} is missing"
    if read_config(faithful).sha256.get(GENERATOR_FILE) != began_with:
        return (
            f"the dial needs the generator that fine-tuning began with, and that of {faithful} is another one "
            "(trained since, or fine-tuning began with another)"
        )
    return ""
