"""Make an exported network ready for where it runs: the dial becomes a number, and 16 bits become 32 on a CPU.

ONNX Runtime does neither. While the dial is an input, each run mixes all weights anew, and no convolution can prepare
its own. A CPU computes in 32 bits, so between 16-bit layers everything is converted back and forth. The starter model
took 96 ms for a photograph of 96x128 so, and takes 11 (two cores with AVX2).

The file is read by protobuf, which ONNX Runtime brings. The package onnx would be 31 MB for the few fields below; all
others stay as they are (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). A file with something else in it than
this module knows stays as it is, which costs time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from pipeline.models.config import CHANGE, FAITHFUL
from pipeline.types import Floats

# TensorProto.DataType.
_FLOAT, _FLOAT16 = 1, 10
# A file that is widened may have twice as many bytes, and protobuf reads 2 GiB.
_MOST_WIDENED = 2**30
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
    "Attribute": (
        ("name", 1, "string", False),
        ("i", 3, "int64", False),
        ("t", 5, "Tensor", False),
        # Graphs within the graph, as of If and Loop; nobody looks into them.
        ("g", 6, "bytes", False),
        ("graphs", 11, "bytes", True),
    ),
    "Tensor": (
        ("dims", 1, "int64", True),
        ("data_type", 2, "int32", False),
        ("float_data", 4, "float", True),
        ("int32_data", 5, "int32", True),
        ("name", 8, "string", False),
        ("raw_data", 9, "bytes", False),
    ),
    "Value": (("name", 1, "string", False),),
}


def ready(content: bytes, dial: tuple[str, float] | None, *, wide: bool) -> bytes:
    """Return an exported network as it runs fastest.

    Args:
        content: the ONNX file.
        dial: the input that mixes two networks, and where it stands, from 0 to 1; None for a file without one.
        wide: whether 16-bit numbers and arithmetic become those of 32 bits.

    Raises:
        google.protobuf.message.DecodeError: it is no ONNX file.
        ValueError: it has no such input.
    """
    model = _message("Model").FromString(content)
    graph = model.graph
    if dial is not None and all(value.name != dial[0] for value in graph.input):
        raise ValueError(f"model.json says that the input {dial[0]} is its dial, and it has none of that name")
    wide = wide and len(content) <= _MOST_WIDENED and any(_is_half(tensor) for tensor in graph.initializer)
    if any(attribute.g or attribute.graphs for attribute in _attributes(graph)):
        return content
    if dial is not None and not _can_be_mixed(graph, dial[0]):
        return content
    if dial is None and not wide:
        return content
    if dial is not None:
        _mix(graph, *dial, wide=wide)
    if wide:
        _widen(graph)
    return bytes(model.SerializeToString())


def _can_be_mixed(graph: Any, dial: str) -> bool:
    """Whether the dial does nothing but mix pairs of weights."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    pairs = [(f"{name}{FAITHFUL}", f"{name}{CHANGE}") for name in _mixed(graph)]
    steps = {change for _, change in pairs}
    given = _given(graph, dial)
    return all(
        name in tensors and tensors[name].data_type in (_FLOAT, _FLOAT16) for pair in pairs for name in pair
    ) and all(
        node.output[0] in given or (node.op_type == "Mul" and steps & {*node.input})
        for node in graph.node
        if given & {*node.input}
    )


def _mixed(graph: Any) -> set[str]:
    """Return the names of the weights that differ between the two networks."""
    return {one.name.removesuffix(CHANGE) for one in graph.initializer if one.name.endswith(CHANGE)}


def _given(graph: Any, dial: str) -> set[str]:
    """Return the names under which the nodes read the dial: in 16 bits it is cast first."""
    return {dial, *(node.output[0] for node in graph.node if dial in node.input and node.op_type == "Cast")}


def _mix(graph: Any, dial: str, at: float, *, wide: bool) -> None:
    """Put weights in the place of what computes them: faithful + at * change."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    mixed, given = _mixed(graph), _given(graph, dial)
    for name in mixed:
        weight, change = tensors[f"{name}{FAITHFUL}"], tensors[f"{name}{CHANGE}"]
        values = _values(weight) + np.float32(at) * _values(change)
        _set_values(weight, values, _FLOAT if wide else weight.data_type)
        weight.name = name
    _drop(graph.initializer, lambda tensor: tensor.name.endswith(CHANGE))
    _drop(graph.node, lambda node: bool({*node.output} & (mixed | given) or given & {*node.input}))
    _drop(graph.input, lambda value: value.name == dial)


def _widen(graph: Any) -> None:
    """Make every 16-bit number one of 32 bits, and every conversion to 16 bits one to 32."""
    held = (attribute.t for attribute in _attributes(graph) if attribute.HasField("t"))
    for tensor in (*graph.initializer, *held):
        if _is_half(tensor):
            _set_values(tensor, _values(tensor), _FLOAT)
    for attribute in _attributes(graph):
        if attribute.name in ("to", "dtype") and attribute.i == _FLOAT16:
            attribute.i = _FLOAT
    # They say the types of what lies between layers, which ONNX Runtime finds by itself.
    del graph.value_info[:]


def _attributes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield from node.attribute


def _drop(repeated: Any, unwanted: Callable[[Any], bool]) -> None:
    # One by one from the end: a new list would copy all weights.
    for place in reversed(range(len(repeated))):
        if unwanted(repeated[place]):
            del repeated[place]


def _is_half(tensor: Any) -> bool:
    return bool(tensor.data_type == _FLOAT16)


def _values(tensor: Any) -> Floats:
    """Return a tensor's numbers of 16 or 32 bits as float32."""
    if tensor.float_data:
        return np.asarray(tensor.float_data, np.float32)
    if tensor.int32_data:  # of 16-bit numbers, the bits
        return np.asarray(tensor.int32_data, np.uint16).view(np.float16).astype(np.float32)
    return np.frombuffer(tensor.raw_data, np.float16 if _is_half(tensor) else np.float32).astype(np.float32)


def _set_values(tensor: Any, values: Floats, data_type: int) -> None:
    tensor.ClearField("float_data")
    tensor.ClearField("int32_data")
    tensor.data_type = data_type
    tensor.raw_data = values.astype(np.float16 if data_type == _FLOAT16 else np.float32, copy=False).tobytes()


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
