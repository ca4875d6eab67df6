"""Modules to ONNX graphs. Parameter names stay those of the modules, so that training can start from a graph.

Weights are stored in half precision and widened by a Cast in the graph; runtimes fold it when a graph is loaded. The
graph of the scale decoder is made of matrix products over gathered neighbours alone, exact in float32.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from nacre.entropy.network import IntegerNetwork
from nacre.models.image import ImageModel
from nacre.models.scale_decoder import Z_MAX
from nacre.models.transforms import denormalize, normalize
from nacre.weights.store import ANALYSIS, HEAVY_ANALYSIS

OPSET = 17
HALF_MINIMUM = 64  # smaller initializers stay in single precision


class AnalysisGraph(nn.Module):
    """image uint8 (1, H, W, 3), position (1,) -> y (1, C, H/16, W/16), z (1, Cz, H/64, W/64) rounded and clipped."""

    def __init__(self, model: ImageModel, *, heavy: bool = False) -> None:
        super().__init__()
        self.hyper_analysis = model.hyper_analysis
        # parameters are stored by these names
        self.part = "heavy_analysis" if heavy else "analysis"
        self.add_module(self.part, model.get_submodule(self.part))

    def forward(self, image: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        y = self.get_submodule(self.part)(normalize(image.permute(0, 3, 1, 2).float()), position)
        return y, torch.round(self.hyper_analysis(y)).clamp(-Z_MAX, Z_MAX)


class ContextGraph(nn.Module):
    """target, z_hat, rounding, encoding (1,) -> symbols, y_hat: one graph for both ends (see ContextDecoder)."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.context = model.context

    def forward(self, target: Tensor, z_hat: Tensor, rounding: Tensor, encoding: Tensor) -> tuple[Tensor, Tensor]:
        symbols, y_hat = self.context(target, z_hat, rounding, encoding)
        return symbols, y_hat


