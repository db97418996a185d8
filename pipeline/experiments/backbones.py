"""`twotone backbones`: which timm backbones can be the encoder, and what a training step with one costs."""

from __future__ import annotations

import fnmatch
import math
import sys
import time
from dataclasses import dataclass

import psutil
import torch

from pipeline.color.tensors import ColorSpace
from pipeline.devices import start
from pipeline.errors import BackboneError, InputError
from pipeline.models.backbones import TESTED, build_body, levels
from pipeline.models.config import Generator
from pipeline.models.generators import build_generator
from pipeline.models.weights import imagenet_source
from pipeline.params.schema import Params
from pipeline.progress import progress
from pipeline.tables import print_table
from pipeline.training.failures import translated_errors
from pipeline.training.objectives import ContentObjective


@dataclass(frozen=True)
class Survey:
    """What is known of a backbone without a weight in memory."""

    name: str
    decoder_blocks: int
    parameters: int
    """Parameters of the whole generator."""
    smallest: int
    """Smallest side of an image, pixels."""


@dataclass(frozen=True)
class StepCost:
    seconds: float
    megabytes: float
    """Peak during training: of the GPU's memory, or of this process."""
    device: str


def list_backbones(pattern: str | None, params: Params) -> int:
    """Print a table of the backbones that work, and why the others do not.

    Args:
        pattern: of timm's names; None for the tested ones.

    Returns:
        The exit status: 1 where none works.

    Raises:
        InputError: no timm model has such a name.
    """
    import timm

    names = sorted(TESTED) if pattern is None else fnmatch.filter(timm.list_models(), pattern)
    if not names:
        raise InputError(f"no timm model is named like {pattern!r}; try a pattern such as 'resnet*'")
    works: list[Survey] = []
    refused: list[str] = []
    for name in progress(names, desc="backbones", leave=False):
        try:
            works.append(survey(name, params))
        except BackboneError as error:
            refused.append(f"{name} {error.reason}")
    headers = ("backbone", "decoder blocks", "parameters, M", "smallest image", "ImageNet weights")
    if works:
        millions = [f"{row.parameters / 1e6:.1f}" for row in works]
        print_table(
            headers,
            [
                (w.name, w.decoder_blocks, size, f"{w.smallest} px", imagenet_source(w.name) or "none")
                for w, size in zip(works, millions, strict=True)
            ],
        )
    for reason in refused:
        print(reason)
    return 0 if works else 1


def check_backbone(name: str, params: Params) -> None:
    """Print the levels of a backbone and the cost of a training step with it.

    Raises:
        BackboneError: it cannot be the encoder of a U-Net.
        DeviceError: base.device or base.precision is not available here.
    """
    works = survey(name, params)
    with translated_errors():
        cost = measure_step(name, params)
    print(f"{name}: {works.parameters / 1e6:.1f} M parameters, {works.decoder_blocks} decoder blocks")
    for reduction, channels in _skips(name, params):
        print(f"  1/{reduction}: {channels} channels")
    size, batch = params.base.image_size, params.pretrain.batch_size
    print(
        f"a pretraining step of {batch} photographs at {size} px: {cost.seconds:.2f} s, "
        f"{cost.megabytes:,.0f} MiB at the peak, on {cost.device}"
    )


def survey(name: str, params: Params) -> Survey:
    """Measure shapes only, on torch's meta device.

    Raises:
        BackboneError: it cannot be the encoder of a U-Net.
    """
    space = ColorSpace(params.base.color_space)
    with torch.device("meta"):
        unet = build_generator(_with_backbone(name, params.generator), space, 64, seed=0)
        blocks = sum(type(module).__name__ in ("UnetBlock", "HalvedBlock") for module in unet.modules())
        smallest = next((size for size in (32, 64, 128) if _runs(unet, space.in_channels, size)), 256)
    return Survey(name, blocks, sum(p.numel() for p in unet.parameters()), smallest)


def measure_step(name: str, params: Params, repeats: int = 3) -> StepCost:
    """Time and memory of one pretraining step at base.image_size and pretrain.batch_size.

    Raises:
        InputError: that is one photograph, of which no network with batch norm can learn.
    """
    if params.pretrain.batch_size < 2:
        raise InputError("a step needs pretrain.batch_size of 2 at least, got 1: batch norm compares photographs")
    space, base = ColorSpace(params.base.color_space), params.base
    accelerator = start(base)
    generator = build_generator(_with_backbone(name, params.generator), space, base.image_size, base.seed)
    objective = ContentObjective(generator, params.pretrain, space, accelerator)
    shape = (params.pretrain.batch_size, 3, base.image_size, base.image_size)
    rgb = torch.randint(0, 256, shape, dtype=torch.uint8, device=accelerator.device)
    seconds = []
    for _ in range(repeats + 1):  # the first one also sets things up
        started = time.perf_counter()
        objective.step(*space.encode(rgb), 0)["content"].item()
        seconds.append(time.perf_counter() - started)
    return StepCost(min(seconds[1:]), peak_megabytes(accelerator.device), str(accelerator.device))


def peak_megabytes(device: torch.device) -> float:
    """Return the most memory that was in use so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float(getattr(psutil.Process().memory_info(), "peak_wset", math.nan)) / 2**20
    # In bytes on a Mac, in KiB elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _skips(name: str, params: Params) -> list[tuple[int, int]]:
    """(reduction, channels) of the encoder's levels."""
    space = ColorSpace(params.base.color_space)
    return levels(build_body(name, space.in_channels, "none", params.generator.max_width).eval(), space.in_channels)


def _with_backbone(name: str, generator: Generator) -> Generator:
    return generator.model_copy(update={"backbone": name, "weights": "none", "architecture": "dynamic_unet"})


def _runs(unet: torch.nn.Module, in_channels: int, size: int) -> bool:
    try:
        unet(torch.zeros(2, in_channels, size, size))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return True
