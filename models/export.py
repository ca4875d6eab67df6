"""Modules to ONNX graphs. Parameter names stay those of the modules, so that training can start from a graph.

Weights are stored in half precision and widened by a Cast in the graph; runtimes fold it when a graph is loaded. The
graph of the scale decoder is written in 8-bit operators, exact by argument and tested when it is loaded.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nacre.entropy.network import IntegerLayer, IntegerNetwork
from nacre.models.adjoint import DistortionGradient
from nacre.models.context import STEP_ORDER
from nacre.models.graph import FLOAT, INT64, OPSET, UINT8, GraphBuilder, value
from nacre.models.image import ImageModel
from nacre.models.latent import LatentModel
from nacre.models.scale_decoder import Z_MAX
from nacre.models.storage import compact
from nacre.models.transforms import PATCH, denormalize, normalize
from nacre.weights.store import (
    ANALYSIS,
    FIRST_CONTEXT,
    HEAVY_ANALYSIS,
    NEXT_CONTEXT,
    REFINEMENT,
    SYNTHESIS,
)


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


class ContextSteps(nn.Module):
    """The context decoder as graphs have it (see ContextDecoder).

    The same mathematics with channels last: a quarter of the grid is then made of whole rows of channels, which are
    copied, where ``pixel_unshuffle`` moves single numbers, and every 1x1 convolution is a matrix product. At ties, and
    only there, the encoder's rounding may choose the other integer.
    """

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.context = model.context

    def decode(
        self, target: Tensor, z_hat: Tensor, rounding: Tensor, encoding: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Symbols and y_hat; condition: (h/2 * w/2, context_width), what is added to the first state."""
        channels = target.shape[1]
        state, height, width = self._first_state(z_hat)
        if condition is not None:
            state = state + condition
        targets = self._quarters(target, channels, height, width)
        thresholds = 0.5 - self._quarters(rounding, channels, height, width)
        symbols, decoded = self._steps(state, height, width, targets.unbind(), thresholds.unbind(), encoding)
        return self._whole(symbols, channels, height, width), self._whole(decoded, channels, height, width)

    def _steps(
        self,
        state: Tensor,
        height: int,
        width: int,
        targets: Sequence[Tensor],
        thresholds: Sequence[Tensor],
        encoding: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Symbols and y_hat of each place 2 * dy + dx, (height * width, channels), from the first state.

        thresholds: 1/2 less the rounding offset.
        """
        context = self.context
        symbols, decoded = list(targets), list(targets)
        for step, place in enumerate(STEP_ORDER):
            layers = context.spatial[step], context.mix[step], context.predict[step]
            parameters = self._mean(state.reshape(height, width, -1), *layers)
            channels = targets[place].shape[-1]
            mean = parameters[:, :channels] if context.step_width else parameters
            residual = targets[place] - encoding * mean
            if context.step_width:
                step_size = torch.exp(0.5 * torch.tanh(parameters[:, channels:]))
                residual = residual * (encoding / step_size + (1.0 - encoding))
            # sign(r) floor(abs(r) + offset) is the integer next to r moved towards 0 by the threshold
            threshold = thresholds[place]
            symbol = torch.round(residual - torch.maximum(torch.minimum(residual, threshold), -threshold))
            y_hat = mean + (symbol * step_size if context.step_width else symbol)
            symbols[place], decoded[place] = symbol, y_hat
            if step < len(context.absorb):
                state = state + _product(y_hat, context.absorb[step])
        return symbols, decoded

    @staticmethod
    def _mean(state: Tensor, spatial: nn.Module, mix: nn.Module, predict: nn.Module) -> Tensor:
        """What a step predicts (height * width, outputs) from its state (height, width, C)."""
        height, width, _ = state.shape
        features = spatial(state[None].permute(0, 3, 1, 2)).permute(0, 2, 3, 1).reshape(height * width, -1)
        return _product(torch.relu(_product(features, mix)), predict)

    def _first_state(self, z_hat: Tensor) -> tuple[Tensor, int, int]:
        """The state (height * width, C) before the first step, and the sides of its grid at 1/32."""
        context = self.context
        hidden = torch.relu(context.hyper(z_hat))
        _, inputs, rows, columns = hidden.shape
        outputs = context.hyper_up.weight.shape[0] // 4
        weight = context.hyper_up.weight.flatten(1).view(outputs, 4, inputs).permute(1, 0, 2).reshape(-1, inputs)
        assert context.hyper_up.bias is not None
        bias = context.hyper_up.bias.view(outputs, 4).permute(1, 0).flatten()
        fine = F.linear(hidden.permute(0, 2, 3, 1).reshape(-1, inputs), weight, bias)
        state = fine.view(rows, columns, 2, 2, outputs).permute(0, 2, 1, 3, 4).reshape(-1, outputs)
        return state, 2 * rows, 2 * columns

    @staticmethod
    def _quarters(x: Tensor, channels: int, height: int, width: int) -> Tensor:
        """Places 2 * dy + dx of the 2x2 grid, (4, height * width, channels), of x (1, channels, 2 height, 2 width)."""
        rows = x.view(channels, -1).t().reshape(height, 2, width, 2, channels)
        return rows.permute(1, 3, 0, 2, 4).reshape(4, -1, channels)

    @staticmethod
    def _whole(parts: list[Tensor], channels: int, height: int, width: int) -> Tensor:
        """The inverse of ``_quarters``."""
        grid = torch.stack(parts).view(2, 2, height, width, channels).permute(2, 0, 3, 1, 4)
        return grid.reshape(-1, channels).t().reshape(1, channels, 2 * height, 2 * width)


class ContextGraph(ContextSteps):
    """target, z_hat, rounding, encoding (1,) -> symbols, y_hat: one graph for both ends."""

    def forward(self, target: Tensor, z_hat: Tensor, rounding: Tensor, encoding: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(target, z_hat, rounding, encoding)


class FirstContextGraph(ContextSteps):
    """z_hat -> state (h/2, w/2, context_width) and mean (h/2 * w/2, C) of the places that are decoded first.

    With ``NextContextGraph`` the context decoder of an encoder that chooses symbols between the steps.
    """

    def forward(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        state, height, width = self._first_state(z_hat)
        state = state.reshape(height, width, -1)
        return state, self._mean(state, self.context.spatial[0], self.context.mix[0], self.context.predict[0])


class NextContextGraph(ContextSteps):
    """state, y_hat (h/2 * w/2, C) of the places decoded last, step int64 () in 1..3 -> state and mean of the next."""

    def forward(self, state: Tensor, y_hat: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        context = self.context
        before = step - 1
        known = F.linear(y_hat, *_chosen(context.absorb, before))
        state = state + known.reshape(state.shape)
        height, width, channels = state.shape
        kernel, bias = _chosen(context.spatial, before, 1)
        rows = state.reshape(1, height, width, channels).permute(0, 3, 1, 2)
        spatial = F.conv2d(rows, kernel.view(channels, 1, 3, 3), bias, padding=1, groups=channels)
        features = spatial.permute(0, 2, 3, 1).reshape(height * width, channels)
        hidden = torch.relu(F.linear(features, *_chosen(context.mix, before, 1)))
        return state, F.linear(hidden, *_chosen(context.predict, before, 1))


def _chosen(layers: nn.ModuleList, number: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """Weight (outputs, inputs) and bias of one of several layers of the same shape, from the first on."""
    chosen = [layer for layer in layers if isinstance(layer, nn.Conv2d)][first:]
    weights = torch.stack([layer.weight.flatten(1) for layer in chosen])
    biases = torch.stack([layer.bias for layer in chosen if layer.bias is not None])
    return weights[number], biases[number]


def _product(x: Tensor, layer: nn.Module) -> Tensor:
    """A 1x1 convolution of rows x (n, inputs)."""
    assert isinstance(layer, nn.Conv2d)
    return F.linear(x, layer.weight.flatten(1), layer.bias)


class SynthesisGraph(nn.Module):
    """y_hat (1, C, h, w), position (1,) -> image uint8 (1, 16h, 16w, 3)."""

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self.synthesis = model.synthesis

    def forward(self, y_hat: Tensor, position: Tensor) -> Tensor:
        return _to_uint8(self.synthesis(y_hat, position)).permute(0, 2, 3, 1)


def _to_uint8(x: Tensor) -> Tensor:
    """Normalized samples as pixels."""
    return torch.round(denormalize(x)).clamp(0, 255).to(torch.uint8)


def trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> onnx.ModelProto:
    """The graph of a module, called with ``inputs``; axes: names of the sides that may vary."""
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


@torch.no_grad()
def export_graphs(model: ImageModel) -> dict[str, onnx.ModelProto]:
    """The float graphs by file name; the heavier analysis where there is one."""
    model = model.eval().cpu().to(memory_format=torch.contiguous_format)
    config = model.config
    position = torch.tensor([0.5])
    latent, hyper = torch.zeros(1, config.latent_channels, 8, 8), torch.zeros(1, config.hyper_channels, 2, 2)
    grid = {2: "h", 3: "w"}
    graphs = {
        name: trace(
            AnalysisGraph(model, heavy=heavy),
            (torch.zeros(1, 128, 128, 3, dtype=torch.uint8), position),
            ("image", "position"),
            ("y", "z"),
            {"image": {1: "height", 2: "width"}, "y": grid, "z": {2: "hz", 3: "wz"}},
        )
        for name, heavy in ((ANALYSIS, False), (HEAVY_ANALYSIS, True))[: 1 + config.has_heavy_analysis]
    }
    graphs["context.onnx"] = trace(
        ContextGraph(model),
        (latent, hyper, torch.full_like(latent, 0.5), torch.tensor([1.0])),
        ("target", "z_hat", "rounding", "encoding"),
        ("symbols", "y_hat"),
        {"target": grid, "rounding": grid, "z_hat": {2: "hz", 3: "wz"}, "symbols": grid, "y_hat": grid},
    )
    graphs[SYNTHESIS] = trace(
        SynthesisGraph(model),
        (latent, position),
        ("y_hat", "position"),
        ("image",),
        {"y_hat": grid, "image": {1: "height", 2: "width"}},
    )
    samples = torch.zeros(1, 3 * PATCH**2, 16, 16, dtype=torch.uint8)
    fine = {2: "h8", 3: "w8"}
    graphs[REFINEMENT] = trace(
        DistortionGradient(model),
        (latent, samples, samples, position),
        ("y_hat", "patches", "counted", "position"),
        ("gradient", "distortion"),
        {"y_hat": grid, "patches": fine, "counted": fine, "gradient": grid},
    )
    return {name: compact(graph) for name, graph in graphs.items()}


@torch.no_grad()
def export_encoder_context(model: ImageModel) -> dict[str, onnx.ModelProto]:
    """The graphs of ``FirstContextGraph`` and ``NextContextGraph`` by file name."""
    config, model = model.config, model.eval()
    state = torch.zeros(4, 4, config.context_width)
    grid, rows = {0: "h2", 1: "w2"}, {0: "n"}
    graphs = {
        FIRST_CONTEXT: trace(
            FirstContextGraph(model),
            (torch.zeros(1, config.hyper_channels, 2, 2),),
            ("z_hat",),
            ("state", "mean"),
            {"z_hat": {2: "hz", 3: "wz"}, "state": grid, "mean": rows},
        ),
        NEXT_CONTEXT: trace(
            NextContextGraph(model),
            (state, torch.zeros(16, config.latent_channels), torch.tensor(1)),
            ("state", "y_hat", "step"),
            ("next_state", "mean"),
            {"state": grid, "y_hat": rows, "next_state": grid, "mean": rows},
        ),
    }
    return {name: compact(graph) for name, graph in graphs.items()}


def export_scale_decoder(network: IntegerNetwork) -> onnx.ModelProto:
    """The integer network: z (1, Cz, h, w), row int64 (1,) -> index uint8 (1, C, 4h, 4w).

    With a prior ``before``, uint8 (1, C, 4h, 4w), is a further input.

    Every layer is one QLinearConv with inputs in uint8, z moved by 128, and weights whose products fit 16 bits in
    pairs. It accumulates in int32, multiplies by 2^-s in float32, rounds half to even and cuts off at 0 and 255. That
    is floor((x + 2^(s-1)) / 2^s) for all x but the ties, and the factor is the next float above 2^-s: it moves a
    positive tie up by 1 or 2 ulp, as wanted, a negative one down, to where 0 is the result either way, and cannot
    reach anything else, since the next smaller fraction below a tie is 2^-s away and 2 ulp are at most 2^(bits - 23).
    """
    graph = GraphBuilder()
    input_zero = graph.constant("z_zero", np.uint8(Z_MAX + 1))
    shifted = graph.node("Add", ["z", graph.constant("z_offset", np.float32(Z_MAX + 1))], "shifted")
    current = graph.cast(shifted, "z_uint8", UINT8)
    inputs = [value("z", FLOAT, 1, network.in_channels, "h", "w"), value("row", INT64, 1)]
    for number, layer in enumerate(network.layers):
        if network.prior is not None and number == len(network.layers) - 1:
            inputs.append(value("before", UINT8, 1, network.out_channels, "hy", "wy"))
            known = _integer_convolution(graph, network.prior, "before", None, "prior")
            current = graph.node("Concat", [current, known], "with_prior", axis=1)
        current = _integer_convolution(graph, layer, current, None if number else input_zero, str(number))
    graph.node("Identity", [current], "index")
    return graph.model("scale_decoder", inputs, [value("index", UINT8, 1, network.out_channels, "hy", "wy")])


def _integer_convolution(graph: GraphBuilder, layer: IntegerLayer, source: str, zero: str | None, name: str) -> str:
    """A layer of the integer network on uint8; zero: what stands for 0 in its input, if not 0."""
    bits = int(layer.high).bit_length()
    if layer.low != 0 or bits > 8 or int(layer.shift.max()) + bits >= 23:
        msg = f"scale decoder: layer {name}: range {layer.low}..{layer.high}, shift {layer.shift.max()}: no graph"
        raise ValueError(msg)
    outputs, side = len(layer.weight), 3 if layer.kind == "conv3" else 1
    # place-major channels before upsampling: what moves then is whole rows of channels
    order = np.arange(outputs).reshape(-1, 4).T.ravel() if layer.upsample else np.arange(outputs)
    weight = layer.weight.reshape(outputs, side, side, -1).transpose(0, 3, 1, 2)[order]
    factor = np.nextafter(np.exp2(-layer.shift[order].astype(np.float32)), np.float32(2), dtype=np.float32)
    bias = graph.constant(f"bias{name}", layer.bias[:, order] if len(layer.bias) > 1 else layer.bias[0, order])
    if len(layer.bias) > 1:
        picked = graph.node("Gather", [bias, "row"], f"row{name}", axis=0)
        bias = graph.node("Squeeze", [picked, graph.integers(0)], f"row_bias{name}")
    one, nothing = graph.constant(f"one{name}", np.float32(1)), graph.constant(f"zero{name}", np.uint8(0))
    parameters = (
        graph.constant(f"weight{name}", weight),
        graph.constant(f"factor{name}", factor),
        graph.constant(f"weight_zero{name}", np.zeros(outputs, np.int8)),
    )
    inputs = [source, one, zero or nothing, *parameters, one, nothing, bias]
    current = graph.node("QLinearConv", inputs, f"layer{name}", kernel_shape=[side, side], pads=[side // 2] * 4)
    if layer.high < 255:
        current = graph.node("Min", [current, graph.constant(f"high{name}", np.uint8(layer.high))], f"cut{name}")
    return _upsample(graph, current, outputs // 4, f"up{name}") if layer.upsample else current


def _upsample(graph: GraphBuilder, source: str, channels: int, name: str) -> str:
    """(1, 4 C, h, w), channels (2 dy + dx) C + c -> (1, C, 2h, 2w), by way of channels last."""
    rows = graph.transpose(source, f"{name}.last", 0, 2, 3, 1)
    sides = graph.sides(rows, f"{name}.sides", 1)
    pairs = graph.reshape(rows, f"{name}.pairs", sides, 2, 2 * channels)
    moved = graph.transpose(pairs, f"{name}.moved", 0, 2, 1, 3)
    double = graph.node("Mul", [sides, graph.integers(2)], f"{name}.double")
    whole = graph.reshape(moved, f"{name}.whole", 1, double, channels)
    return graph.transpose(whole, name, 0, 3, 1, 2)
