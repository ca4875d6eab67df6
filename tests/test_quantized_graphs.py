"""Graphs written operator by operator: the scale decoder, the context with channels last, effort 1's in 8 bits."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("compressai")
onnxruntime = pytest.importorskip("onnxruntime")

import nacre  # noqa: E402
from nacre import (  # noqa: E402
    latent_arrays,
    latent_kernels,
    loops,
)
from nacre.effort import parse_effort  # noqa: E402
from nacre.entropy.latent import TileSymbols  # noqa: E402
from nacre.entropy.network import IntegerLayer, IntegerNetwork  # noqa: E402
from nacre.latentcoder import position  # noqa: E402
from nacre.metrics import psnr  # noqa: E402
from nacre.models.context import NOT_CODED  # noqa: E402
from nacre.models.export import ContextGraph, export_encoder_context, export_scale_decoder  # noqa: E402
from nacre.models.image import ImageModel  # noqa: E402
from nacre.models.quantized import (  # noqa: E402
    WEIGHT_LIMIT,
    export_linear_analysis,
    export_quantized_hyper_analysis,
    fit_analysis,
    linear_latents,
    pixel_rows,
    quantize_weight,
)
from nacre.models.transforms import normalize  # noqa: E402
from nacre.padding import pad  # noqa: E402
from nacre.stopwatch import Stopwatch  # noqa: E402
from nacre.tile import TileCoder, TileCoding  # noqa: E402
from nacre.tools.export import EncoderChoice, export_fastest  # noqa: E402
from nacre.tools.tiny_model import CONFIG, build, smooth_noise  # noqa: E402
from nacre.weights import store  # noqa: E402
from nacre.weights.store import FIRST_CONTEXT, MANIFEST  # noqa: E402

TINY = Path(__file__).parent / "data" / "tiny"


@pytest.fixture(scope="module")
def model() -> ImageModel:
    torch.set_num_threads(1)
    return build().eval()


@pytest.fixture(scope="module")
def crops() -> Any:
    torch.manual_seed(5)
    return (smooth_noise(12, 128) * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def linear(model: ImageModel, crops: Any) -> Any:
    return fit_analysis(model.analysis, crops[:8])


def integer_layer(
    random: np.random.Generator, inputs: int, outputs: int, *, shift: int, high: int = 255, **form: Any
) -> IntegerLayer:
    taps = 9 if form.get("kind") == "conv3" else 1
    return IntegerLayer(
        weight=random.integers(-64, 64, (outputs, taps * inputs)).astype(np.int8),
        bias=random.integers(-900, 900, (3 if form.pop("by_row", False) else 1, outputs)).astype(np.int32),
        shift=random.integers(0, shift + 1, outputs).astype(np.uint8),
        low=0,
        high=high,
        **form,
    )


def small_network(seed: int) -> IntegerNetwork:
    """Small shifts: every second result or so of the first layers is a tie."""
    random = np.random.default_rng(seed)
    layers = (
        integer_layer(random, 3, 8, shift=2, kind="conv3", by_row=True),
        integer_layer(random, 8, 16, shift=7, kind="conv1", upsample=True),
        integer_layer(random, 4, 12, shift=9, kind="conv3", upsample=True),
        integer_layer(random, 3, 7, shift=14, high=63, kind="conv1", by_row=True),
    )
    return IntegerNetwork(layers)


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_the_scale_graph_rounds_ties_up(level: str) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    for seed in range(4):
        network = small_network(seed)
        data = export_scale_decoder(network).SerializeToString()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        random = np.random.default_rng(seed)
        for spread in (1, 9, 127):
            z = random.integers(-spread, spread + 1, (3, 9, 11)).astype(np.int32)
            for row in range(3):
                (index,) = session.run(["index"], {"z": z[None].astype(np.float32), "row": np.array([row])})
                assert np.array_equal(index[0], network.forward(z, row))


def test_a_scale_decoder_that_has_no_graph() -> None:
    network = small_network(0)
    first = replace(network.layers[0], low=-3)
    with pytest.raises(ValueError, match=r"layer 0: range -3\.\.255"):
        export_scale_decoder(IntegerNetwork((first, *network.layers[1:])))


@pytest.mark.parametrize("step_width", [False, True])
def test_the_context_graph_equals_the_module(step_width: bool) -> None:
    torch.manual_seed(1)
    model = ImageModel(replace(CONFIG, step_width=step_width)).eval()
    for layer in model.context.predict:
        torch.nn.init.normal_(layer.weight, std=0.1)
    y = 4 * torch.randn(1, CONFIG.latent_channels, 8, 12)
    z = torch.randint(-3, 4, (1, CONFIG.hyper_channels, 2, 3)).float()
    rounding = torch.where(torch.rand(y.shape) < 0.7, 0.5 - 0.2 * torch.rand(y.shape), NOT_CODED)
    one, zero = torch.ones(1), torch.zeros(1)
    with torch.no_grad():
        _, symbols, y_hat = model.context(y, z, rounding, one)
        graph = ContextGraph(model)
        found, found_y_hat = graph(y, z, rounding, one)
        again, decoded = graph(symbols, z, torch.full_like(y, 0.5), zero)
    assert torch.equal(found, symbols)
    assert torch.allclose(found_y_hat, y_hat, atol=1e-4)
    assert torch.equal(again, symbols)
    assert torch.equal(decoded, found_y_hat)


def test_weights_rounded_for_their_inputs() -> None:
    random = np.random.default_rng(2)
    weight = random.normal(size=(6, 40))
    factors = random.normal(size=(5, 40))  # inputs that are strongly correlated
    covariance = factors.T @ factors * 30

    def error(levels: NDArray[np.int8], step: NDArray[np.float32]) -> float:
        lost = levels * step[:, None] - weight
        return float(np.einsum("ok,kj,oj->", lost, covariance, lost))

    plain, chosen = quantize_weight(weight), quantize_weight(weight, covariance)
    assert np.abs(chosen[0]).max() <= WEIGHT_LIMIT
    assert error(*chosen) < 0.05 * error(*plain)


def run(graph: Any, outputs: list[str], feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[NDArray[Any]] = session.run(outputs, feed)
    return found


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_the_linear_analysis_in_8_bits(model: ImageModel, crops: Any, linear: Any, position: float) -> None:
    graph = export_linear_analysis(model.analysis, linear)
    image, place = crops[9:10], torch.tensor([position])
    patches = (pixel_rows(image) + 128).to(torch.uint8).numpy()
    (y,) = run(graph, ["y"], {"patches": patches, "position": place.numpy()})
    with torch.no_grad():
        expected = model.analysis(normalize(image.float()), place).permute(0, 2, 3, 1).reshape(y.shape)
    # the fit leaves what is not linear, 8 bits next to nothing
    exact = (patches - 128.0) @ linear.weight.T + linear.bias
    gain = model.analysis.gain(place).flatten().detach().numpy()
    assert np.sqrt(np.mean(np.square(y - exact * gain))) < 0.01 * float(expected.std())
    assert np.sqrt(np.mean(np.square(y - expected.numpy()))) < 0.1 * float(expected.std())
    (weight,) = (onnx.numpy_helper.to_array(t) for t in graph.graph.initializer if t.name == "analysis.weight")
    assert weight.dtype == np.int8
    assert weight.min() >= -64
    assert weight.max() <= 63


def test_a_linear_analysis_is_found_again(crops: Any) -> None:
    model = ImageModel(replace(CONFIG, analysis_blocks=0, analysis_latent_blocks=0)).eval()
    linear = fit_analysis(model.analysis, crops)
    for latent, place in zip(linear_latents(model.analysis, linear, crops[:1]), (0.0, 0.25, 0.5), strict=False):
        with torch.no_grad():
            expected = model.analysis(normalize(crops[:1].float()), torch.tensor([place]))
        assert float((latent - expected).std()) < 0.01 * float(expected.std())


def test_the_hyper_analysis_in_8_bits(model: ImageModel, crops: Any, linear: Any) -> None:
    latents = linear_latents(model.analysis, linear, crops)
    graph = export_quantized_hyper_analysis(model.hyper_analysis, latents[:-1])
    y = latents[-1][:1]
    with torch.no_grad():
        expected = torch.round(model.hyper_analysis(y)).clamp(-127, 127).numpy()
    rows = y.permute(0, 2, 3, 1).contiguous().numpy()
    levels = np.empty(rows.shape, np.uint8)
    latent_arrays.levels(rows.reshape(-1).view(np.uint32), latent_arrays.level_table(), levels.reshape(-1))
    (z,) = run(graph, ["z"], {"levels": levels})
    assert z.shape == expected.shape
    assert np.array_equal(z, np.rint(z))
    assert np.abs(z - expected).max() <= 1


def test_the_encoder_s_context_graphs_step_by_step(model: ImageModel) -> None:
    torch.manual_seed(3)
    graphs = list(export_encoder_context(model).values())
    y = 4 * torch.randn(1, CONFIG.latent_channels, 8, 12)
    z = torch.randint(-3, 4, (1, CONFIG.hyper_channels, 2, 3)).float()
    with torch.no_grad():
        _, symbols, y_hat = model.context(y, z)
    state, mean = run(graphs[0], ["state", "mean"], {"z_hat": z.numpy()})
    for step, (row, column) in enumerate(((0, 0), (1, 1), (0, 1), (1, 0)), 1):
        chosen, decoded = (part[0, :, row::2, column::2].permute(1, 2, 0).flatten(0, 1) for part in (symbols, y_hat))
        assert np.allclose(mean + chosen.numpy(), decoded.numpy(), atol=0.02)  # weights of 16 and 8 bits
        if step < 4:
            feed = {"state": state, "y_hat": decoded.numpy(), "step": np.array(step)}
            state, mean = run(graphs[1], ["next_state", "mean"], feed)


@pytest.fixture(scope="module")
def fastest(tmp_path_factory: pytest.TempPathFactory, model: ImageModel, crops: Any) -> Path:
    """A folder with the tiny weights and the graphs of effort 1."""
    folder = tmp_path_factory.mktemp("weights")
    shutil.copytree(TINY, folder / "tiny")
    manifest = json.loads((folder / "tiny" / MANIFEST).read_text())
    choice = EncoderChoice(torch.full((64,), 0.5), 4)
    for name, graph in export_fastest(model, crops[:8], choice).items():
        data = graph.SerializeToString()
        (folder / "tiny" / name).write_bytes(data)
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "tiny" / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_effort_1_takes_the_fastest_graphs(fastest: Path, crops: Any) -> None:
    codec, plain = (nacre.ImageCodec("tiny", 1, folder) for folder in (fastest, TINY))
    picture = crops[10].permute(1, 2, 0).contiguous().numpy()
    streams = [codec.encode(picture, 60, effort=1), codec.encode(picture, 60, effort=2)]
    assert streams[1] == plain.encode(picture, 60, effort=2)
    assert streams[0] != streams[1]
    fidelities = [psnr(picture, plain.decode_array(stream)) for stream in streams]
    assert fidelities[0] == pytest.approx(fidelities[1], abs=0.2)
    assert len(streams[0]) == pytest.approx(len(streams[1]), rel=0.05)


def test_weights_with_one_of_the_fastest_graphs_alone(tmp_path: Path, fastest: Path, crops: Any) -> None:
    shutil.copytree(fastest / "tiny", tmp_path / "tiny")
    manifest = json.loads((tmp_path / "tiny" / MANIFEST).read_text())
    del manifest["files"][FIRST_CONTEXT]
    (tmp_path / "tiny" / MANIFEST).write_text(json.dumps(manifest))
    codec = nacre.ImageCodec("tiny", 1, tmp_path)
    picture = crops[10].permute(1, 2, 0).contiguous().numpy()
    assert codec.encode(picture, 60, effort=1) == codec.encode(picture, 60, effort=2)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 100), (100, 64)])
@pytest.mark.parametrize("quality", [0, 30, 90])  # of which the first two leave channels out
def test_the_fastest_graphs_choose_what_the_others_choose(
    fastest: Path, monkeypatch: pytest.MonkeyPatch, crops: Any, size: tuple[int, int], quality: int
) -> None:
    """Given the same latent, but for ties; no symbol is where the stream has no place for one."""
    coder = TileCoder(store.load("tiny", fastest), 1)
    pixels = crops[11].permute(1, 2, 0).contiguous().numpy()[: size[0], : size[1]]

    def latents(_names: Sequence[str], _inputs: dict[str, Any]) -> list[Any]:
        return [rows]

    def hyper_latents(_names: Sequence[str], _inputs: dict[str, Any]) -> list[Any]:
        return [z]

    y, z = coder._analysis.run(["y", "z"], {"image": pad(pixels)[None], "position": position(quality * 256)})
    rows = np.ascontiguousarray(y[0].reshape(y.shape[1], -1).T)
    monkeypatch.setattr(coder._fastest._analysis, "run", latents)
    monkeypatch.setattr(coder._fastest._hyper_analysis, "run", hyper_latents)
    step = quality * 256
    coding = TileCoding(*size[::-1], step, coder.live_channels(step), coder.weights.skip_threshold)

    def symbols(level: int) -> TileSymbols:
        written = coder.encode(pixels, step, Stopwatch(), parse_effort(level))
        return coder.decode_symbols(*written, coding, Stopwatch())

    first, second = symbols(1), symbols(2)
    assert np.array_equal(first.z, second.z)
    assert np.count_nonzero(first.y != second.y) <= 2
    assert min(quality, *size) < 16 or np.count_nonzero(first.y) > 10


def test_effort_1_measures_what_it_writes(fastest: Path, crops: Any) -> None:
    coder = TileCoder(store.load("tiny", fastest), 1)
    pixels = crops[9].permute(1, 2, 0).contiguous().numpy()[:50, :90]
    payload, check, decoded = coder.encode_and_reconstruct(pixels, 15000, Stopwatch(), parse_effort(1))
    assert (payload, check) == coder.encode(pixels, 15000, Stopwatch(), parse_effort(1))
    coding = TileCoding(90, 50, 15000, coder.live_channels(15000), coder.weights.skip_threshold)
    symbols = coder.decode_symbols(payload, check, coding, Stopwatch())
    assert np.array_equal(coder.reconstruct(symbols, coding, Stopwatch()), decoded)


def test_what_compiled_loops_choose_is_the_same(fastest: Path, monkeypatch: pytest.MonkeyPatch, crops: Any) -> None:
    coder = TileCoder(store.load("tiny", fastest), 1)
    pixels = crops[8].permute(1, 2, 0).contiguous().numpy()[:90, :70]
    written = []
    for compiled in (False, True):
        monkeypatch.setattr(loops, "compiling_pays", lambda compiled=compiled: compiled)
        written += [coder.encode(picture, 15000, Stopwatch(), parse_effort(1)) for picture in (pixels, pixels[..., 0])]
    assert loops._compiled_loops() is latent_kernels
    assert written[:2] == written[2:]
    assert written[0] != written[1]


def test_where_numba_cannot_compile_numpy_serves(fastest: Path, monkeypatch: pytest.MonkeyPatch, crops: Any) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    coder = TileCoder(store.load("tiny", fastest), 1)
    pixels = crops[8].permute(1, 2, 0).contiguous().numpy()
    expected = coder.encode(pixels, 15000, Stopwatch(), parse_effort(1))
    monkeypatch.setattr(loops, "compiling_pays", lambda: True)
    monkeypatch.setattr(latent_kernels, "transpose", full)
    loops._compiled_loops.cache_clear()
    assert loops._compiled_loops() is None
    assert coder.encode(pixels, 15000, Stopwatch(), parse_effort(1)) == expected
    loops._compiled_loops.cache_clear()
