"""Exponential moving average of a network's weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def largest_decay(step: int) -> float:
    """Return the largest decay at the n-th update: (1 + n) / (10 + n), as in TensorFlow's ExponentialMovingAverage.

    Early on the average follows faster. Otherwise a short training would publish its first weights.
    """
    return (1 + step) / (10 + step)


def steps_to_reach(decay: float) -> int:
    """Return after how many steps a decay is no longer limited."""
    return max(0, math.ceil((10 * decay - 1) / (1 - decay) - 1e-9))


class Ema:
    """Averages as plain tensors: torch's AveragedModel copies a network, which fails for a DynamicUnet that has run.

    With decay 0 there is no average, and the network's own weights are used.
    """

    def __init__(self, network: nn.Module, decay: float):
        self._network, self._decay = network, decay
        self.average: dict[str, Tensor] = {}
        self.updates = 0
        if decay:
            self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average (1 - decay) of the way to the weights; counters and the like are copied.

        The decay is warmed up: see `largest_decay`.
        """
        if not self.average:
            return
        self.updates += 1
        decay = min(self._decay, largest_decay(self.updates))
        state = self._network.state_dict()
        moving = [name for name, value in state.items() if value.is_floating_point()]
        # All at once: a GPU would otherwise start hundreds of tiny kernels.
        torch._foreach_lerp_([self.average[name] for name in moving], [state[name] for name in moving], 1 - decay)
        for name in state.keys() - set(moving):
            self.average[name].copy_(state[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the network has the averaged weights."""
        if not self.average:
            yield
            return
        own = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        self._network.load_state_dict(self.average)
        try:
            yield
        finally:
            self._network.load_state_dict(own)
