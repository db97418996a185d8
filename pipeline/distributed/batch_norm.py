"""Batch normalization over the photographs of all processes, so that several processes train what one would.

torch's SyncBatchNorm does the same on GPUs alone, and replaces layers, which breaks the hooks of a DynamicUnet and
drops the activation in timm's BatchNormAct2d. Here layers only change their class.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose means and variances are those of all processes' batches, which are of equal size."""

    def forward(self, x: Tensor) -> Tensor:
        return self._normalized(x)

    def _normalized(self, x: Tensor) -> Tensor:
        """(N, C, H, W) of any precision -> the same; computed in fp32, as batch normalization is."""
        if not self.training:
            return nn.BatchNorm2d.forward(self, x)
        wide = x if x.dtype == torch.float64 else x.float()
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = _Sum.apply(wide.sum((0, 2, 3))) / count  # type: ignore[no-untyped-call]
        centered = wide - mean[:, None, None]
        variance = _Sum.apply(centered.square().sum((0, 2, 3))) / count  # type: ignore[no-untyped-call]
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps)
        normal = centered * (scale * self.weight)[:, None, None] + self.bias[:, None, None]
        result: Tensor = normal.to(x.dtype)
        return result

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as torch does: with the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


def share_batch_norm(network: nn.Module) -> None:
    """Make every BatchNorm2d of a network, and those of timm with an activation inside, share its statistics."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
        elif isinstance(module, nn.BatchNorm2d) and not isinstance(module, SharedBatchNorm2d):
            module.__class__ = _with_activation(type(module))


def _with_activation(kind: type[nn.BatchNorm2d]) -> type[nn.BatchNorm2d]:
    """Return timm's BatchNormAct2d: dropout and activation follow the normalization."""

    class SharedBatchNormAct2d(SharedBatchNorm2d, kind):  # type: ignore[misc, valid-type]
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.act(self.drop(self._normalized(x)))  # type: ignore[operator]
            return y

    return SharedBatchNormAct2d
