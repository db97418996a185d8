"""Every colorizer on every test photograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.color import ColorSpace, lab_to_rgb, rgb_to_lab, to_uint8
from pipeline.data.images import Pixels
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.evaluation.baselines import MedianColors
from pipeline.evaluation.metrics import Floats, colorfulness, score

# (N, 3, H, W) uint8 sRGB -> ab (N, 2, H, W) in Lab units and (N, 3, H, W) uint8 sRGB.
Colorizer = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Scores:
    rows: list[dict[str, Any]]
    """One a photograph and colorizer: index, colorizer, each metric, truth_colorfulness."""

    def means(self) -> dict[str, dict[str, float]]:
        """Of each metric over the photographs, by colorizer."""
        names = [key for key in self.rows[0] if key not in ("index", "path", "colorizer", "truth_colorfulness")]
        found: dict[str, dict[str, float]] = {}
        for colorizer in dict.fromkeys(row["colorizer"] for row in self.rows):
            own = [row for row in self.rows if row["colorizer"] == colorizer]
            found[colorizer] = {name: float(np.mean([row[name] for row in own])) for name in names}
        return found


def baselines(train: Photographs, batch_size: int, bins: int) -> dict[str, Colorizer]:
    """gray, constant and lightness_table, from the training photographs."""
    batches = tqdm(plain_batches(train, batch_size=batch_size), desc="medians", leave=False)
    medians = MedianColors((rgb_to_lab(batch) for batch in batches), bins)
    return {
        "gray": _from_lightness(lambda lightness: torch.zeros_like(medians.constant_ab(lightness))),
        "constant": _from_lightness(medians.constant_ab),
        "lightness_table": _from_lightness(medians.table_ab),
    }


def network_colorizer(network: nn.Module, space: ColorSpace, device: torch.device, seed: int) -> Colorizer:
    """seed: of the noise of a generator that has some; others give the same colors for any."""
    network.to(device)

    def colorize(rgb: Tensor) -> tuple[Tensor, Tensor]:
        condition, _ = space.encode(rgb.to(device))
        torch.manual_seed(seed)
        with torch.no_grad():
            output = network(condition).float()
        return space.ab(output).cpu(), to_uint8(space.decode(condition, output)).cpu()

    return colorize


def first_images(colorizers: dict[str, Colorizer], test: Photographs, columns: int) -> dict[str, Pixels]:
    """The first photographs by colorizer, and the truth: (columns, S, S, 3) uint8."""
    batch = next(iter(plain_batches(test, batch_size=columns)))
    colored = {name: _pixels(colorizer(batch)[1]) for name, colorizer in colorizers.items()}
    return {**colored, "truth": _pixels(batch)}


def score_all(colorizers: dict[str, Colorizer], test: Photographs, names: list[str], batch_size: int) -> Scores:
    """names: of the test photographs, in their order."""
    rows: list[dict[str, Any]] = []
    first = 0
    with tqdm(total=len(test), desc="evaluate", unit="photo") as bar:
        for batch in plain_batches(test, batch_size=batch_size):
            true_rgb, true_ab = _pixels(batch), _pixels(rgb_to_lab(batch)[:, 1:]).astype(np.float64)
            for name, colorizer in colorizers.items():
                ab, rgb = (_pixels(tensor) for tensor in colorizer(batch))
                for i, scores in enumerate(_scores(ab.astype(np.float64), rgb, true_ab, true_rgb)):
                    index = first + i
                    truth = colorfulness(true_rgb[i])
                    rows.append(
                        {"index": index, "path": names[index], "colorizer": name, **scores, "truth_colorfulness": truth}
                    )
            first += len(batch)
            bar.update(len(batch))
    rows.sort(key=lambda row: int(row["index"]))
    return Scores(rows)


def _scores(ab: Floats, rgb: Pixels, true_ab: Floats, true_rgb: Pixels) -> Iterator[dict[str, float]]:
    for parts in zip(ab, rgb, true_ab, true_rgb, strict=True):
        yield score(*parts)


def _from_lightness(color: Callable[[Tensor], Tensor]) -> Colorizer:
    def colorize(rgb: Tensor) -> tuple[Tensor, Tensor]:
        lightness = rgb_to_lab(rgb)[:, 0]
        ab = color(lightness)
        return ab, to_uint8(lab_to_rgb(torch.cat([lightness[:, None], ab], 1)))

    return colorize


def _pixels(tensor: Tensor) -> Any:
    return tensor.permute(0, 2, 3, 1).contiguous().numpy()
