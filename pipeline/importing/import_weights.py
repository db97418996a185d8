"""`twotone import`: a checkpoint folder of weights that other programs have trained.

docs/reference/references.md names those programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from pipeline.color.constants import ColorSpaceName
from pipeline.color.tensors import ColorSpace
from pipeline.errors import InputError, WeightsError
from pipeline.files import replacing, require_writable
from pipeline.importing.foreign_weights import Fit, fit, listed, of_neither, part_of, read_weights, swap_joined
from pipeline.models.checkpoint import no_number, save_model
from pipeline.models.config import Architecture, Discriminator, Generator, ModelConfig
from pipeline.models.discriminators import build_discriminator
from pipeline.models.generators import build_generator
from pipeline.params.schema import NOTHING, check_start

# How programs name the blocks of the pix2pix U-Net tells in which form they have written it.
_NESTED, _NUMBERED = re.compile(r"model\.\d+\.model\.\d+\."), re.compile(r"(d|u)\d\.block\d\.|bottom\.0\.|up\.0\.")


@dataclass(frozen=True)
class Request:
    file: Path
    out: Path
    architecture: str | None
    """A generator's name; None for the only one that fits."""
    image_size: int
    discriminator: Path | None
    """The discriminator's weights, where they are in a file of their own."""


@dataclass(frozen=True)
class Candidate:
    """A network that the weights may be of."""

    params: Generator
    network: nn.Module
    fit: Fit


def import_weights(request: Request) -> None:
    """Write the checkpoint folder, and print how each tensor found its place.

    Raises:
        InputError: the folder exists, or no generator has the name.
        WeightsError: the weights cannot be read, or do not fit; lists what did not.
    """
    if request.architecture not in (None, *get_args(Architecture)):
        names = ", ".join(get_args(Architecture))
        raise InputError(f"--architecture must be one of {names}, got {request.architecture!r}")
    if request.out.exists():
        raise InputError(f"--out {request.out} exists; name a folder that does not")
    require_writable(request.out.parent)
    tensors = read_weights(request.file)
    weights = part_of(tensors, "generator")
    if bad := no_number(tensors):
        raise WeightsError(f"{request.file}: {bad} holds weights that are NaN or infinite: that training has diverged")
    space = _space(weights, request.file)
    generator = _choose(list(_candidates(weights, space, request)), weights, request)
    config = ModelConfig.describe(generator.params, space.name, request.image_size)
    networks = {"generator": generator.network}
    print(f"generator: {generator.params.architecture}, {_report(generator.fit, weights)}")
    judge = part_of(tensors, "discriminator")
    if request.discriminator:
        found = read_weights(request.discriminator)
        judge = part_of(found, "discriminator") or found
    elsewhere = of_neither(tensors)
    if elsewhere:
        print(f"left out, since they are of neither network: {', '.join(listed(elsewhere))}")
    if judge:
        params, networks["discriminator"] = _discriminator(judge, space, request.discriminator or request.file)
        config = config.model_copy(update={"discriminator": params})
    with replacing(request.out) as hidden:
        save_model(hidden, networks, config)
    print(f"{request.out}: color with --model {request.out}, or go on training with start_from: {_start(request.out)}")


def _start(folder: Path) -> str:
    """Return what start_from says for the folder."""
    checkpoints, elsewhere = Path("checkpoints").resolve(), "NAME, once it is copied to checkpoints/NAME"
    if checkpoints not in folder.resolve().parents:
        return elsewhere
    try:
        name = check_start(str(folder.resolve().relative_to(checkpoints)))
    except ValueError:
        return elsewhere
    return elsewhere if name == NOTHING else name


def _space(weights: Mapping[str, Tensor], file: Path) -> ColorSpace:
    first = next((value for value in weights.values() if value.dim() == 4), None)
    channels = None if first is None else first.shape[1]
    names: dict[int | None, ColorSpaceName] = {1: "lab", 3: "rgb"}
    if channels not in names:
        raise WeightsError(
            f"{file}: a generator takes 1 channel (L) or 3 (RGB); the first convolution of this file takes {channels}"
        )
    return ColorSpace(names[channels])


