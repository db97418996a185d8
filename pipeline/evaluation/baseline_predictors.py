"""Baselines without a network, as predictors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.color.tensors import lab_to_rgb, rgb_to_lab, to_uint8
from pipeline.data.loader import plain_batches
from pipeline.data.shards import Photographs
from pipeline.evaluation.baselines import MedianColors
from pipeline.quality.color_prior import ColorPrior
from pipeline.quality.predictor import Predictor


def baselines(train: Photographs, batch_size: int, bins: int, prior: ColorPrior) -> dict[str, Predictor]:
    """gray, constant and lightness_table, made from the training photographs, which the prior counts on the way."""

    def labs() -> Iterator[Tensor]:
        total = -(-len(train) // batch_size)
        for batch in tqdm(plain_batches(train, batch_size), total=total, desc="medians", unit="batch", leave=False):
            lab = rgb_to_lab(batch)
            prior.add(lab)
            yield lab

    medians = MedianColors(labs(), bins)
    return {
        "gray": _from_lightness(lambda lightness: torch.zeros_like(medians.constant_ab(lightness))),
        "constant": _from_lightness(medians.constant_ab),
        "lightness_table": _from_lightness(medians.table_ab),
    }


def _from_lightness(color: Callable[[Tensor], Tensor]) -> Predictor:
    """color: (N, H, W) L -> (N, 2, H, W) ab."""

    def predict(rgb: Tensor) -> tuple[Tensor, Tensor]:
        lightness = rgb_to_lab(rgb)[:, 0]
        ab = color(lightness)
        return ab, to_uint8(lab_to_rgb(torch.cat([lightness[:, None], ab], 1)))

    return predict
