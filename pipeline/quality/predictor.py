"""Predictors: what evaluate compares; here, those of trained generators."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.color.tensors import ColorSpace, to_uint8

Predictor = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(N, 3, H, W) uint8 sRGB -> ab (N, 2, H, W) in Lab units and (N, 3, H, W) uint8 sRGB."""


def once(predict: Predictor) -> Predictor:
    """Return the predictor, which answers the same batch at once when it is asked again: pretrain_saturated asks
    again.
    """
    last: list[tuple[Tensor, tuple[Tensor, Tensor]]] = []

    def answer(rgb: Tensor) -> tuple[Tensor, Tensor]:
        if not last or last[0][0] is not rgb:
            last[:] = [(rgb, predict(rgb))]
        return last[0][1]

    return answer


def predictor(network: nn.Module, space: ColorSpace, device: torch.device, seed: int) -> Predictor:
    """Return a generator in evaluation mode.

    Args:
        device: where it is.
        seed: of the noise of a generator that has some; without noise every seed gives the same colors.
    """

    def predict(rgb: Tensor) -> tuple[Tensor, Tensor]:
        condition, _ = space.encode(rgb.to(device))
        torch.manual_seed(seed)
        with torch.no_grad():
            output = network(condition).float()
        return space.ab(output).cpu(), to_uint8(space.decode(condition, output)).cpu()

    return predict
