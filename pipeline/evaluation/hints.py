"""What hints are worth: the error by their number, of hints alone and on what a generator paints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.color.hints import Said, spread_hints
from pipeline.color.tensors import lab_to_rgb, rgb_to_lab, to_uint8
from pipeline.evaluation.metrics import METRICS, Photograph
from pipeline.evaluation.paired import mean_interval
from pipeline.models.checkpoint import LoadedGenerator
from pipeline.progress import progress
from pipeline.quality.predictor import predictor
from pipeline.types import Floats, Pixels

COUNTS = (0, 1, 2, 5, 10, 20, 50, 100)
"""As in the table of Zhang et al. 2017 (https://doi.org/10.1145/3072959.3073703), and 20."""
COLORIZERS = ("alone", "generator")
_METRICS = ("ab_mae", "psnr_rgb", "ciede2000")
# Side of a hint's square, as a share of the photograph's.
_SIDE = 0.025
COLUMNS = [
    "hints",
    *(f"{one}_{metric}{end}" for one in COLORIZERS for metric in _METRICS for end in ("", "_low", "_high")),
]


def hint_curve(
    generator: LoadedGenerator, photographs: Sequence[Pixels], seed: int, device: torch.device
) -> list[dict[str, float]]:
    """Measure photographs with true colors said at random places, as squares of their mean color.

    The places of a photograph depend on the seed and its number alone; with more hints, those of fewer stay.

    Returns:
        A row for each number of hints, or none without photographs. It has the mean of each metric with its 95 %
        interval over the photographs: of hints that are spread alone, and of those that are spread on what the
        generator painted. A generator that takes hints has seen them.
    """
    values: dict[tuple[int, str], list[float]] = {}
    for number, rgb in enumerate(progress(photographs, desc="hints", unit="photo", leave=False)):
        true = rgb_to_lab(torch.from_numpy(rgb)[None].permute(0, 3, 1, 2)).numpy()[0]
        places = _places(np.random.default_rng([seed, number]), rgb.shape[0], rgb.shape[1])
        for count in COUNTS:
            said = _said(true, places[:count])
            painted = {"alone": np.zeros_like(true[1:]), "generator": _painted(generator, rgb, said, seed, device)}
            for name, ab in painted.items():
                colors = spread_hints(true[0], ab, said) if count else ab
                for metric, value in _measured(true, colors, rgb).items():
                    values.setdefault((count, f"{name}_{metric}"), []).append(value)
    return [{"hints": count} | _row(count, values) for count in COUNTS] if photographs else []


def _row(count: int, values: dict[tuple[int, str], list[float]]) -> dict[str, float]:
    row: dict[str, float] = {}
    for (number, name), each in values.items():
        if number == count:
            low, high = mean_interval(np.array(each))
            row |= {name: float(np.mean(each)), f"{name}_low": low, f"{name}_high": high}
    return {name: float(f"{value:.6g}") for name, value in row.items()}


def _places(rng: np.random.Generator, height: int, width: int) -> list[tuple[slice, slice]]:
    side = max(1, round(_SIDE * min(height, width)))
    corners = rng.integers(0, (height - side + 1, width - side + 1), (COUNTS[-1], 2))
    return [(slice(top, top + side), slice(left, left + side)) for top, left in corners]


def _said(true: Floats, places: list[tuple[slice, slice]]) -> Said:
    said = Said(np.zeros_like(true[1:]), np.zeros(true.shape[1:], bool))
    for rows, columns in places:
        said.ab[:, rows, columns] = true[1:, rows, columns].mean((1, 2))[:, None, None]
        said.where[rows, columns] = True
    return said


def _painted(generator: LoadedGenerator, rgb: Pixels, said: Said, seed: int, device: torch.device) -> Floats:
    """Return the colors of the generator, which sees the hints where it takes some: (2, H, W)."""
    batch = torch.from_numpy(rgb)[None].permute(0, 3, 1, 2)
    network = generator.network
    if generator.config.generator.hints:
        hints = torch.from_numpy(said.channels)[None].to(device)

        def network(condition: Tensor) -> Tensor:  # type: ignore[misc]
            colors: Tensor = generator.network(torch.cat([condition[:, :1], hints], 1))
            return colors

    found: Floats = predictor(network, generator.space, device, seed)(batch)[0][0].numpy()
    return found


def _measured(true: Floats, ab: Floats, rgb: Pixels) -> dict[str, float]:
    lab = torch.from_numpy(np.concatenate([true[:1], ab]))[None]
    shown = to_uint8(lab_to_rgb(lab))[0].permute(1, 2, 0).numpy()
    colored, truth = Photograph(np.moveaxis(ab, 0, 2), shown), Photograph(np.moveaxis(true[1:], 0, 2), rgb)
    return {name: METRICS[name].compute(colored, truth) for name in _METRICS}
