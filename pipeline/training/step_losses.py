"""steps.csv: the losses by step, in a table of bounded length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# More points than a plot can show; fewer would hide how a loss swings.
_ROWS = 1000


class StepLosses:
    """The mean of each loss over every so many steps: as few as the table holds, one at best.

    Args:
        steps: of the whole training.
    """

    def __init__(self, steps: int):
        self.stride = max(1, -(-steps // _ROWS))
        self._names: list[str] = []
        self._rows: list[Tensor] = []
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add a step's losses: scalars, which stay on their device, since reading them would make a GPU wait."""
        self._names = list(losses)
        values = torch.stack([loss.float() for loss in losses.values()])
        self._sum = values if self._sum is None else self._sum + values
        self._count += 1
        if self._count == self.stride:
            self._rows.append(self._sum / self._count)
            self._sum, self._count = None, 0

    def table(self) -> list[dict[str, float]]:
        """Return a row for every `stride` steps: the last of them (from 1) as `step`, and the mean of each loss."""
        rows = torch.stack(self._rows).tolist() if self._rows else []
        pairs = (dict(zip(self._names, row, strict=True)) for row in rows)
        return [{"step": (number + 1) * self.stride, **losses} for number, losses in enumerate(pairs)]

    def state_dict(self) -> dict[str, Any]:
        """Return the table so far, as tensors and JSON values by name."""
        if not self._names:
            return {}
        device = (self._sum if self._sum is not None else self._rows[-1]).device
        empty = torch.zeros(len(self._names), device=device)
        rows = torch.stack(self._rows) if self._rows else empty[None][:0]
        open_sum = empty if self._sum is None else self._sum
        return {"steps.names": self._names, "steps.rows": rows, "steps.sum": open_sum, "steps.count": self._count}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Put back what `state_dict` gave."""
        if "steps.names" not in state:
            return
        self._names, self._count = list(state["steps.names"]), int(state["steps.count"])
        self._rows = list(state["steps.rows"].to(device))
        self._sum = state["steps.sum"].to(device) if self._count else None
