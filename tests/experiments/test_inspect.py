from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from torch import nn

from pipeline.color.tensors import ColorSpace
from pipeline.models.generators import build_generator
from pipeline.params.schema import read
from tests.helpers import Project, twotone
from tests.nursery import Nursery


@pytest.fixture(scope="module")
def project(make_project: Callable[[str], Project], nursery: Nursery) -> Project:
    project = make_project("inspect")
    project.change(sample={"train": 16})
    nursery.run(project.folder, "sample")
    return project


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "densenet121"])
def test_weights_of_layers_with_layers_inside_count(project: Project, backbone: str) -> None:
    project.change(generator={"architecture": "dynamic_unet", "backbone": backbone, "max_width": 64})
    generator = twotone(project.folder, "inspect").stdout.split("discriminator: 70-pixel PatchGAN")[0]
    rows = re.findall(r"\d+x\d+ +([\d,]+) *$", generator, re.MULTILINE)
    total = re.search(r"([\d,]+) parameters; given", generator)
    assert total
    assert sum(int(row.replace(",", "")) for row in rows) == int(total[1].replace(",", ""))
    project.change(generator={"backbone": "resnet18"})


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "spectral"])
@pytest.mark.parametrize("architecture", ["dynamic_unet", "pix2pix_unet", "compact_unet"])
def test_every_layer_of_both_networks(project: Project, architecture: str, norm: str) -> None:
    project.change(generator={"architecture": architecture}, discriminator={"norm": norm})
    done = twotone(project.folder, "inspect")
    assert done.returncode == 0, done.stderr
    tables = done.stdout.split("discriminator: 70-pixel PatchGAN")
    params = read(project.folder / "params.yaml")
    network = build_generator(params.generator, ColorSpace("lab"), 32, seed=0)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(re.findall(r" Conv(?:Transpose)?2d ", tables[0])) == len(convolutions)
    assert len(re.findall(r"Conv2d ", tables[1])) == 5
    counts = [
        int(line.split()[-1].replace(",", ""))
        for line in tables[0].splitlines()
        if re.search(r"\d+x\d+ +[\d,]+ *$", line)
    ]
    total = sum(parameter.numel() for parameter in network.parameters())
    assert sum(counts) == total
    assert f"generator: {architecture}, {total:,} parameters; given 1x1x32x32" in tables[0]


def test_a_discriminator_that_no_stage_has_is_not_shown(project: Project) -> None:
    """Of 286 pixels it would have nothing to see in photographs of 32."""
    before = (project.folder / "params.yaml").read_text(encoding="utf-8")
    project.change(generator={"architecture": "compact_unet"}, discriminator={"receptive_field": 286})
    project.change(finetune={"epochs": 0, "sample_epochs": [], "keep_epochs": []})
    done = twotone(project.folder, "inspect")
    (project.folder / "params.yaml").write_text(before, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "generator: compact_unet" in done.stdout
    assert "discriminator" not in done.stdout


def test_photographs_as_training_sees_them(project: Project) -> None:
    done = twotone(project.folder, "inspect", "-o", "seen.png")
    assert "seen.png: 8 of 16 training photographs" in done.stdout
    grid = np.asarray(Image.open(project.folder / "seen.png"))[:, 96:]
    pitch = 98
    cells = [[grid[y * pitch : y * pitch + 96, x * pitch : x * pitch + 96] for x in range(8)] for y in range(5)]
    flipped = [np.array_equal(cells[row][x], cells[0][x][:, ::-1]) for row in (1, 2, 3) for x in range(8)]
    same = [np.array_equal(cells[row][x], cells[0][x]) for row in (1, 2, 3) for x in range(8)]
    assert all(one != other for one, other in zip(flipped, same, strict=True))
    assert 4 < sum(flipped) < 20
    gray = cells[4][0]
    assert (gray.max(-1) - gray.min(-1)).max() <= 1


def test_what_the_generator_sees_of_them(project: Project) -> None:
    """Degraded as an old photograph, with some of the true colors as hints."""
    before = (project.folder / "params.yaml").read_text(encoding="utf-8")
    project.change(generator={"hints": True}, pretrain={"degrade": 1.0, "without_hints": 0.0})
    done = twotone(project.folder, "inspect", "-o", "seen.png")
    (project.folder / "params.yaml").write_text(before, encoding="utf-8")
    assert "and input and hints as the generator does" in done.stdout
    grid = np.asarray(Image.open(project.folder / "seen.png"))[:, 96:].astype(int)
    clean, seen, hints = (grid[row * 98 : row * 98 + 96, :96] for row in (3, 4, 5))
    assert np.abs(seen.mean(-1) - clean.mean(-1)).mean() > 4
    assert (seen.max(-1) - seen.min(-1)).max() <= 1
    colored = (hints.max(-1) - hints.min(-1) > 8).mean()
    assert 0 < colored < 0.5


def test_without_a_sample_it_says_so(make_project: Callable[[str], Project]) -> None:
    done = twotone(make_project("no-sample").folder, "inspect")
    assert done.returncode == 1
    assert "data/sample: no sample yet, so there are no photographs to show; run dvc repro sample" in done.stderr
