"""One ONNX file with the weights of both generators, and an input that mixes them."""

from __future__ import annotations

import numpy as np

from pipeline.models.config import CHANGE, DIAL, FAITHFUL


def with_dial(faithful: bytes, vivid: bytes) -> bytes:
    """Join two exports of one network: weights that differ become faithful's + dial * (vivid's - faithful's).

    Args:
        faithful, vivid: ONNX files whose graphs differ in nothing but the numbers of their weights.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model, begun = onnx.load_from_string(vivid), onnx.load_from_string(faithful)
    graph, nodes = model.graph, []
    first = {tensor.name: numpy_helper.to_array(tensor) for tensor in begun.graph.initializer}
    for tensor in list(graph.initializer):
        name, own = tensor.name, numpy_helper.to_array(tensor)
        if own.dtype != np.float32 or np.array_equal(own, first[name]):
            continue
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(first[name], f"{name}{FAITHFUL}"))
        graph.initializer.append(numpy_helper.from_array(own - first[name], f"{name}{CHANGE}"))
        nodes.append(helper.make_node("Mul", [f"{name}{CHANGE}", DIAL], [f"{name}_step"]))
        nodes.append(helper.make_node("Add", [f"{name}{FAITHFUL}", f"{name}_step"], [name]))
    graph.input.append(helper.make_tensor_value_info(DIAL, TensorProto.FLOAT, [1]))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
