"""`twotone inspect`: the networks layer by layer, and training photographs before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace, to_uint8
from pipeline.data.loader import LoaderConfig, augmented
from pipeline.data.shards import Photographs
from pipeline.errors import SampleError
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import build_generator
from pipeline.params.schema import Finetune, Params, Pretrain
from pipeline.quality.grids import Row, save_grid
from pipeline.tables import print_table
from pipeline.training.degradation import Damage, damage_seeds, degraded
from pipeline.training.hints import simulated
from pipeline.types import Pixels

_COLUMNS, _EPOCHS = 8, (1, 2, 3)


def inspect_networks(params: Params) -> None:
    """Print a table of the layers of each network: kind, output for one photograph, parameters.

    Raises:
        BackboneError: the backbone cannot be the encoder of a U-Net.
    """
    space, size = ColorSpace(params.base.color_space), params.base.image_size
    # On shapes alone: nothing is fetched, drawn or computed. Somebody's own may know nothing of such tensors.
    with torch.device("cpu" if params.generator.part or params.discriminator.part else "meta"):
        generator = params.generator.model_copy(update={"weights": "none"})
        networks: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
            f"generator: {params.generator.architecture}": (
                build_generator(generator, space, size, seed=0),
                (torch.zeros(1, space.in_channels, size, size),),
            ),
        }
        if params.finetune.epochs and params.finetune.judged:
            judge = params.discriminator
            named = judge.architecture if judge.part else f"{judge.receptive_field}-pixel PatchGAN"
            networks[f"discriminator: {named}"] = (
                build_discriminator(judge, space, 0, size),
                (torch.zeros(1, space.in_channels, size, size), torch.zeros(1, space.out_channels, size, size)),
            )
    for title, (network, inputs) in networks.items():
        rows = layers(network, inputs)
        total = sum(parameter.numel() for parameter in network.parameters())
        shapes = ", ".join(_shape(given) for given in inputs)
        print(f"{title}, {total:,} parameters; given {shapes}")
        print_table(("layer", "kind", "output", "parameters"), rows)
        print()


def layers(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[tuple[str, str, str, str]]:
    """(name, kind, shape of the output, parameters) of each layer, in the order in which they run."""
    rows: list[tuple[str, str, str, str]] = []

    def note(name: str, layer: nn.Module) -> None:
        count = sum(parameter.numel() for parameter in layer.parameters())
        layer.register_forward_hook(
            lambda _layer, _given, output: rows.append((name, type(layer).__name__, _shape(output), f"{count:,}"))
        )

    for name, layer in network.named_modules():
        # A spectrally normalized convolution has its weight in a child of its own, which is no layer; some of timm's
        # normalizations have weights and, as a child, their activation.
        plain = {part for part, _ in layer.named_children()} <= {"parametrizations"}
        if "parametrizations" not in name and (plain or any(True for _ in layer.parameters(recurse=False))):
            note(name, layer)
    with torch.no_grad():
        network.eval()(*inputs)
    return rows


def inspect_data(params: Params, sample: Path, out: Path) -> None:
    """Draw the first training photographs: as they are, as three epochs see them, and the last of these in gray.

    Raises:
        SampleError: the sample is damaged, or of another image size.
        OSError: the picture cannot be written.
    """
    if not sample.is_dir():
        raise SampleError(f"{sample}: no sample yet, so there are no photographs to show; run dvc repro sample")
    photographs = Photographs(sample, "train", params.base.image_size)
    numbers = list(range(min(_COLUMNS, len(photographs))))
    block = params.pretrain if params.pretrain.epochs else params.finetune
    # finetune turns and crops by the next seed, for another order than pretrain's.
    seed = params.base.seed + (block is params.finetune)
    config = LoaderConfig(1, seed, block.flip, block.crop)
    rows = [Row("photograph", photographs.gather(numbers))]
    for epoch in _EPOCHS:
        batch = torch.from_numpy(photographs.gather(numbers))
        rows.append(Row(f"epoch {epoch}", augmented(batch, config, epoch, numbers).numpy()))
    shown = _inputs(rows[-1].images, block, seed, hints=params.generator.hints)
    save_grid(out, [*rows, *shown])
    names = " and ".join(row.label for row in shown)
    print(
        f"{out}: {len(numbers)} of {len(photographs)} training photographs, as epochs 1 to 3 see them, and {names} as "
        "the generator does"
    )


def _inputs(photographs: Pixels, block: Pretrain | Finetune, seed: int, *, hints: bool) -> list[Row]:
    """Return what the generator sees of (N, S, S, 3) photographs: their lightness, some of it degraded, and hints."""
    space, rgb = ColorSpace("lab"), torch.from_numpy(photographs).permute(0, 3, 1, 2)
    lightness, colors = space.encode(rgb)
    seeds = damage_seeds(seed, 0, range(len(photographs)))
    if block.degrade:
        size = (rgb.shape[2], rgb.shape[3])
        lightness = degraded(lightness, rgb, space, block.degrade, Damage.draw(seeds, size))
    said = simulated(colors, seeds, block.without_hints) if hints else colors
    parts = {"input": torch.zeros_like(colors), **({"hints": said[:, :2]} if hints else {})}
    pictures = {name: to_uint8(space.decode(lightness, ab)) for name, ab in parts.items()}
    return [Row(name, np.asarray(picture.permute(0, 2, 3, 1))) for name, picture in pictures.items()]


def _shape(given: Any) -> str:
    """Return the shape of a tensor, or of each that a layer of one's own gives."""
    if isinstance(given, Tensor):
        return "x".join(str(size) for size in given.shape)
    return ", ".join(_shape(one) for one in given) if isinstance(given, tuple | list) else type(given).__name__
