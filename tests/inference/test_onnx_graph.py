"""The exported network, made ready: what ONNX Runtime computes of the file as it is is the oracle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from pipeline.color.constants import AB_SCALE
from pipeline.data.shards import Photographs, ShardWriter
from pipeline.errors import ModelError
from pipeline.export.onnx_export import write_onnx
from pipeline.inference.networks import load_network, onnx_runtime
from pipeline.inference.onnx_graph import ready
from pipeline.models.checkpoint import load_generator
from pipeline.models.config import read_config, write_config
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
        mixed = ready(content, ("vivid", at), wide=wide)
        assert [given.name for given in onnx.load_from_string(mixed).graph.input] == ["condition"]
        assert np.abs(colors(mixed) - colors(content, vivid=at)).max() < most
    assert np.abs(colors(mixed) - colors(ready(content, ("vivid", 0.0), wide=wide))).max() > 1


@pytest.mark.parametrize("dial", [True, False])
def test_16_bits_become_32(export: Export, dial: bool) -> None:
    content = export("fp16", dial)
    model = onnx.load_from_string(ready(content, ("vivid", 1.0) if dial else None, wide=True))
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    tensors = [*model.graph.initializer, *(one.t for one in attributes if one.HasField("t"))]
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in tensors}
    assert not [one for one in attributes if one.name == "to" and one.i == TensorProto.FLOAT16]
    more = {"vivid": 1.0} if dial else {}
    assert np.abs(colors(model.SerializeToString()) - colors(content, **more)).max() < 0.3


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_what_is_ready_stays_as_it_is(export: Export, variant: OnnxVariant) -> None:
    content = export(variant, False)
    assert ready(content, None, wide=True) == content


def serialized(*, nodes: Sequence[onnx.NodeProto] = (), tensors: Sequence[onnx.TensorProto] = ()) -> bytes:
    takes = onnx.helper.make_tensor_value_info("vivid", TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(nodes, "g", [takes], [], tensors)
    return bytes(onnx.helper.make_model(graph).SerializeToString())


def test_numbers_may_lie_in_other_fields() -> None:
    """As ONNX allows, and other writers have it: 16-bit ones as bits among integers, 32-bit ones as floats."""
    half, bits = np.array([1.5, -2.25], np.float16), onnx.TensorProto(name="w_faithful", data_type=10, dims=[2])
    bits.int32_data[:] = half.view(np.uint16).tolist()
    floats = onnx.TensorProto(name="w_change", data_type=1, dims=[2], float_data=[2.0, 4.0])
    content = serialized(tensors=[bits, floats])
    (mixed,) = onnx.load_from_string(ready(content, ("vivid", 0.5), wide=True)).graph.initializer
    assert mixed.name == "w"
    assert onnx.numpy_helper.to_array(mixed).tolist() == [2.5, -0.25]


def test_what_is_not_known_stays_as_it_is() -> None:
    weights = [onnx.helper.make_tensor(f"w{end}", 10, [1], np.ones(1, np.float16)) for end in ("_faithful", "_change")]
    inner = onnx.helper.make_graph([], "inner", [], [])
    branch = onnx.helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    other = onnx.helper.make_node("Neg", ["vivid"], ["e"])
    double = onnx.helper.make_tensor("w_change", TensorProto.DOUBLE, [1], np.ones(1))
    for content in (
        serialized(nodes=[branch], tensors=weights),
        serialized(nodes=[other], tensors=weights),
        serialized(tensors=weights[1:]),
        serialized(tensors=[weights[0], double]),
    ):
        assert ready(content, ("vivid", 0.5), wide=True) == content


def test_a_dial_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="the input other is its dial, and it has none of that name"):
        ready(serialized(), ("other", 0.5), wide=True)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x08"])
def test_a_file_that_is_no_network_is_a_sentence(make_model: MakeModel, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sample").mkdir()
    sample = ShardWriter(tmp_path / "sample", "train")
    sample.add(noisy_photo(np.random.default_rng(0), 32, 32))
    sample.close()
    folder = tmp_path / "export"
    write_onnx(
        load_generator(make_model("compact_unet")), folder, "fp32", Photographs(tmp_path / "sample", "train", 32)
    )
    (folder / "generator.onnx").write_bytes(content)
    digest = {"generator.onnx": hashlib.sha256(content).hexdigest()}
    write_config(folder, read_config(folder).model_copy(update={"sha256": digest}))
    with pytest.raises(ModelError, match=r"generator\.onnx: cannot be loaded"):
        load_network(folder)
