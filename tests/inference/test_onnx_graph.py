"""The exported network, made ready: what ONNX Runtime computes of the file as it is is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from pipeline.color.constants import AB_SCALE
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.export.onnx_export import write_onnx
from pipeline.inference.networks import onnx_runtime
from pipeline.inference.onnx_graph import ready
from pipeline.models.checkpoint import load_generator
from pipeline.params.schema import OnnxVariant
from tests.conftest import MakeModel, tuned_pair
from tests.helpers import noisy_photo

Export = Callable[[OnnxVariant, bool], bytes]


@pytest.fixture
def export(make_model: MakeModel, tmp_path: Path) -> Export:
    """export(variant, dial): an ONNX file."""

    def made(variant: OnnxVariant, dial: bool) -> bytes:
        (tmp_path / "sample").mkdir()
        sample = ShardWriter(tmp_path / "sample", "train")
        for seed in range(4):
            sample.add(noisy_photo(np.random.default_rng(seed), 32, 32))
        sample.close()
        finetuned = tuned_pair(make_model("compact_unet"), tmp_path)
        faithful = load_generator(tmp_path / "pretrain") if dial else None
        photographs = Photographs(tmp_path / "sample", "train", 32)
        write_onnx(load_generator(finetuned), tmp_path / "export", variant, photographs, faithful)
        return (tmp_path / "export/generator.onnx").read_bytes()

    return made


def colors(content: bytes, **more: float) -> np.ndarray:
    """(1, 2, 64, 96) a* and b* of one input."""
    session = onnx_runtime().InferenceSession(content, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).uniform(-1, 1, (1, 1, 64, 96)).astype(np.float32)
    given = {name: np.array([value], np.float32) for name, value in more.items()}
    (found,) = session.run(None, {"condition": x, **given})
    return np.asarray(found) * AB_SCALE


@pytest.mark.parametrize(("variant", "most"), [("fp32", 1e-3), ("fp16", 0.3)])
@pytest.mark.parametrize("wide", [True, False])
def test_the_dial_becomes_a_number(export: Export, variant: OnnxVariant, most: float, wide: bool) -> None:
    content = export(variant, True)
    for at in (0.0, 0.3, 1.0):
        mixed = ready(content, "vivid", at, wide)
        assert [given.name for given in onnx.load_from_string(mixed).graph.input] == ["condition"]
        assert np.abs(colors(mixed) - colors(content, vivid=at)).max() < most
    assert np.abs(colors(mixed) - colors(ready(content, "vivid", 0.0, wide))).max() > 1


@pytest.mark.parametrize("dial", [True, False])
def test_16_bits_become_32(export: Export, dial: bool) -> None:
    content = export("fp16", dial)
    model = onnx.load_from_string(ready(content, "vivid" if dial else None, 1.0, wide=True))
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    tensors = [*model.graph.initializer, *(one.t for one in attributes if one.HasField("t"))]
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in tensors}
    assert not [one for one in attributes if one.name == "to" and one.i == TensorProto.FLOAT16]
    more = {"vivid": 1.0} if dial else {}
    assert np.abs(colors(model.SerializeToString()) - colors(content, **more)).max() < 0.3


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_what_is_ready_stays_as_it_is(export: Export, variant: OnnxVariant) -> None:
    content = export(variant, False)
    assert ready(content, None, None, wide=True) == content


def test_numbers_of_16_bits_may_lie_among_integers() -> None:
    """As ONNX allows, and other writers have it."""
    half = np.array([1.5, -2.25], np.float16)
    weight = onnx.helper.make_tensor("w", TensorProto.FLOAT16, [2], half)
    weight.ClearField("raw_data")
    weight.int32_data[:] = half.view(np.uint16).tolist()
    graph = onnx.helper.make_graph([], "g", [], [], [weight])
    (read,) = onnx.load_from_string(
        ready(onnx.helper.make_model(graph).SerializeToString(), None, None, True)
    ).graph.initializer
    assert onnx.numpy_helper.to_array(read).tolist() == [1.5, -2.25]
