"""The analysis in 8 bits: static post-training quantization, written with channels last in ONNX Runtime's operators.

Activations are uint8 with a step for each channel: a convolution may scale every channel of its result as it likes, and
the next one divides by that in its weights. Weights are -64..63, so that no pair of products leaves 16 bits where a
processor adds such pairs. Gains that depend on quality multiply the steps while the graph runs. The latent itself, and
the sum that makes it, stay in float32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre.models.blocks import ResidualBlock
from nacre.models.graph import CONTRIB, FLOAT, UINT8, GraphBuilder, value
from nacre.models.image import ImageModel
from nacre.models.scale_decoder import Z_MAX
from nacre.models.transforms import PIXEL_CENTRE, PIXEL_SCALE, Analysis, HyperAnalysis, normalize

WEIGHT_LIMIT = 63
CENTRE = 128  # of activations with both signs
UINT8_MAX = 255
CALIBRATION_POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
RESERVE = np.float32(1.15)  # of a range over what calibration saw
LEAST_REACH = np.float32(1e-6)
DOUBLED = 16  # channels at 1/8 that are carried twice
MOMENTS_EVERY = 4  # positions, of which one is taken for moments
ROUNDING_NOISE = 1 / 12  # variance that rounding adds to every input, in steps
DAMPING = 1e-3  # white noise that the inputs are taken to have as well, beside their mean variance
SHRINKS = np.linspace(0.7, 1.0, 13)

Floats = NDArray[np.float32]


class _Statistics:
    """The largest magnitude of every channel, ``reach`` (C,), over what was seen of some activations (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        self.reach = torch.zeros(channels)

    def add(self, x: Tensor) -> None:
        self.reach = torch.maximum(self.reach, x.abs().amax((0, 2, 3)))


class _Moments:
    """Mean (K,) and covariance (K, K) of what each output of a dense convolution is a product of, K = I k k."""

    def __init__(self, module: nn.Conv2d) -> None:
        self._module = module
        size = module.weight[0].numel()
        self._seen, self._sum, self._squares = 0, torch.zeros(size).double(), torch.zeros(size, size).double()

    def add(self, x: Tensor) -> None:
        module = self._module
        columns = F.unfold(x, module.kernel_size, padding=module.padding, stride=module.stride)  # type: ignore[arg-type]
        rows = columns.transpose(1, 2).flatten(0, 1)[::MOMENTS_EVERY]
        self._seen += len(rows)
        self._sum += rows.sum(0)
        self._squares += rows.t() @ rows

    def result(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean = self._sum / self._seen
        return mean.numpy(), (self._squares / self._seen - mean[:, None] * mean).numpy()


class _Layer(NamedTuple):
    """A convolution in integers: levels of its weights, what a sum of products is worth in steps of the output (O,),
    and the bias in such sums (O,)."""

    module: nn.Conv2d
    levels: NDArray[np.int8]
    scale: Floats
    bias: NDArray[np.int32]


class _Calibration:
    """Statistics of what goes into the modules of the analysis and the hyper-analysis and of what comes out."""

    def __init__(self, analysis: Analysis, hyper_analysis: HyperAnalysis, crops: Tensor) -> None:
        self._entered: dict[nn.Module, _Statistics] = {}
        self._left: dict[nn.Module, _Statistics] = {}
        self._moments: dict[nn.Module, _Moments] = {}
        handles = [
            module.register_forward_hook(self._note)
            for part in (analysis, hyper_analysis)
            for module in part.modules()
            if isinstance(module, nn.Conv2d | ResidualBlock)
        ]
        try:
            for crop in crops.split(4):
                for position in CALIBRATION_POSITIONS:
                    x = normalize(crop.float())
                    hyper_analysis(analysis(x, torch.full((len(x),), position)))
        finally:
            for handle in handles:
                handle.remove()

    def _note(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        for found, x in ((self._entered, inputs[0]), (self._left, output)):
            found.setdefault(module, _Statistics(x.shape[1])).add(x)
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            self._moments.setdefault(module, _Moments(module)).add(inputs[0])

    def reach_of(self, *modules: nn.Module) -> Floats:
        """The range (C,) of what the modules give, the widest of them."""
        reach: Floats = torch.stack([self._left[module].reach for module in modules]).amax(0).numpy()
        return np.maximum(reach * RESERVE, LEAST_REACH)

    def reach_into(self, module: nn.Module) -> Floats:
        """The range (C,) of what goes into a module."""
        return np.maximum(self._entered[module].reach.numpy() * RESERVE, LEAST_REACH)

    def moments_of(self, module: nn.Module) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and covariance of what a dense convolution's outputs are products of."""
        return self._moments[module].result()


def quantize_weight(
    weight: NDArray[np.float64], covariance: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int8], Floats]:
    """Integers of -63..63 and the step (O,) of each output channel, weight (O, K).

    The step is that of the least squared error. Given the covariance (K, K) of the inputs, weights are rounded one
    after the other and those that are left make good what the sum has lost, as far as the inputs are correlated
    (Frantar et al., GPTQ, ICLR 2023).
    """
    largest = np.maximum(np.abs(weight).max(1), 1e-12)
    tried = largest / WEIGHT_LIMIT * SHRINKS[:, None]
    errors = [np.square(_levels(weight, step) * step[:, None] - weight).sum(1) for step in tried]
    step = tried[np.argmin(errors, 0), np.arange(len(weight))]
    if covariance is None:
        return _levels(weight, step).astype(np.int8), step.astype(np.float32)
    order = np.argsort(-np.diag(covariance))
    damped = covariance[np.ix_(order, order)] + np.eye(len(order)) * (
        ROUNDING_NOISE + DAMPING * np.trace(covariance) / len(order)
    )
    inverse = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, levels = weight[:, order].copy(), np.zeros(weight.shape, np.int8)
    for number, column in enumerate(order):
        levels[:, column] = chosen = _levels(left[:, number : number + 1], step)[:, 0]
        error = (left[:, number] - chosen * step) / inverse[number, number]
        left[:, number + 1 :] -= error[:, None] * inverse[number, number + 1 :]
    return levels, step.astype(np.float32)


def _levels(weight: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(weight / step[:, None]), -WEIGHT_LIMIT, WEIGHT_LIMIT)


def export_quantized_analysis(model: ImageModel, crops: Tensor) -> onnx.ModelProto:
    """The graph in 8 bits of the light analysis and the hyper-analysis, calibrated on crops (N, 3, H, W) uint8.

    image uint8 (1, H, W, 3), position (1,) -> y (1, H/16, W/16, C), z (1, Cz, H/64, W/64) rounded and clipped.
    """
    with torch.no_grad():
        return _AnalysisWriter(model, crops).write()


def _widest(analysis: Analysis, seen: _Calibration) -> NDArray[np.int64]:
    """The channels at 1/8 whose rounding would do most to the latent, in mid quality."""
    reach = seen.reach_of(analysis.embed, *analysis.blocks).astype(np.float64)
    gains = analysis.gain(torch.tensor([0.5])).flatten().double()
    passed = (analysis.down.weight.double().square().sum((2, 3)) * gains.square()[:, None]).sum(0).numpy()
    return np.argsort(-np.square(reach) * passed)[:DOUBLED]


def _widen(model: ImageModel, doubled: NDArray[np.int64]) -> Analysis:
    """An analysis that gives the same and carries the ``doubled`` channels at 1/8 twice, the copies behind all others.

    What follows takes half of each of the two, so that they may be rounded differently; branches add twice their part
    to the first, nothing to the copy.
    """
    old, width = model.analysis, model.config.analysis_width
    new = Analysis(replace(model.config, analysis_width=width + len(doubled)))
    sources = torch.cat([torch.arange(width), torch.from_numpy(doubled)])
    taken, given = torch.ones(len(sources)), torch.ones(len(sources))
    for copy, channel in enumerate(doubled, width):
        taken[channel] = taken[copy] = 0.5
        given[channel], given[copy] = 2.0, 0.0
    state = dict(old.state_dict())
    for name in ("embed.weight", "embed.bias"):
        state[name] = state[name][sources]
    state["down.weight"] = state["down.weight"][:, sources] * taken[:, None, None]
    for number in range(len(old.blocks)):
        block = f"blocks.{number}"
        for name in ("depthwise.weight", "depthwise.bias"):
            state[f"{block}.{name}"] = state[f"{block}.{name}"][sources]
        state[f"{block}.expand.weight"] = state[f"{block}.expand.weight"][:, sources] * taken[:, None, None]
        state[f"{block}.project.weight"] = state[f"{block}.project.weight"][sources] * given[:, None, None, None]
        state[f"{block}.project.bias"] = state[f"{block}.project.bias"][sources] * given
        state[f"{block}.gain.log_gain"] = state[f"{block}.gain.log_gain"][:, sources]
    new.load_state_dict(state)
    return new.eval()


class _AnalysisWriter:
    """Writes the graph. A step (C,) is what one unit of a channel's activations is worth."""

    def __init__(self, model: ImageModel, crops: Tensor) -> None:
        self._doubled = _widest(model.analysis, _Calibration(model.analysis, model.hyper_analysis, crops))
        self._analysis, self._hyper = _widen(model, self._doubled), model.hyper_analysis
        self._seen = _Calibration(self._analysis, self._hyper, crops)
        self._graph = GraphBuilder()
        self._one = self._graph.constant("one", np.float32(1))
        self._zeros = {zero: self._graph.constant(f"zero{zero}", np.uint8(zero)) for zero in (0, CENTRE)}

    def write(self) -> onnx.ModelProto:
        graph, analysis = self._graph, self._analysis
        channels, hyper_channels = analysis.down.out_channels, self._hyper.third.out_channels
        gains = self._write_gains(analysis)
        step = _centred(self._seen.reach_of(analysis.embed, *analysis.blocks))
        copies = slice(len(step) - len(self._doubled), len(step))
        step[copies] = step[self._doubled] = np.maximum(step[copies], step[self._doubled])
        moved = np.zeros_like(step)
        moved[copies], moved[self._doubled] = -step[copies] / 4, step[copies] / 4
        current = self._embed(step, moved)
        for number, block in enumerate(_blocks(analysis.blocks)):
            name = f"block{number}"
            hidden, hidden_step = self._hidden(current, block, step, name)
            layer = self._layer(block.project, hidden_step, step)
            branch = self._convolution(hidden, 0, layer, f"{name}.project", CENTRE, gain=gains[block])
            centred = [self._one, self._zeros[CENTRE]]
            current = graph.node("QLinearAdd", [current, *centred, branch, *centred, *centred], name, domain=CONTRIB)
        rows, sides = self._down(current, step)
        for number, block in enumerate(_blocks(analysis.latent_blocks)):
            rows = self._latent_block(rows, sides, block, gains[block], f"latent{number}")
        rows = graph.node("Mul", [rows, gains[analysis]], "y.rows")
        graph.reshape(rows, "y", 1, sides, channels)
        self._hyper_analysis(rows, sides)
        return graph.model(
            "analysis_int8",
            [value("image", UINT8, 1, "height", "width", 3), value("position", FLOAT, 1)],
            [value("y", FLOAT, 1, "h", "w", channels), value("z", FLOAT, 1, hyper_channels, "hz", "wz")],
        )

    def _write_gains(self, analysis: Analysis) -> dict[nn.Module, str]:
        """The gains (C,) of the blocks and of the analysis, log-linear between anchors (see QualityGain)."""
        graph, anchors = self._graph, analysis.gain.anchors
        grid = graph.constant("anchors", np.arange(anchors, dtype=np.float32))
        place = graph.node("Mul", ["position", graph.constant("last", np.float32(anchors - 1))], "anchor.place")
        distance = graph.node("Abs", [graph.node("Sub", [place, grid], "anchor.offset")], "anchor.distance")
        weights = graph.node("Relu", [graph.node("Sub", [self._one, distance], "anchor.nearness")], "anchor.weights")
        gains: dict[nn.Module, str] = {}
        for number, module in enumerate((*analysis.blocks, *analysis.latent_blocks, analysis)):
            logs = graph.constant(f"gain{number}.logs", module.gain.log_gain.numpy())
            mixed = graph.node("MatMul", [weights, logs], f"gain{number}.log")
            gains[module] = graph.node("Exp", [mixed], f"gain{number}")
        return gains

    def _embed(self, step: Floats, moved: Floats) -> str:
        """Pixels as they are, zero at 128. ``moved`` (C,) is added, so that two copies round at different places."""
        embed = self._analysis.embed
        centre = (CENTRE - PIXEL_CENTRE) / PIXEL_SCALE
        layer = self._layer(embed, 1.0 / PIXEL_SCALE, step, centre=centre, moved=moved)
        return self._convolution("image", CENTRE, layer, "embed", CENTRE)

    def _hidden(self, source: str, block: ResidualBlock, step: Floats, name: str) -> tuple[str, Floats]:
        """The hidden activations of a residual block, after the ReLU, and their step."""
        spatial_step = _centred(self._seen.reach_into(block.expand))
        hidden_step = self._seen.reach_into(block.project) / UINT8_MAX
        layer = self._layer(block.depthwise, step, spatial_step)
        spatial = self._convolution(source, CENTRE, layer, f"{name}.depthwise", CENTRE)
        layer = self._layer(block.expand, spatial_step, hidden_step)
        return self._convolution(spatial, CENTRE, layer, f"{name}.expand", 0), hidden_step

    def _down(self, source: str, step: Floats) -> tuple[str, str]:
        """Rows (h w, C) of the latent in float32, and the sides of its grid."""
        graph, down = self._graph, self._analysis.down
        width = down.in_channels
        fine = graph.sides(source, "down.fine", 1)
        sides = graph.node("Div", [fine, graph.integers(2)], "down.sides")
        height = graph.node("Slice", [sides, graph.integers(0), graph.integers(1)], "down.height")
        across = graph.node("Slice", [sides, graph.integers(1), graph.integers(2)], "down.width")
        pairs = graph.reshape(source, "down.pairs", height, 2, across, 2 * width)
        moved = graph.transpose(pairs, "down.moved", 0, 2, 1, 3)
        rows = graph.reshape(moved, "down.rows", -1, 4 * width)
        return self._product(rows, CENTRE, self._layer(down, step, 1.0), "down"), sides

    def _latent_block(self, rows: str, sides: str, block: ResidualBlock, gain: str, name: str) -> str:
        """A residual block on rows (h w, C) in float32, its branch in 8 bits."""
        graph, channels = self._graph, block.project.out_channels
        step = _centred(self._seen.reach_into(block.depthwise))
        scaled = graph.node("Mul", [rows, graph.constant(f"{name}.steps", 1 / step)], f"{name}.scaled")
        integers = graph.node("QuantizeLinear", [scaled, self._one, self._zeros[CENTRE]], f"{name}.integers")
        source = graph.reshape(integers, f"{name}.source", 1, sides, channels)
        hidden, hidden_step = self._hidden(source, block, step, name)
        hidden_rows = graph.reshape(hidden, f"{name}.rows", -1, block.project.in_channels)
        layer = self._layer(block.project, hidden_step, 1.0)
        branch = self._product(hidden_rows, 0, layer, f"{name}.project", gain=gain)
        return graph.node("Add", [rows, branch], name)

    def _hyper_analysis(self, rows: str, sides: str) -> None:
        """z from the rows (h w, C) of y; see HyperAnalysis. sign(y) is that of y, but for magnitudes below 1e-6."""
        graph, hyper = self._graph, self._hyper
        magnitude = graph.node("Add", [graph.node("Abs", [rows], "y.magnitude"), self._one], "y.magnitude1")
        limits = [graph.constant("minus_one", np.float32(-1)), self._one]
        steep = graph.node("Mul", [rows, graph.constant("steep", np.float32(1e6))], "y.steep")
        sign = graph.node("Clip", [steep, *limits], "y.sign")
        logs = graph.node("Mul", [graph.node("Log", [magnitude], "y.log"), sign], "y.signed_log")
        step = float(self._seen.reach_into(hyper.first).max()) / (CENTRE - 1)
        inputs = [logs, graph.constant("y.log.step", np.float32(step)), self._zeros[CENTRE]]
        integers = graph.node("QuantizeLinear", inputs, "y.log.integers")
        current = graph.reshape(integers, "hyper.source", 1, sides, hyper.first.in_channels)
        step_in: Floats | float = step
        zero_in = CENTRE
        for layer, following, name in ((hyper.first, hyper.second, "first"), (hyper.second, hyper.third, "second")):
            step_out = self._seen.reach_into(following) / UINT8_MAX
            current = self._convolution(current, zero_in, self._layer(layer, step_in, step_out), f"hyper.{name}", 0)
            step_in, zero_in = step_out, 0
        current = self._convolution(current, 0, self._layer(hyper.third, step_in, 1.0), "hyper.third", CENTRE)
        centred = graph.node(
            "Sub", [graph.cast(current, "z.float", FLOAT), graph.constant("centre", np.float32(CENTRE))], "z.last"
        )
        clipped = graph.node("Max", [centred, graph.constant("z.least", np.float32(-Z_MAX))], "z.clipped")
        graph.transpose(clipped, "z", 0, 3, 1, 2)

    def _layer(
        self, module: nn.Conv2d, step_in: Floats | float, step_out: Floats | float, *,
        centre: float = 0.0, moved: Floats | float = 0.0,
    ) -> _Layer:  # fmt: skip
        """A convolution in integers. ``centre`` is what the zero of its input stands for, ``moved`` is added to its
        output.

        The bias makes good what the rounding of the weights does to the mean over the calibration pictures.
        """
        assert module.bias is not None
        exact = module.weight.double().flatten(1).numpy()
        steps = np.broadcast_to(np.float64(step_in), (module.in_channels,))
        bias = module.bias.double().numpy() + exact.sum(1) * centre + moved
        if module.groups > 1:
            levels, scale = quantize_weight(exact * steps[:, None])
        else:
            mean, covariance = self._seen.moments_of(module)
            steps = np.repeat(steps, exact.shape[1] // module.in_channels)
            levels, scale = quantize_weight(exact * steps, covariance / np.outer(steps, steps))
            bias = bias + (exact - levels * scale[:, None] / steps) @ (mean - centre)
        integers = np.rint(np.clip(bias / scale, -(2.0**30), 2.0**30)).astype(np.int32)
        shaped = levels.reshape(module.weight.shape)
        return _Layer(module, shaped, (scale / step_out).astype(np.float32), integers)

    def _convolution(
        self, source: str, zero_in: int, layer: _Layer, name: str, zero_out: int, *, gain: str | None = None
    ) -> str:
        """(1, H, W, I) -> (1, H / stride, W / stride, O), both uint8; zero_out 0 is a ReLU as well."""
        module = layer.module
        inputs = [
            source, self._one, self._zeros[zero_in], *self._constants(layer, layer.levels, name, gain), self._one,
            self._zeros[zero_out], self._graph.constant(f"{name}.bias", layer.bias),
        ]  # fmt: skip
        padding = [int(side) for side in module.padding] * 2
        return self._graph.node(
            "QLinearConv", inputs, name, domain=CONTRIB, channels_last=1, kernel_shape=list(module.kernel_size),
            pads=padding, strides=list(module.stride), group=module.groups,
        )  # fmt: skip

    def _product(self, rows: str, zero_in: int, layer: _Layer, name: str, *, gain: str | None = None) -> str:
        """Rows (n, places I) in uint8 to rows (n, O) in float32: a convolution without overlap as one product."""
        weight = layer.levels.transpose(2, 3, 1, 0).reshape(-1, len(layer.levels))
        inputs = [
            rows, self._one, self._zeros[zero_in], *self._constants(layer, weight, name, gain),
            self._graph.constant(f"{name}.bias", layer.bias),
        ]  # fmt: skip
        return self._graph.node("QGemm", inputs, name, domain=CONTRIB)

    def _constants(self, layer: _Layer, weight: NDArray[np.int8], name: str, gain: str | None) -> tuple[str, str, str]:
        """Weights, their scale, times the gain where there is one, and their zero."""
        graph = self._graph
        scale = graph.constant(f"{name}.scale", layer.scale)
        if gain is not None:
            scale = graph.node("Mul", [scale, gain], f"{name}.gained")
        zeros = graph.constant(f"{name}.weight_zero", np.zeros(len(layer.scale), np.int8))
        return graph.constant(f"{name}.weight", weight), scale, zeros


def _centred(reach: Floats) -> Floats:
    """The step of activations with both signs that reach so far."""
    return reach / np.float32(CENTRE - 1)


def _blocks(modules: nn.ModuleList) -> list[ResidualBlock]:
    return [module for module in modules if isinstance(module, ResidualBlock)]
