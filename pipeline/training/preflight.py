"""What a backbone costs and whether it will do, before it is trained."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import torch

from pipeline.color import ColorSpace
from pipeline.models.backbones import build_body, levels
from pipeline.models.generators import build_generator
from pipeline.params import Generator, Params
from pipeline.training.devices import start
from pipeline.training.objectives import ContentObjective


@dataclass(frozen=True)
class Survey:
    """Found without a single weight in memory."""

    name: str
    decoder_blocks: int
    parameters: int
    """Of the whole generator."""
    smallest: int
    """Smallest side of an image, pixels."""


@dataclass(frozen=True)
class StepCost:
    seconds: float
    megabytes: float
    """Peak during training: of the GPU's memory, or of this process."""
    device: str


def survey(name: str, params: Params) -> Survey:
    """Shapes only, on torch's meta device.

    Raises:
        BackboneError: it cannot be the encoder of a U-Net.
    """
    space = ColorSpace(params.base.color_space)
    with torch.device("meta"):
        unet = build_generator(_on(name, params.generator), space, 64, seed=0)
        blocks = sum(type(module).__name__ in ("UnetBlock", "HalvedBlock") for module in unet.modules())
        smallest = next((size for size in (32, 64, 128) if _runs(unet, space.in_channels, size)), 256)
    return Survey(name, blocks, sum(p.numel() for p in unet.parameters()), smallest)


def skips(name: str, params: Params) -> list[tuple[int, int]]:
    """(reduction, channels) of the encoder's levels."""
    space = ColorSpace(params.base.color_space)
    return levels(build_body(name, space.in_channels, "none", params.generator.max_width).eval(), space.in_channels)


def measure_step(name: str, params: Params, repeats: int = 3) -> StepCost:
    """Time and memory of one pretraining step at base.image_size and pretrain.batch_size."""
    space, base = ColorSpace(params.base.color_space), params.base
    accelerator = start(base)
    generator = build_generator(_on(name, params.generator), space, base.image_size, base.seed)
    objective = ContentObjective(generator, params.pretrain, accelerator)
    shape = (params.pretrain.batch_size, 3, base.image_size, base.image_size)
    rgb = torch.randint(0, 256, shape, dtype=torch.uint8, device=accelerator.device)
    seconds = []
    for _ in range(repeats + 1):  # the first one also sets things up
        started = time.perf_counter()
        objective.step(*space.encode(rgb), 0)["content"].item()
        seconds.append(time.perf_counter() - started)
    if accelerator.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return StepCost(min(seconds[1:]), peak, str(accelerator.device))


def _on(name: str, generator: Generator) -> Generator:
    return generator.model_copy(update={"backbone": name, "weights": "none", "architecture": "dynamic_unet"})


def _runs(unet: torch.nn.Module, in_channels: int, size: int) -> bool:
    try:
        unet(torch.zeros(2, in_channels, size, size))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return True
