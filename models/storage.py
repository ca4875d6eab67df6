"""How weights are stored in graphs: 16 bits a number, 8 where J does not feel it (weights/STUDY.md)."""

from __future__ import annotations

import re

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

MINIMUM = 64  # smaller initializers stay in single precision
STEP = "/step"  # behind the name of a matrix of 8 bits: the steps of its rows
_LEVELS = 127
# What residual branches and the context's hidden layers multiply by; what is on a transform's linear path has 16 bits.
_COARSE = re.compile(r"(expand|project|context\.(hyper|hyper_up|mix\.\d+|absorb\.\d+))\.weight\Z")


def compact(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Large float32 initializers become float16 ones, or int8 ones with a step a row, read through further nodes.

    ONNX Runtime computes these nodes when it loads the graph. Names of initializers stay what they were.
    """
    nodes: list[NodeProto] = []
    for tensor in list(graph.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < MINIMUM:
            continue
        name, wide = tensor.name, f"{tensor.name}/float"
        for node in graph.graph.node:
            for place, source in enumerate(node.input):
                if source == name:
                    node.input[place] = wide
        if _COARSE.search(name):
            levels, steps = _quantized(values)
            tensor.CopyFrom(numpy_helper.from_array(levels, name))
            graph.graph.initializer.append(numpy_helper.from_array(steps, name + STEP))
            whole = f"{name}/whole"
            nodes.append(helper.make_node("Cast", [name], [whole], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [whole, name + STEP], [wide]))
        else:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
            nodes.append(helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT))
    for node in reversed(nodes):
        graph.graph.node.insert(0, node)
    onnx.checker.check_model(graph)
    return graph


def initializers(graph: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """Initializers by name in single precision; what the exporter stored once for several equal ones, by each name."""
    stored = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.graph.initializer}
    values = {name: array * stored.get(name + STEP, np.float32(1)) for name, array in stored.items()}
    for node in graph.graph.node:  # in topological order
        if node.op_type in ("Identity", "Cast") and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].copy()
    return values


def _quantized(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Levels of a matrix (O, ...) and the step of each row, (O, 1, ...)."""
    rows = values.reshape(len(values), -1)
    steps = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny * 256) / np.float32(_LEVELS)
    steps = steps.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return np.rint(values / steps).astype(np.int8), steps