def _candidates(weights: Mapping[str, Tensor], space: ColorSpace, request: Request) -> Iterator[Candidate]:
    for architecture in get_args(Architecture):
        if request.architecture not in (None, architecture):
            continue
        for last_cross in (True, False) if architecture == "dynamic_unet" else (True,):
            # The values of quickstart, where the network does not depend on them.
            params = Generator(
                architecture=architecture,
                backbone="resnet18",
                weights="none",
                decoder="fastai",
                last_cross=last_cross,
                max_width=512,
                noise="none",
            )
            # On shapes alone: only the one that fits is built.
            with torch.device("meta"):
                network = build_generator(params, space, request.image_size, seed=0)
                yield Candidate(params, network, fit(weights, network))


def _choose(candidates: list[Candidate], weights: Mapping[str, Tensor], request: Request) -> Candidate:
    """Return the candidate that all weights fit, filled with them.

    Raises:
        WeightsError: none, or more than one; says what to do.
    """
    fitting = [candidate for candidate in candidates if not candidate.fit.misfits]
    if not fitting:
        closest = min(candidates, key=lambda candidate: len(candidate.fit.misfits))
        raise WeightsError(
            f"{request.file}: fits no generator of this project at --image-size {request.image_size}; closest is "
            f"{closest.params.architecture}, for which {len(closest.fit.misfits)} do not fit:\n  "
            + "\n  ".join(listed(closest.fit.misfits))
        )
    nested = any(_NESTED.search(name) for name in weights)
    # This project's own names, which both forms have.
    own = any(name.startswith("down.0.") for name in weights)
    numbered = not own and any(_NUMBERED.match(name) for name in weights)
    if len(fitting) > 1:
        form = "pix2pix_unet" if nested else "pix2pix_unet_leaky" if numbered else None
        fitting = [candidate for candidate in fitting if candidate.params.architecture == form]
    if len(fitting) != 1:
        raise WeightsError(
            f"{request.file}: fits pix2pix_unet (skips pass through ReLU, as in the paper) and pix2pix_unet_leaky "
            "(through LeakyReLU), which give other colors; say which by --architecture"
        )
    params = fitting[0].params
    network = build_generator(params, _space(weights, request.file), request.image_size, seed=0)
    result = fit(weights, network)
    state = result.state
    if nested and params.architecture.startswith("pix2pix"):
        # Programs with nested blocks join the skip first.
        state = swap_joined(state, network)
    network.load_state_dict(state)
    return Candidate(params, network, result)


def _discriminator(weights: Mapping[str, Tensor], space: ColorSpace, file: Path) -> tuple[Discriminator, nn.Module]:
    first = next((value for value in weights.values() if value.dim() == 4), torch.zeros(0, 0, 0, 0))
    alone = space.out_channels
    fits = []
    for field in (1, 16, 70, 286):
        params = Discriminator(
            receptive_field=field,  # type: ignore[arg-type]
            channels=min(max(first.shape[0], 1), 512),
            norm="batch",
            conditional=first.shape[1] != alone,
        )
        network = build_discriminator(params, space, seed=0)
        result = fit(weights, network)
        if not result.misfits:
            network.load_state_dict(result.state)
            print(f"discriminator: {field}-pixel PatchGAN, {_report(result, weights)}")
            return params, network
        fits.append(result)
    closest = min(fits, key=lambda result: len(result.misfits))
    reasons = "\n  ".join(listed(closest.misfits))
    raise WeightsError(f"{file}: the discriminator is no PatchGAN of this project:\n  {reasons}")


def _report(result: Fit, weights: Mapping[str, Tensor]) -> str:
    absent = f"; zero, since the file does not have them: {', '.join(result.zeros)}" if result.zeros else ""
    return f"{len(weights)} tensors matched {result.how}{absent}"
