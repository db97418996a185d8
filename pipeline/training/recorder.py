"""The record of a run: history.csv, and preview grids of what the generator paints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace, to_uint8
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.evaluation.validation import inference
from pipeline.files import fresh_folder, write_csv
from pipeline.media.grids import Row, save_grid
from pipeline.types import Pixels

# Photographs in a preview: a grid must fit a screen.
_COLUMNS = 8


class Recorder:
    """Writes history.csv and samples/ below a folder as training goes on.

    Args:
        preview_epochs: epochs (from 1) after which previews are drawn.
    """

    def __init__(self, folder: Path, space: ColorSpace, preview_epochs: tuple[int, ...]):
        self.folder, self._space, self._preview_epochs = folder, space, preview_epochs
        self.history: list[dict[str, float]] = []

    def begin(self) -> None:
        """Delete the record of an earlier run.

        Raises:
            OSError: the folder cannot be written.
        """
        fresh_folder(self.folder)
        (self.folder / "samples").mkdir()

    def record(self, row: dict[str, float]) -> None:
        """Append one epoch and write the whole history again."""
        self.history.append(row)
        self._write_history()

    def preview(self, epoch: int, generator: nn.Module, splits: dict[str, Photographs], device: torch.device) -> None:
        """After the epochs asked for: gray, colored and true, for the first photographs of each split."""
        if epoch not in self._preview_epochs:
            return
        for split, photographs in splits.items():
            batch = next(iter(plain_batches(photographs, _COLUMNS))).to(device)
            condition, target = self._space.encode(batch)
            with inference(generator):
                output = generator(condition).float()
            rows = [
                Row("gray", self._pixels(condition, gray_output(self._space, condition, target))),
                Row(f"epoch {epoch}", self._pixels(condition, output)),
                Row("truth", self._pixels(condition, target)),
            ]
            save_grid(self.folder / "samples" / f"{split}-epoch-{epoch:04d}.png", rows)

    def state_dict(self) -> dict[str, Any]:
        """The record so far, as tensors and JSON values by name."""
        previews = {path.name: path.read_bytes() for path in sorted((self.folder / "samples").glob("*.png"))}
        tensors = {f"preview.{name}": torch.frombuffer(bytearray(png), dtype=torch.uint8)
                   for name, png in previews.items()}  # fmt: skip
        return {"history": self.history, **tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.history = list(state["history"])
        if self.history:
            self._write_history()
        for name, value in state.items():
            if name.startswith("preview."):
                file = Path(name.removeprefix("preview.")).name
                (self.folder / "samples" / file).write_bytes(value.numpy().tobytes())

    def _write_history(self) -> None:
        text = [{k: v if isinstance(v, int) else f"{v:.6g}" for k, v in r.items()} for r in self.history]
        write_csv(self.folder / "history.csv", text, list(self.history[-1]))

    def _pixels(self, condition: Tensor, output: Tensor) -> Pixels:
        return np.asarray(to_uint8(self._space.decode(condition, output)).permute(0, 2, 3, 1).cpu())


def gray_output(space: ColorSpace, condition: Tensor, target: Tensor) -> Tensor:
    """The output that adds no color: ab = 0, or the gray image itself in RGB."""
    return torch.zeros_like(target) if space.name == "lab" else condition
