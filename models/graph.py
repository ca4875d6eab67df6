"""ONNX graphs written node by node, where tracing a module would not give the operators that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
CONTRIB = "com.microsoft"  # ONNX Runtime's own operators


class GraphBuilder:
    """Collects nodes and initializers; every value is known by its name, which is that of the node that gives it."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """An initializer; a name that is there already keeps its values."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(
                np.ascontiguousarray(values).reshape(np.shape(values)), name
            )
        return name

    def integers(self, *values: int) -> str:
        """An int64 vector, such as a shape."""
        return self.constant("int64." + "_".join(map(str, values)), np.array(values, np.int64))

    def node(self, kind: str, inputs: Sequence[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        """A node with one output, of the same name."""
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def cast(self, source: str, name: str, kind: int) -> str:
        """Another number type, one of TensorProto's."""
        return self.node("Cast", [source], name, to=kind)

    def transpose(self, source: str, name: str, *axes: int) -> str:
        """Axes in another order."""
        return self.node("Transpose", [source], name, perm=list(axes))

    def reshape(self, source: str, name: str, *shape: str | int) -> str:
        """Another shape, of numbers and of names of int64 vectors."""
        parts = [part if isinstance(part, str) else self.integers(part) for part in shape]
        wanted = self.node("Concat", parts, f"{name}.shape", axis=0) if len(parts) > 1 else parts[0]
        return self.node("Reshape", [source, wanted], name)

    def sides(self, source: str, name: str, first: int) -> str:
        """Two neighbouring entries of a shape as an int64 vector."""
        shape = self.node("Shape", [source], f"{name}.all")
        return self.node("Slice", [shape, self.integers(first), self.integers(first + 2)], name)

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The graph, checked."""
        graph = helper.make_graph(self._nodes, name, inputs, outputs, list(self._initializers.values()))
        domains = {"": OPSET} | ({CONTRIB: 1} if any(node.domain == CONTRIB for node in self._nodes) else {})
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    """What an input or output is called, its number type and its shape."""
    return helper.make_tensor_value_info(name, kind, list(shape))


FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8
