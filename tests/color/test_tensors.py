from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

from pipeline.color.tensors import ColorSpace, lab_to_rgb, rgb_to_lab, to_uint8


def every_color(step: int) -> torch.Tensor:
    """(1, 3, n, n * n) uint8: a regular grid over all of sRGB, its corners included."""
    levels = torch.tensor([*range(0, 255, step), 255], dtype=torch.uint8)
    grid = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij"))
    return grid.reshape(1, 3, len(levels), -1)


def last(x: torch.Tensor) -> np.ndarray:
    return x.permute(0, 2, 3, 1).numpy()


def test_lab_agrees_with_skimage_on_all_of_srgb() -> None:
    rgb = every_color(8)
    np.testing.assert_allclose(last(rgb_to_lab(rgb)), rgb2lab(last(rgb)), atol=1e-3)


def test_lab_of_float_colors_agrees_with_skimage() -> None:
    rgb = torch.rand(1, 3, 40, 40) * 255
    np.testing.assert_allclose(last(rgb_to_lab(rgb)), rgb2lab(last(rgb) / 255), atol=1e-3)


def test_rgb_comes_back_from_lab_exactly() -> None:
    rgb = every_color(5)
    assert torch.equal(to_uint8(lab_to_rgb(rgb_to_lab(rgb))), rgb)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_lab_outside_the_gamut_is_clipped_as_skimage_clips() -> None:
    lab = (
        torch.rand(1, 3, 50, 50) * torch.tensor([100, 220, 220])[:, None, None]
        - torch.tensor([0, 110, 110])[:, None, None]
    )
    np.testing.assert_allclose(last(lab_to_rgb(lab)), lab2rgb(last(lab)), atol=2e-3)


def test_srgb_lies_within_the_range_networks_see() -> None:
    condition, target = ColorSpace("lab").encode(every_color(15))
    assert condition.abs().max() <= 1 + 1e-6
    assert target.abs().max() <= 1


@pytest.mark.parametrize(("name", "inputs", "outputs"), [("lab", 1, 2), ("rgb", 3, 3)])
def test_a_perfect_answer_decodes_to_the_photograph(name: str, inputs: int, outputs: int) -> None:
    space, rgb = ColorSpace(name), every_color(30)  # type: ignore[arg-type]
    condition, target = space.encode(rgb)
    assert (condition.shape[1], target.shape[1]) == (inputs, outputs) == (space.in_channels, space.out_channels)
    assert torch.equal(to_uint8(space.decode(condition, target)), rgb)
    np.testing.assert_allclose(space.ab(target).numpy(), rgb_to_lab(rgb)[:, 1:].numpy(), atol=2e-2)


@pytest.mark.parametrize("name", ["lab", "rgb"])
@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_saturated_colors_are_those_of_skimage(name: str) -> None:
    space, rgb = ColorSpace(name), every_color(30)  # type: ignore[arg-type]
    condition, target = space.encode(rgb)
    assert torch.equal(space.saturated(target, 1), target)
    shown = last(space.decode(condition, space.saturated(target, 1.2)))
    np.testing.assert_allclose(shown, lab2rgb(rgb2lab(last(rgb)) * [1, 1.2, 1.2]), atol=2e-3)


def test_the_rgb_condition_is_gray() -> None:
    condition, _ = ColorSpace("rgb").encode(every_color(30))
    red, green, blue = condition.unbind(1)
    np.testing.assert_allclose(red, green, atol=1e-3)
    np.testing.assert_allclose(green, blue, atol=1e-3)
