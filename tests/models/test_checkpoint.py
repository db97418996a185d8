from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.color.tensors import ColorSpace
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.errors import ModelError
from pipeline.export.onnx_export import write_onnx
from pipeline.models.checkpoint import load_generator, save_model
from pipeline.models.config import FORMAT, ModelConfig, read_config, write_config
from pipeline.models.generators import build_generator
from pipeline.params.schema import OnnxVariant, Params
from tests.conftest import MakeModel
from tests.helpers import noisy_photo

LAB = ColorSpace("lab")


@pytest.fixture(scope="module")
def generator(params: Params) -> nn.Module:
    return build_generator(params.generator, LAB, 32, seed=3)


@pytest.fixture
def saved(tmp_path: Path, params: Params, generator: nn.Module) -> Path:
    save_model(tmp_path / "model", {"generator": generator}, ModelConfig.describe(params.generator, "lab", 32))
    return tmp_path / "model"


def test_what_is_loaded_gives_the_same_colors(saved: Path, generator: nn.Module) -> None:
    loaded = load_generator(saved)
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.network(x), generator.eval()(x))
    assert loaded.space == LAB
    assert loaded.config.image_size == 32


def test_same_network_same_bytes(saved: Path, tmp_path: Path, params: Params, generator: nn.Module) -> None:
    save_model(tmp_path / "again", {"generator": generator}, ModelConfig.describe(params.generator, "lab", 32))
    for file in saved.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_damage_is_named(saved: Path) -> None:
    weights = saved / "generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"generator\.safetensors: damaged: its checksum"):
        load_generator(saved)
    weights.unlink()
    with pytest.raises(ModelError, match=r"generator\.safetensors: cannot be loaded"):
        load_generator(saved)


def test_a_pickle_in_its_place_is_not_run(saved: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trap,)

    content = pickle.dumps(Malicious())
    (saved / "generator.safetensors").write_bytes(content)
    import hashlib

    change_config(saved, sha256={"generator.safetensors": hashlib.sha256(content).hexdigest()})
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_generator(saved)
    assert not trap.exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": 1}', "[" * 100_000])
def test_what_is_no_model_description_is_refused(saved: Path, text: str) -> None:
    (saved / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.json"):
        load_generator(saved)


def test_another_format_and_another_network_are_refused(saved: Path) -> None:
    change_config(saved, color_space="rgb")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_generator(saved)
    change_config(saved, format=99)
    with pytest.raises(
        ModelError, match=r"made by a newer version of Twotone \(format 99; this version reads up to 2\)"
    ):
        load_generator(saved)


def test_a_newer_version_is_named_whatever_else_it_has_changed(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"format": 3, "networks": [{"of": "the future"}]}', encoding="utf-8")
    with pytest.raises(ModelError, match="made by a newer version of Twotone"):
        read_config(tmp_path)


# As they were written by the versions of those days.
OLDER = {
    1: {
        "began_with": "76b433f8f9d881c04162da5a406496b54d0176b36985a171003ac787e34e5649",
        "color_space": "lab",
        "format": 1,
        "generator": {
            "architecture": "dynamic_unet", "backbone": "tf_efficientnet_lite0", "decoder": "halved",
            "last_cross": False, "max_width": 512, "noise": "none", "weights": "imagenet",
        },
        "image_size": 96,
        "interface": {
            "channels": ["L* / 50 - 1"], "colors": ["a* / 110", "b* / 110"], "input": "condition", "multiple_of": 32,
            "output": "colors",
        },
        "scores": {"ab_mae": 7.80929, "lightness_table_ab_mae": 8.78696, "photographs": 1000},
        "sha256": {"generator.onnx": "bbded14e6f97719d71b23ed526276326ba9af4ee172358a58fd2ebd7f65a3f3b"},
        "training": {"ab_mae": 7.83695, "photographs": 80000, "source": "folder", "validation_photographs": 1000},
    },
}  # fmt: skip


@pytest.mark.parametrize("made", [*OLDER, "without a key that was added later"])
def test_models_of_every_format_are_read(tmp_path: Path, made: int | str) -> None:
    raw: dict[str, Any] = copy.deepcopy(OLDER[made if isinstance(made, int) else 1])
    if isinstance(made, str):
        del raw["generator"]["max_width"]
    (tmp_path / "model.json").write_text(json.dumps(raw), encoding="utf-8")
    config = read_config(tmp_path)
    assert config.format == FORMAT
    assert config.generator.backbone == "tf_efficientnet_lite0"
    assert config.generator.max_width == 512
    assert config.interface is not None
    assert config.interface.short_side == 96
    write_config(tmp_path, config)
    assert read_config(tmp_path) == config


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file; has the stage that writes it run"):
        load_generator(tmp_path)


@pytest.mark.parametrize(("variant", "noise"), [("fp32", "none"), ("fp16", "none"), ("fp32", "input")])
def test_a_generator_comes_back_from_its_exported_file(
    make_model: MakeModel, tmp_path: Path, rng: np.random.Generator, variant: OnnxVariant, noise: str
) -> None:
    writer = ShardWriter(tmp_path, "train")
    writer.add(noisy_photo(rng, 32, 32))
    writer.close()
    loaded = load_generator(make_model("compact_unet", noise))
    write_onnx(loaded, tmp_path / "export", variant, Photographs(tmp_path, "train", 32))
    again = load_generator(tmp_path / "export").network.state_dict()
    for name, value in loaded.network.state_dict().items():
        expected = value.half().float() if variant == "fp16" and value.is_floating_point() else value
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(again[name], expected, rtol=0, atol=1e-6)
    content = (tmp_path / "export/generator.onnx").read_bytes()
    (tmp_path / "export/generator.onnx").write_bytes(content[:-10])
    with pytest.raises(ModelError, match=r"generator\.onnx: damaged"):
        load_generator(tmp_path / "export")
