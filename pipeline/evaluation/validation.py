"""The error of a generator on a split of the sample: what validation and the export check measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs

CPU = torch.device("cpu")


def ab_mae(
    generate: Callable[[Tensor], Tensor],
    photographs: Photographs,
    space: ColorSpace,
    batch_size: int,
    device: torch.device = CPU,
) -> float:
    """Mean absolute error of a and b over all pixels and both channels, Lab units.

    Args:
        generate: (N, in_channels, S, S) -> (N, out_channels, S, S), on the device.
    """
    total, count = 0.0, 0
    for batch in plain_batches(photographs, batch_size):
        condition, target = space.encode(batch.to(device))
        error = space.ab(generate(condition).float()) - space.ab(target)
        total += error.abs().sum().item()
        count += error.numel()
    return total / count


@contextmanager
def inference(network: nn.Module) -> Iterator[None]:
    """Within, evaluation mode without gradients; then training mode again."""
    network.eval()
    with torch.no_grad():
        yield
    network.train()
