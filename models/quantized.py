"""The fastest graphs: linear transforms of 16x16 pixels in 8 bits, fitted to the trained networks.

What the residual blocks of an analysis add to its linear path is little (weights/STUDY.md), so a least-squares fit to
what it gives, in one step from pixels to latent, loses 0.3 to 0.8 % of J for a third of the time. Its inputs are
integers as they are; weights are -64..63, so that no pair of products leaves 16 bits where a processor adds such
pairs, rounded one after the other for the pixels that they meet. The latent is float32, times the gain of the quality.

Likewise the light synthesis is one linear transform in 8 bits from the decoded latent to 16x16 pixels, which the
strongest channels enter several times, rounded at different places, so that their steps are finer.

The hyper-analysis works on activations in uint8 with a step for each channel, from levels of the latent's
signed logarithm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nacre.models.blocks import QualityGain
from nacre.models.config import quality_to_lambda
from nacre.models.graph import CONTRIB, FLOAT, UINT8, GraphBuilder, value
from nacre.models.image import ImageModel
from nacre.models.scale_decoder import Z_MAX
from nacre.models.transforms import LATENT_STRIDE, Analysis, HyperAnalysis, Synthesis, normalize
from nacre.weights.store import LEVEL_STEP

WEIGHT_LIMIT = 63
CENTRE = 128  # of integers with both signs
UINT8_MAX = 255
POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the qualities that are looked at
RESERVE = np.float32(1.15)  # of a range over what calibration saw
LEAST_REACH = np.float32(1e-6)
ROUNDING_NOISE = 1 / 12  # variance that rounding adds to every input, in steps
DAMPING = 1e-3  # white noise that the inputs are taken to have as well, beside their mean variance
SEEN_EVERY = 16  # positions, of which one is kept to calibrate the light synthesis
COPIES = 96  # channels that enter the light synthesis once more
SHRINKS = np.linspace(0.7, 1.0, 13)

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


class Moments:
    """Mean (K,) and covariance (K, K) of rows that are added bit by bit."""

    def __init__(self, size: int) -> None:
        self._seen, self._sum, self._squares = 0, torch.zeros(size).double(), torch.zeros(size, size).double()

    def add(self, rows: Tensor) -> None:
        """Rows (n, K)."""
        rows = rows.double()
        self._seen += len(rows)
        self._sum += rows.sum(0)
        self._squares += rows.t() @ rows

    def result(self) -> tuple[Doubles, Doubles]:
        """Mean and covariance of all rows."""
        mean = self._sum / self._seen
        return mean.numpy(), (self._squares / self._seen - mean[:, None] * mean).numpy()


class LinearAnalysis(NamedTuple):
    """weight (C, 768) and bias (C,) from pixels less 128 to the latent before its gain, mean (768,) and covariance of
    these pixels; 16 rows of 16 pixels, colour fastest."""

    weight: Doubles
    bias: Doubles
    mean: Doubles
    covariance: Doubles


@torch.no_grad()
def fit_analysis(analysis: Analysis, crops: Tensor) -> LinearAnalysis:
    """The linear transform nearest to an analysis on crops (N, 3, H, W) uint8.

    Squares of what is left count by the gain: so much does an error of the latent matter in J.
    """
    size = 3 * LATENT_STRIDE**2
    pixels, outputs = Moments(size), analysis.gain.log_gain.shape[1]
    normal, right, total = torch.zeros(size + 1, size + 1).double(), torch.zeros(size + 1, outputs).double(), 0.0
    for crop in crops.split(8):
        rows = pixel_rows(crop)
        pixels.add(rows)
        rows = torch.cat([rows, torch.ones(len(rows), 1)], 1).double()
        own = rows.t() @ rows
        for place in POSITIONS:
            position = torch.full((len(crop),), place)
            gain = analysis.gain(position)
            y = analysis(normalize(crop.float()), position) / gain
            counts = float(gain.mean())
            normal += counts * own
            right += counts * (rows.t() @ y.permute(0, 2, 3, 1).flatten(0, 2).double())
            total += counts * len(rows)
    ridge = DAMPING * ROUNDING_NOISE * total  # far below what a pixel's own rounding is
    solution = torch.linalg.solve(normal + ridge * torch.eye(size + 1), right).t().numpy()
    mean, covariance = pixels.result()
    return LinearAnalysis(solution[:, :-1], solution[:, -1], mean, covariance)


@torch.no_grad()
def linear_latents(analysis: Analysis, linear: LinearAnalysis, crops: Tensor) -> list[Tensor]:
    """What a linear transform makes of crops (N, 3, H, W) uint8 at several qualities, each (n, C, H/16, W/16)."""
    weight, bias = torch.from_numpy(linear.weight).float(), torch.from_numpy(linear.bias).float()
    rows, columns = (side // LATENT_STRIDE for side in crops.shape[2:])
    latents = []
    for crop in crops.split(8):
        y = F.linear(pixel_rows(crop), weight, bias).view(len(crop), rows, columns, -1).permute(0, 3, 1, 2)
        latents += [y * analysis.gain(torch.full((len(crop),), place)) for place in POSITIONS]
    return latents


def pixel_rows(crops: Tensor) -> Tensor:
    """Pixels (N, 3, H, W) in 0..255 less 128, each 16x16 of them a row, colour fastest: (N H/16 W/16, 768)."""
    blocks = crops.unfold(2, LATENT_STRIDE, LATENT_STRIDE).unfold(3, LATENT_STRIDE, LATENT_STRIDE)
    return blocks.permute(0, 2, 3, 4, 5, 1).flatten(0, 2).flatten(1).float() - CENTRE


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


@torch.no_grad()
def export_linear_analysis(analysis: Analysis, linear: LinearAnalysis) -> onnx.ModelProto:
    """patches uint8 (n, 768), 16 rows of 16 pixels, colour fastest, position (1,) -> y (n, C)."""
    graph = GraphBuilder()
    levels, scale = quantize_weight(linear.weight, linear.covariance)
    lost = linear.weight - levels * scale[:, None].astype(np.float64)
    bias = linear.bias + lost @ linear.mean
    one = graph.constant("one", np.float32(1))
    inputs = ["patches", one, graph.constant("zero", np.uint8(CENTRE))]
    inputs += [graph.constant("analysis.weight", levels.T), _gained(graph, analysis.gain, scale)]
    inputs += [graph.constant("analysis.zero", np.zeros(len(scale), np.int8))]
    graph.node("QGemm", [*inputs, graph.constant("analysis.bias", _biases(bias, scale))], "y", domain=CONTRIB)
    pixels, channels = linear.weight.shape[1], len(scale)
    return graph.model(
        "analysis_int8",
        [value("patches", UINT8, "n", pixels), value("position", FLOAT, 1)],
        [value("y", FLOAT, "n", channels)],
    )


def _gained(graph: GraphBuilder, gain: QualityGain, scale: Floats) -> str:
    """The scale (C,) times a gain, log-linear between anchors (see QualityGain)."""
    anchors = gain.anchors
    grid = graph.constant("anchors", np.arange(anchors, dtype=np.float32))
    place = graph.node("Mul", ["position", graph.constant("last", np.float32(anchors - 1))], "anchor.place")
    distance = graph.node("Abs", [graph.node("Sub", [place, grid], "anchor.offset")], "anchor.distance")
    weights = graph.node(
        "Relu",
        [graph.node("Sub", [graph.constant("one", np.float32(1)), distance], "anchor.nearness")],
        "anchor.weights",
    )
    logs = graph.constant("gain.logs", gain.log_gain.detach().numpy())
    factor = graph.node("Exp", [graph.node("MatMul", [weights, logs], "gain.log")], "gain")
    return graph.node("Mul", [graph.constant("scale", scale), factor], "gained")


class LinearSynthesis(NamedTuple):
    """weight (768, C) and bias (768,) from the latent times its gain to pixels 0..255, 16 rows of 16, colour fastest;
    what was seen of such latents, rows (n, C)."""

    weight: Doubles
    bias: Doubles
    seen: Floats


@torch.no_grad()
def fit_synthesis(model: ImageModel, crops: Tensor, offsets: Tensor, skip_threshold: int) -> LinearSynthesis:
    """The linear transform that brings decoded latents nearest to crops (N, 3, H, W) uint8.

    Squared errors count by the root of lambda, as in J. offsets, skip_threshold: how symbols are chosen, see
    ``LatentModel.code_latent``.
    """
    channels, size = model.config.latent_channels, 3 * LATENT_STRIDE**2
    normal, right = torch.zeros(channels + 1, channels + 1).double(), torch.zeros(channels + 1, size).double()
    seen: list[Tensor] = []
    for crop in crops.split(8):
        pixels = (pixel_rows(crop) + CENTRE).double()
        for place in POSITIONS:
            position = torch.full((len(crop),), place)
            y = model.analysis(normalize(crop.float()), position)
            y_hat, *_ = model.code_latent(y, position, hard=True, offsets=offsets, skip_threshold=skip_threshold)
            gained = (y_hat * model.synthesis.gain(position)).permute(0, 2, 3, 1).flatten(0, 2)
            seen.append(gained[::SEEN_EVERY])
            rows = torch.cat([gained, torch.ones(len(gained), 1)], 1).double()
            counts = quality_to_lambda(100 * place) ** 0.5
            normal += counts * (rows.t() @ rows)
            right += counts * (rows.t() @ pixels)
    ridge = DAMPING * normal.diagonal().mean() * 1e-4
    solution = torch.linalg.solve(normal + ridge * torch.eye(channels + 1), right).t().numpy()
    return LinearSynthesis(solution[:, :-1], solution[:, -1], torch.cat(seen).numpy())


@torch.no_grad()
def export_linear_synthesis(synthesis: Synthesis, linear: LinearSynthesis) -> onnx.ModelProto:
    """y_hat (n, C), position (1,) -> patches uint8 (n, 768), 16 rows of 16 pixels, colour fastest."""
    reach = np.maximum(np.abs(linear.seen).max(0) * RESERVE, LEAST_REACH)
    step = (reach / (CENTRE - 1)).astype(np.float64)
    times = _copies(step * np.linalg.norm(linear.weight, axis=0))
    source = np.repeat(np.arange(len(times)), times - 1)  # of what is carried further times
    moved = np.concatenate([np.arange(1, count) / count for count in times]).astype(np.float32)
    weight = linear.weight * step / times
    whole = np.concatenate([weight, weight[:, source]], 1)
    scaled = linear.seen / step
    rows = np.concatenate([scaled, scaled[:, source] + moved], 1)
    rows = np.clip(np.rint(rows), -CENTRE, CENTRE - 1)
    mean, covariance = rows.mean(0), np.cov(rows, rowvar=False)
    levels, scale = quantize_weight(whole, covariance)
    bias = linear.bias + (whole - levels * scale[:, None].astype(np.float64)) @ mean
    bias -= whole[:, len(times) :] @ moved  # what moving them has added
    graph = GraphBuilder()
    gained = _gained(graph, synthesis.gain, (1 / step).astype(np.float32))
    current = graph.node("Mul", ["y_hat", gained], "steps")
    one, zero = graph.constant("one", np.float32(1)), graph.constant("zero", np.uint8(CENTRE))
    parts = [graph.node("QuantizeLinear", [current, one, zero], "levels")]
    again = graph.node("Gather", [current, graph.constant("source", source.astype(np.int64))], "again", axis=1)
    again = graph.node("Add", [again, graph.constant("moved", moved)], "again.moved")
    parts.append(graph.node("QuantizeLinear", [again, one, zero], "again.levels"))
    inputs = [graph.node("Concat", parts, "inputs", axis=1), one, zero, graph.constant("synthesis.weight", levels.T)]
    inputs += [graph.constant("synthesis.scale", scale), graph.constant("nothing", np.zeros(len(scale), np.int8))]
    inputs += [graph.constant("synthesis.bias", _biases(bias, scale)), one, graph.constant("black", np.uint8(0))]
    graph.node("QGemm", inputs, "patches", domain=CONTRIB)
    channels, pixels = len(times), len(scale)
    return graph.model(
        "synthesis_light",
        [value("y_hat", FLOAT, "n", channels), value("position", FLOAT, 1)],
        [value("patches", UINT8, "n", pixels)],
    )


def _copies(strength: Doubles) -> NDArray[np.int64]:
    """How often each channel is carried, COPIES more in all: whose step does most to the pixels has the most."""
    times = np.ones(len(strength), np.int64)
    for _ in range(min(COPIES, len(strength) * 3)):
        times[np.argmax(strength / times)] += 1
    return times


class _Layer(NamedTuple):
    """A convolution in integers: levels of its weights, what a sum of products is worth (O,), the bias in such sums."""

    levels: NDArray[np.int8]
    scale: Floats
    bias: NDArray[np.int32]


def _biases(bias: Doubles, scale: Floats) -> NDArray[np.int32]:
    return np.rint(np.clip(bias / scale, -(2.0**30), 2.0**30)).astype(np.int32)


@torch.no_grad()
def export_quantized_hyper_analysis(hyper: HyperAnalysis, latents: list[Tensor]) -> onnx.ModelProto:
    """levels uint8 (1, h, w, C) -> z (1, Cz, h/4, w/4), rounded and clipped; calibrated on latents (N, C, h, w).

    A level is 128 and the signed logarithm of the latent in units of LEVEL_STEP.
    """
    layers = (hyper.first, hyper.second, hyper.third)
    reach = [np.full(hyper.first.in_channels, LEVEL_STEP, np.float32)]
    moments = [Moments(layer.weight[0].numel()) for layer in layers]
    reaches = [torch.zeros(layer.in_channels) for layer in layers]
    for y in latents:
        current = torch.sign(y) * torch.log1p(y.abs())
        for number, layer in enumerate(layers):
            reaches[number] = torch.maximum(reaches[number], current.abs().amax((0, 2, 3)))
            columns = F.unfold(current, layer.kernel_size, stride=layer.stride)
            moments[number].add(columns.transpose(1, 2).flatten(0, 1))
            current = torch.relu(layer(current))
    steps = reach + [np.maximum(one.numpy() * RESERVE, LEAST_REACH) / UINT8_MAX for one in reaches[1:]]
    graph = GraphBuilder()
    current_name, zero_in = "levels", CENTRE
    for number, (layer, name) in enumerate(zip(layers, ("first", "second", "third"), strict=True)):
        last = number == len(layers) - 1
        step_out = np.ones(layer.out_channels, np.float32) if last else steps[number + 1]
        quantized = _quantize_layer(layer, steps[number], step_out, moments[number])
        current_name = _convolution(graph, layer, quantized, current_name, zero_in, CENTRE if last else 0, name)
        zero_in = 0
    centred = graph.node(
        "Sub", [graph.cast(current_name, "z.float", FLOAT), graph.constant("centre", np.float32(CENTRE))], "z.last"
    )
    clipped = graph.node("Max", [centred, graph.constant("z.least", np.float32(-Z_MAX))], "z.clipped")
    graph.transpose(clipped, "z", 0, 3, 1, 2)
    return graph.model(
        "hyper_analysis_int8",
        [value("levels", UINT8, 1, "h", "w", hyper.first.in_channels)],
        [value("z", FLOAT, 1, hyper.third.out_channels, "hz", "wz")],
    )


def _quantize_layer(layer: nn.Conv2d, step_in: Floats, step_out: Floats, moments: Moments) -> _Layer:
    """A dense convolution in integers. The bias makes good what the rounding of the weights does to the mean."""
    assert layer.bias is not None
    exact = layer.weight.double().flatten(1).numpy()
    mean, covariance = moments.result()
    steps = np.repeat(step_in.astype(np.float64), exact.shape[1] // layer.in_channels)
    levels, scale = quantize_weight(exact * steps, covariance / np.outer(steps, steps))
    bias = layer.bias.double().numpy() + (exact - levels * scale[:, None] / steps) @ mean
    return _Layer(levels.reshape(layer.weight.shape), (scale / step_out).astype(np.float32), _biases(bias, scale))


def _convolution(
    graph: GraphBuilder, layer: nn.Conv2d, integers: _Layer, source: str, zero_in: int, zero_out: int, name: str
) -> str:
    """(1, H, W, I) -> (1, H / stride, W / stride, O), both uint8; zero_out 0 is a ReLU as well."""
    one = graph.constant("one", np.float32(1))
    inputs = [
        source, one, graph.constant(f"zero{zero_in}", np.uint8(zero_in)),
        graph.constant(f"{name}.weight", integers.levels), graph.constant(f"{name}.scale", integers.scale),
        graph.constant(f"{name}.weight_zero", np.zeros(len(integers.scale), np.int8)), one,
        graph.constant(f"zero{zero_out}", np.uint8(zero_out)), graph.constant(f"{name}.bias", integers.bias),
    ]  # fmt: skip
    return graph.node(
        "QLinearConv", inputs, name, domain=CONTRIB, channels_last=1, kernel_shape=list(layer.kernel_size),
        pads=[0] * 4, strides=list(layer.stride), group=1,
    )  # fmt: skip
