"""The record of a run: history.csv, steps.csv, and preview grids of what the generator paints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace, to_uint8
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.files import fresh_folder, write_csv
from pipeline.quality.grids import Row, save_grid
from pipeline.quality.validation import inference
from pipeline.types import Pixels

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


# Photographs in a preview: a grid must fit a screen.
_COLUMNS = 8


@dataclass(frozen=True)
class PreviewTimes:
    """When previews are drawn."""

    epochs: tuple[int, ...]
    """After these epochs (from 1)."""
    last_epoch: int = 0
    """And after the last one, however many epochs there are."""
    steps: int = 0
    """And after every so many steps; 0: never."""


class Recorder:
    """Writes history.csv, steps.csv and samples/ below a folder as training goes on.

    Args:
        steps: of the whole training.
        writes: whether this process writes files: the first one of those that share a training.
    """

    def __init__(self, folder: Path, space: ColorSpace, times: PreviewTimes, steps: int, *, writes: bool = True):
        self.folder, self._space, self._times, self._writes = folder, space, times, writes
        self.history: list[dict[str, float]] = []
        self.step_losses = StepLosses(steps)

    def begin(self) -> None:
        """Delete the record of an earlier run.

        Raises:
            OSError: the folder cannot be written.
        """
        if not self._writes:
            return
        fresh_folder(self.folder)
        (self.folder / "samples").mkdir()

    def record(self, row: dict[str, float]) -> None:
        """Append one epoch and write both tables again."""
        self.history.append(row)
        if self._writes:
            self._write_tables()

    def preview_due(self, *, epoch: int = 0, step: int = 0) -> str:
        """Return the name of the previews that are asked for after an epoch or a step (from 1); "" for none."""
        if epoch and epoch in (*self._times.epochs, self._times.last_epoch):
            return f"epoch-{epoch:04d}"
        if step and self._times.steps and step % self._times.steps == 0:
            return f"step-{step:07d}"
        return ""

    def preview(
        self, name: str, generator: nn.Module, splits: dict[str, Photographs], device: torch.device
    ) -> list[Path]:
        """Draw gray, colored and true, for the first photographs of each split: samples/<split>-<name>.png.

        Returns:
            The files.
        """
        files = []
        for split, photographs in splits.items():
            batch = next(iter(plain_batches(photographs, _COLUMNS))).to(device)
            condition, target = self._space.encode(batch)
            with inference(generator):
                output = generator(condition).float()
            rows = [
                Row("gray", self._pixels(condition, gray_output(self._space, condition, target))),
                Row("colored", self._pixels(condition, output)),
                Row("truth", self._pixels(condition, target)),
            ]
            files.append(self.folder / "samples" / f"{split}-{name}.png")
            save_grid(files[-1], rows)
        return files

    def state_dict(self) -> dict[str, Any]:
        """Return the record so far, as tensors and JSON values by name."""
        previews = {path.name: path.read_bytes() for path in sorted((self.folder / "samples").glob("*.png"))}
        tensors = {f"preview.{name}": torch.frombuffer(bytearray(png), dtype=torch.uint8)
                   for name, png in previews.items()}  # fmt: skip
        return {"history": self.history, **self.step_losses.state_dict(), **tensors}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Put back what `state_dict` gave."""
        self.history = list(state["history"])
        self.step_losses.load_state_dict(state, device)
        if not self._writes:
            return
        if self.history:
            self._write_tables()
        for name, value in state.items():
            if name.startswith("preview."):
                file = Path(name.removeprefix("preview.")).name
                (self.folder / "samples" / file).write_bytes(value.numpy().tobytes())

    def _write_tables(self) -> None:
        steps = self.step_losses.table()
        _write_table(self.folder / "history.csv", self.history, list(self.history[-1]))
        _write_table(self.folder / "steps.csv", steps, list(steps[-1]) if steps else ["step", "content"])

    def _pixels(self, condition: Tensor, output: Tensor) -> Pixels:
        return np.asarray(to_uint8(self._space.decode(condition, output)).permute(0, 2, 3, 1).cpu())


def _write_table(path: Path, rows: list[dict[str, float]], columns: list[str]) -> None:
    text = [{k: v if isinstance(v, int) else f"{v:.6g}" for k, v in row.items()} for row in rows]
    write_csv(path, text, columns)


def gray_output(space: ColorSpace, condition: Tensor, target: Tensor) -> Tensor:
    """Return the output that adds no color: ab = 0, or the gray image itself in RGB."""
    return torch.zeros_like(target) if space.name == "lab" else condition
