from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import QUICKSTART, ROOT, twotone


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(QUICKSTART.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    return tmp_path


def test_a_recipe_prints_what_it_changes_and_comes_back(checkout: Path) -> None:
    before = (checkout / "params.yaml").read_bytes()
    done = twotone(checkout, "recipe", "compact_lsgan")
    assert done.returncode == 0
    assert "finetune.adversarial_loss: bce -> lsgan" in done.stdout
    assert "next: dvc repro" in done.stdout
    assert twotone(checkout, "recipe", "quickstart").returncode == 0
    assert (checkout / "params.yaml").read_bytes() == before


def test_a_recipe_replaces_nothing_that_cannot_be_read(checkout: Path) -> None:
    broken = (checkout / "params.yaml").read_text(encoding="utf-8") + "sample: [\n"
    (checkout / "params.yaml").write_text(broken, encoding="utf-8")
    refused = twotone(checkout, "recipe", "smoke")
    assert refused.returncode == 2
    assert "params.yaml: cannot be read, and its values would be lost; mend it" in refused.stderr
    assert (checkout / "params.yaml").read_text(encoding="utf-8") == broken


def test_recipes_are_listed_and_unknown_ones_refused(checkout: Path) -> None:
    assert "pix2pix_scratch" in twotone(checkout, "recipe").stdout
    refused = twotone(checkout, "recipe", "nothing")
    assert refused.returncode == 2
    assert "no recipe 'nothing' in recipes; there are compact_lsgan" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_backbones_by_pattern(checkout: Path) -> None:
    done = twotone(checkout, "backbones", "*net18d")
    assert done.returncode == 0
    assert "resnet18d" in done.stdout
    refused = twotone(checkout, "backbones", "vit_tiny_patch16_224")
    assert refused.returncode == 1
    assert "vit_tiny_patch16_224 cannot be the encoder of a U-Net" in refused.stdout


@pytest.mark.slow
def test_check_measures_a_step(checkout: Path) -> None:
    text = (checkout / "params.yaml").read_text(encoding="utf-8")
    (checkout / "params.yaml").write_text(text.replace("image_size: 64", "image_size: 32"), encoding="utf-8")
    done = twotone(checkout, "backbones", "mobilenetv4_conv_small", "--check")
    assert done.returncode == 0, done.stderr
    for words in ("decoder blocks", "1/32:", "M parameters", " s, ", "MiB at the peak, on c"):
        assert words in done.stdout
    assert "cannot be the encoder" in twotone(checkout, "backbones", "vit_tiny_patch16_224", "--check").stderr
    # Without epochs, the parameters allow it.
    alone = text.replace("epochs: 10", "epochs: 0", 1).replace("batch_size: 16", "batch_size: 1", 1)
    (checkout / "params.yaml").write_text(
        alone.replace("sample_epochs: [1, 10]", "sample_epochs: []", 1), encoding="utf-8"
    )
    refused = twotone(checkout, "backbones", "mobilenetv4_conv_small", "--check")
    assert refused.returncode == 2
    assert "a step needs pretrain.batch_size of 2 at least, got 1" in refused.stderr + refused.stdout


def test_a_photograph_in_the_place_of_a_command(tmp_path: Path) -> None:
    (tmp_path / "street.jpg").touch()
    refused = twotone(tmp_path, "street.jpg")
    assert refused.returncode == 2
    assert "error: street.jpg is no command; type `twotone colorize street.jpg` to color it" in refused.stderr
    assert "No such command 'nothing.jpg'" in twotone(tmp_path, "nothing.jpg").stderr
