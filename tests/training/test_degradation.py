from __future__ import annotations

import pytest
import torch

from pipeline.color.tensors import ColorSpace
from pipeline.training.degradation import Damage, damage_seeds, degraded

LAB, RGB = ColorSpace("lab"), ColorSpace("rgb")


def plain(red: int, green: int, blue: int, count: int = 400) -> torch.Tensor:
    """(count, 3, 16, 16) of one color."""
    return torch.tensor([red, green, blue], dtype=torch.uint8).view(1, 3, 1, 1).repeat(count, 1, 16, 16)


def old_lightness(rgb: torch.Tensor, share: float = 1.0) -> torch.Tensor:
    condition, _ = LAB.encode(rgb)
    return (degraded(condition, rgb, LAB, share, Damage.draw(range(len(rgb)), (16, 16))) + 1) * 50


def test_films_see_blue_light_and_not_red() -> None:
    """Red lips come out dark and blue skies white, as in photographs of 1900."""
    red, blue = plain(220, 60, 60), plain(90, 120, 230)
    clean = [(LAB.encode(rgb)[0].mean() + 1) * 50 for rgb in (red, blue)]
    old = [old_lightness(rgb).mean() for rgb in (red, blue)]
    assert abs(clean[0] - clean[1]) < 5
    assert old[1] - old[0] > 15


def test_gray_stays_gray_but_fades_and_has_grain() -> None:
    white, black = old_lightness(plain(255, 255, 255)), old_lightness(plain(0, 0, 0))
    levels = [lightness.mean((1, 2, 3)) for lightness in (white, black)]
    assert 70 < levels[0].min() < 80 < 97 < levels[0].max() <= 100
    assert 0 <= levels[1].min() < 3 < 20 < levels[1].max() < 30
    grain = old_lightness(plain(119, 119, 119)).std((1, 2, 3))
    assert grain.min() < 0.3
    assert 4.5 < grain.max() < 7


def test_edges_are_blurred_in_some() -> None:
    edge = plain(119, 119, 119)
    edge[..., 8:] = 200
    steps = old_lightness(edge).mean(2)[:, 0].diff(dim=1)
    clean = (LAB.encode(edge)[0].mean(2)[:, 0].diff(dim=1) * 50).max()
    ratio = steps[:, 7] / clean
    assert ratio.max() > 0.9
    assert ratio.min() < 0.3


@pytest.mark.parametrize("space", [LAB, RGB])
def test_a_share_of_the_photographs_is_changed_and_no_target(space: ColorSpace) -> None:
    rgb = torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    condition, _ = space.encode(rgb)
    damage = Damage.draw(damage_seeds(3, 7, range(300)), (16, 16))
    old = degraded(condition, rgb, space, 0.25, damage)
    assert old.shape == condition.shape
    assert old.abs().max() <= 1
    changed = (old != condition).flatten(1).any(1)
    assert 0.17 < changed.float().mean() < 0.33
    parts = [
        degraded(part, rgb[places.start : places.stop], space, 0.25, Damage.draw(damage_seeds(3, 7, places), (16, 16)))
        for part, places in zip(condition.chunk(3), (range(100), range(100, 200), range(200, 300)), strict=True)
    ]
    assert torch.equal(torch.cat(parts), old), "three processes see what one does"
    assert torch.equal(degraded(condition, rgb, space, 0.0, damage), condition)