class SynthesisGraph(nn.Module):
    """y_hat (1, C, h, w), position (1,) -> image uint8 (1, 16h, 16w, 3)."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.synthesis = model.synthesis

    def forward(self, y_hat: Tensor, position: Tensor) -> Tensor:
        return (
            torch.round(denormalize(self.synthesis(y_hat, position))).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        )


def _trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, not gone; it keeps parameter names
        torch.onnx.export(
            module,
            inputs,
            buffer,  # type: ignore[arg-type]
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_axes={name: dict(axis) for name, axis in axes.items()},
            opset_version=OPSET,
            dynamo=False,
            do_constant_folding=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def _halve(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Large float32 initializers become float16 ones of the same name, read through a Cast."""
    casts = []
    for number, tensor in enumerate(graph.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < HALF_MINIMUM:
            continue
        name = tensor.name
        graph.graph.initializer[number].CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
        wide = f"{name}/float"
        for node in graph.graph.node:
            for place, source in enumerate(node.input):
                if source == name:
                    node.input[place] = wide
        casts.append(helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.graph.node.insert(0, cast)
    onnx.checker.check_model(graph)
    return graph


@torch.no_grad()
def export_graphs(model: ImageModel) -> dict[str, onnx.ModelProto]:
    """The float graphs: analysis, the heavier one where there is one, context and synthesis, by file name."""
    model = model.eval().cpu().to(memory_format=torch.contiguous_format)
    config = model.config
    position = torch.tensor([0.5])
    latent, hyper = torch.zeros(1, config.latent_channels, 8, 8), torch.zeros(1, config.hyper_channels, 2, 2)
    grid = {2: "h", 3: "w"}
    graphs = {
        name: _trace(
            AnalysisGraph(model, heavy=heavy),
            (torch.zeros(1, 128, 128, 3, dtype=torch.uint8), position),
            ("image", "position"),
            ("y", "z"),
            {"image": {1: "height", 2: "width"}, "y": grid, "z": {2: "hz", 3: "wz"}},
        )
        for name, heavy in ((ANALYSIS, False), (HEAVY_ANALYSIS, True))[: 1 + config.has_heavy_analysis]
    }
    graphs["context.onnx"] = _trace(
        ContextGraph(model),
        (latent, hyper, torch.full_like(latent, 0.5), torch.tensor([1.0])),
        ("target", "z_hat", "rounding", "encoding"),
        ("symbols", "y_hat"),
        {"target": grid, "rounding": grid, "z_hat": {2: "hz", 3: "wz"}, "symbols": grid, "y_hat": grid},
    )
    graphs["synthesis.onnx"] = _trace(
        SynthesisGraph(model),
        (latent, position),
        ("y_hat", "position"),
        ("image",),
        {"y_hat": grid, "image": {1: "height", 2: "width"}},
    )
    return {name: _halve(graph) for name, graph in graphs.items()}


def export_scale_decoder(network: IntegerNetwork) -> onnx.ModelProto:
    """The integer network carried in float32: z (1, Cz, h, w), row int64 (1,) -> index uint8 (1, C, 4h, 4w).

    Only slices, 1x1 convolutions, additions, products by powers of two, floor and clip, each exact below 2^24.
    """
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []

    def constant(name: str, values: np.ndarray) -> str:  # type: ignore[type-arg]
        initializers.append(numpy_helper.from_array(values, name))
        return name

    def node(kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    current = "z"
    pads = constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    axes = constant("axes", np.array([2, 3], np.int64))
    zero, one_axis = constant("zero", np.zeros(1, np.float32)), constant("spatial", np.array([2, 3], np.int64))
    for number, layer in enumerate(network.layers):
        if layer.kind == "conv3":
            padded = node("Pad", [current, pads, zero], f"pad{number}")
            parts = []
            for dy in range(3):
                for dx in range(3):
                    tap = f"{number}.{dy}{dx}"
                    start = constant(f"start{tap}", np.array([dy, dx], np.int64))
                    # an end of -2 + d, or beyond the end for d = 2, leaves the unpadded size
                    ends = [d - 2 if d < 2 else np.iinfo(np.int64).max for d in (dy, dx)]
                    end = constant(f"end{tap}", np.array(ends, np.int64))
                    parts.append(node("Slice", [padded, start, end, axes], f"tap{tap}"))
            current = node("Concat", parts, f"columns{number}", axis=1)
        outputs = layer.weight.shape[0]
        weight = constant(f"weight{number}", layer.weight.astype(np.float32)[:, :, None, None])
        rounding = (1 << layer.shift.astype(np.int64)) >> 1
        bias_rows = layer.bias.astype(np.int64) + rounding
        total = node("Conv", [current, weight], f"product{number}")
        if len(bias_rows) > 1:
            table = constant(f"bias{number}", bias_rows.astype(np.float32))
            picked = node("Gather", [table, "row"], f"row{number}", axis=0)
            bias = node("Unsqueeze", [picked, one_axis], f"rowbias{number}")
        else:
            bias = constant(f"bias{number}", bias_rows.astype(np.float32).reshape(1, outputs, 1, 1))
        total = node("Add", [total, bias], f"sum{number}")
        factor = np.exp2(-layer.shift.astype(np.float32)).reshape(1, outputs, 1, 1)
        scaled = node("Mul", [total, constant(f"factor{number}", factor)], f"scaled{number}")
        floored = node("Floor", [scaled], f"floor{number}")
        low = constant(f"low{number}", np.array(layer.low, np.float32))
        high = constant(f"high{number}", np.array(layer.high, np.float32))
        current = node("Clip", [floored, low, high], f"activation{number}")
        if layer.upsample:
            current = node("DepthToSpace", [current], f"upsampled{number}", blocksize=2, mode="CRD")
    node("Cast", [current], "index", to=TensorProto.UINT8)
    graph = helper.make_graph(
        nodes,
        "scale_decoder",
        [
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, network.in_channels, "h", "w"]),
            helper.make_tensor_value_info("row", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("index", TensorProto.UINT8, [1, network.out_channels, "hy", "wy"])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model
