"""The error of a generator on a split of the sample: what validation and the export check measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace
from pipeline.distributed.group import Group

ALONE = Group()


def ab_mae(
    generate: Callable[[Tensor], Tensor], batches: Iterable[Tensor], space: ColorSpace, group: Group = ALONE
) -> float:
    """Mean absolute error of a and b over all pixels and both channels, Lab units.

    Args:
        generate: (N, in_channels, S, S) -> (N, out_channels, S, S).
        batches: (N, 3, S, S) uint8 sRGB, on the device of `generate`.
        group: the processes that share the work; each is given its own batches.
    """
    total, count = 0.0, 0
    for batch in batches:
        condition, target = space.encode(batch)
        error = space.ab(generate(condition).float()) - space.ab(target)
        total += error.abs().sum().item()
        count += error.numel()
    total, pixels = group.sums([total, count])
    return total / pixels


@contextmanager
def inference(network: nn.Module) -> Iterator[None]:
    """Within, evaluation mode without gradients; then training mode again."""
    network.eval()
    with torch.no_grad():
        yield
    network.train()
