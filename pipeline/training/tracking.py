"""What a run leaves to look at: history and sample grids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.color import ColorSpace, to_uint8
from pipeline.data.images import Pixels
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.grids import Row, save_grid
from pipeline.publish import write_csv

# Of each split: a grid must fit a screen.
SAMPLES = 8


@dataclass
class Recorder:
    """Writes history.csv and samples/ below a folder as training goes."""

    folder: Path
    space: ColorSpace
    sample_epochs: tuple[int, ...]

    def __post_init__(self) -> None:
        self.history: list[dict[str, float]] = []
        (self.folder / "samples").mkdir(parents=True, exist_ok=True)

    def record(self, row: dict[str, float]) -> None:
        """Append one epoch and write the whole history again."""
        self.history.append(row)
        self._write()

    def restore(self, history: list[dict[str, float]], drawn: dict[str, bytes]) -> None:
        """Take up where an interrupted run left off: its history, and its sample grids by file name."""
        self.history = list(history)
        if history:
            self._write()
        for name, content in drawn.items():
            (self.folder / "samples" / Path(name).name).write_bytes(content)

    def drawn(self) -> dict[str, bytes]:
        """The sample grids so far, by file name."""
        return {path.name: path.read_bytes() for path in sorted((self.folder / "samples").glob("*.png"))}

    def _write(self) -> None:
        text = [{k: v if isinstance(v, int) else f"{v:.6g}" for k, v in r.items()} for r in self.history]
        write_csv(self.folder / "history.csv", text, list(self.history[-1]))

    def draw(self, epoch: int, generator: nn.Module, splits: dict[str, Photographs], device: torch.device) -> None:
        """At the epochs asked for: gray, colored and truth for the first photographs of each split."""
        if epoch not in self.sample_epochs:
            return
        for split, photographs in splits.items():
            batch = next(iter(plain_batches(photographs, batch_size=SAMPLES))).to(device)
            condition, target = self.space.encode(batch)
            with inference(generator):
                output = generator(condition).float()
            rows = [
                Row("gray", _images(self.space, condition, gray_output(self.space, condition, target))),
                Row(f"epoch {epoch}", _images(self.space, condition, output)),
                Row("truth", _images(self.space, condition, target)),
            ]
            save_grid(self.folder / "samples" / f"{split}-epoch-{epoch:04d}.png", rows)


@contextmanager
def inference(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, then back to training."""
    network.eval()
    with torch.no_grad():
        yield
    network.train()


def gray_output(space: ColorSpace, condition: Tensor, target: Tensor) -> Tensor:
    """The output that adds no color: ab = 0, or the gray image itself in RGB."""
    return torch.zeros_like(target) if space.name == "lab" else condition


def _images(space: ColorSpace, condition: Tensor, output: Tensor) -> Pixels:
    return np.asarray(to_uint8(space.decode(condition, output)).permute(0, 2, 3, 1).cpu())
