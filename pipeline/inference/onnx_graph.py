"""Make an exported network ready for where it runs: the dial becomes a number, and 16 bits become 32 on a CPU.

ONNX Runtime does neither. While the dial is an input, each run mixes all weights anew, and no convolution can prepare
its own. A CPU computes in 32 bits, so between 16-bit layers everything is converted back and forth. The starter model
took 96 ms for a photograph of 96x128 so, and takes 11 (two cores with AVX2).

The file is read by protobuf, which ONNX Runtime brings. The package onnx would be 31 MB for the few fields below; all
others stay as they are (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from pipeline.models.config import CHANGE, FAITHFUL
from pipeline.types import Floats

# TensorProto.DataType.
_FLOAT, _FLOAT16 = 1, 10
# (name, number, type, repeated) of the fields that are read or changed; a type with a capital is a message.
_FIELDS: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "Model": (("graph", 7, "Graph", False),),
    "Graph": (
        ("node", 1, "Node", True),
        ("initializer", 5, "Tensor", True),
        ("input", 11, "Value", True),
        ("value_info", 13, "Value", True),
    ),
    "Node": (
        ("input", 1, "string", True),
        ("output", 2, "string", True),
        ("op_type", 4, "string", False),
        ("attribute", 5, "Attribute", True),
    ),
    "Attribute": (("name", 1, "string", False), ("i", 3, "int64", False), ("t", 5, "Tensor", False)),
    "Tensor": (
        ("dims", 1, "int64", True),
        ("data_type", 2, "int32", False),
        ("int32_data", 5, "int32", True),
        ("name", 8, "string", False),
        ("raw_data", 9, "bytes", False),
    ),
    "Value": (("name", 1, "string", False),),
}


def ready(content: bytes, dial: str | None, at: float | None, wide: bool) -> bytes:
    """Return an exported network as it runs fastest.

    Args:
        content: the ONNX file.
        dial: the input that mixes two networks; None for a file without one.
        at: where the dial stands, from 0 to 1.
        wide: whether 16-bit numbers and arithmetic become those of 32 bits.

    Raises:
        google.protobuf.message.DecodeError: it is no ONNX file.
    """
    model = _message("Model").FromString(content)
    graph = model.graph
    wide = wide and any(tensor.data_type == _FLOAT16 for tensor in graph.initializer)
    if dial is None and not wide:
        return content
    if dial is not None and at is not None:
        _mix(graph, dial, at, wide)
    if wide:
        _widen(graph)
    return bytes(model.SerializeToString())


def _widen(graph: Any) -> None:
    for tensor in _tensors(graph):
        if tensor.data_type == _FLOAT16:
            _set_values(tensor, _values(tensor), _FLOAT)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT16:
                attribute.i = _FLOAT
    # The types of what lies between, which ONNX Runtime finds by itself.
    del graph.value_info[:]


def _mix(graph: Any, dial: str, at: float, wide: bool) -> None:
    """Put weights in the place of what computes them: faithful + at * change."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    mixed = {name.removesuffix(CHANGE) for name in tensors if name.endswith(CHANGE)}
    for name in mixed:
        weight, change = tensors[f"{name}{FAITHFUL}"], tensors[f"{name}{CHANGE}"]
        values = _values(weight) + np.float32(at) * _values(change)
        _set_values(weight, values, _FLOAT if wide else weight.data_type)
        weight.name = name
    # In 16 bits the dial is cast first.
    given = {dial, *(node.output[0] for node in graph.node if dial in node.input and node.op_type == "Cast")}
    _keep(graph.initializer, lambda tensor: not tensor.name.endswith(CHANGE))
    _keep(graph.node, lambda node: not ({*node.output} & (mixed | given) or given & {*node.input}))
    _keep(graph.input, lambda value: value.name != dial)


def _keep(repeated: Any, wanted: Any) -> None:
    kept = [each for each in repeated if wanted(each)]
    del repeated[:]
    repeated.extend(kept)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _values(tensor: Any) -> Floats:
    """Return a tensor's numbers of 16 or 32 bits as float32."""
    dtype = np.float16 if tensor.data_type == _FLOAT16 else np.float32
    if tensor.int32_data:  # of 16-bit numbers, the bits
        return np.asarray(tensor.int32_data, np.uint16).view(np.float16).astype(np.float32)
    return np.frombuffer(tensor.raw_data, dtype).astype(np.float32)


def _set_values(tensor: Any, values: Floats, data_type: int) -> None:
    tensor.ClearField("int32_data")
    tensor.data_type = data_type
    tensor.raw_data = values.astype(np.float16 if data_type == _FLOAT16 else np.float32).tobytes()


@cache
def _message(name: str) -> Any:
    """Return the class of a message of ONNX files."""
    file = descriptor_pb2.FileDescriptorProto(name="onnx_fields.proto", package="fields", syntax="proto2")
    field_type = descriptor_pb2.FieldDescriptorProto
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for field, number, kind, repeated in fields:
            added = described.field.add(name=field, number=number)
            added.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind[0].isupper():
                added.type, added.type_name = field_type.TYPE_MESSAGE, f".fields.{kind}"
            else:
                added.type = getattr(field_type, f"TYPE_{kind.upper()}")
    # A pool of its own, where the package onnx has not registered the same.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"fields.{name}"))
