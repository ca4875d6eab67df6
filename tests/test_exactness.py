"""One stream, one set of symbols: whatever runs the scale network, on however many threads."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import golden
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from numpy.typing import NDArray

from nacre.bitstream import PictureStream, read_picture, y_grid, z_grid
from nacre.entropy import Executor, TileSymbols, decode_tile, symbols_check
from nacre.entropy.network import IndexArray, PriorArray
from nacre.entropy.tables import IntArray
from nacre.inspection import QUALITY_STEPS

SIZES = [(1, 1), (17, 33), (256, 192)]
CONTENTS = ["noise", "flat", "photo", "text"]
SPREADS = [1.0, 8.0, 64.0]  # of the symbols of z that are made up: the untrained model seldom gives any but 0
QUALITIES = range(0, 101, 10)


class Coded(NamedTuple):
    """A stream and its symbols, as the product's default executor decodes them."""

    stream: PictureStream
    symbols: TileSymbols


class Counting:
    """An executor that counts its calls."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.calls = 0

    def __call__(self, z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray:
        self.calls += 1
        return self._executor(z, row, before)


@pytest.fixture(scope="module")
def model() -> golden.Model:
    return golden.Model()


@pytest.fixture(scope="module")
def coded(model: golden.Model) -> list[Coded]:
    streams: list[bytes] = []
    for width, height in SIZES:
        for content in CONTENTS:
            picture = golden.make_content(content, width, height)
            streams += [model.codec.encode(picture, quality) for quality in QUALITIES]
        for seed, (spread, quality) in enumerate(product(SPREADS, QUALITIES)):
            header = golden.make_header(model, width, height, quality * QUALITY_STEPS)
            symbols = golden.make_symbols(model, header, np.random.default_rng(seed), spread)
            streams.append(golden.write_symbols(model, header, symbols))
    read = [read_picture(io.BytesIO(data)) for data in streams]
    return [Coded(stream, *model.symbols(stream)) for stream in read]


def onnx_runtime(threads: int, level: str, model: golden.Model) -> Executor:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    data = model.weights.read("scale_decoder.onnx")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(z: IntArray, row: int, _before: PriorArray | None = None) -> IndexArray:
        inputs = {"z": z[np.newaxis].astype(np.float32), "row": np.array([row], np.int64)}
        index: IndexArray = session.run(["index"], inputs)[0][0]
        return index

    return run


def reference(model: golden.Model) -> Executor:
    return model.network


def pytorch(model: golden.Model) -> Executor:
    """The published scale decoder as PyTorch modules in float32, as training runs it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("compressai")
    from nacre.models import load

    torch.set_num_threads(1)
    network = load("tiny", weights=golden.TINY).scale_decoder.cpu()
    last = model.weights.rows - 1

    def run(z: IntArray, row: int, _before: PriorArray | None = None) -> IndexArray:
        with torch.no_grad():
            index = network(torch.from_numpy(z[np.newaxis].astype(np.float32)), torch.tensor([row / last]))
        found: NDArray[np.float32] = index[0].numpy()
        assert np.array_equal(found, np.rint(found))
        return found.astype(np.uint8)

    return run


LEVELS = {"off": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "all": "ORT_ENABLE_ALL"}
EXECUTORS: dict[str, Callable[[golden.Model], Executor]] = {"numpy": reference, "pytorch": pytorch}
EXECUTORS |= {
    f"onnxruntime-{threads}-{name}": partial(onnx_runtime, threads, level)
    for threads in (1, 2)
    for name, level in LEVELS.items()
}


@pytest.mark.parametrize("name", EXECUTORS)
def test_symbols_do_not_depend_on_the_executor(model: golden.Model, coded: list[Coded], name: str) -> None:
    executor = Counting(EXECUTORS[name](model))
    for stream, expected in coded:
        header, (tile,) = stream.header, stream.tiles
        symbols = decode_tile(
            tile.payload,
            (model.weights.hyper_channels, *z_grid(header.width, header.height)),
            (model.weights.latent_channels, *y_grid(header.width, header.height)),
            model.coder.row(header.quality),
            model.z_tables,
            model.y_tables,
            executor,
            header.live_channels,
            header.skip_threshold,
        )
        assert symbols_check(symbols.z, symbols.y[: header.live_channels]) == tile.check
        assert np.array_equal(symbols.scale_index, expected.scale_index)
        assert np.array_equal(symbols.z, expected.z)
        assert np.array_equal(symbols.y, expected.y)
    assert executor.calls == len(coded) == len(SIZES) * (len(CONTENTS) + len(SPREADS)) * len(QUALITIES)


def test_the_streams_ask_something(coded: list[Coded]) -> None:
    """The comparison above is no comparison of constants: symbols and scale indices vary, and every row occurs."""
    assert len({stream.header.quality for stream, _ in coded}) == len(QUALITIES)
    z = np.concatenate([symbols.z.ravel() for _, symbols in coded])
    assert (z.min(), z.max()) == (-127, 127)
    assert np.count_nonzero(z) > 3000
    assert len(np.unique(np.concatenate([symbols.scale_index.ravel() for _, symbols in coded]))) > 35
    assert sum(np.count_nonzero(symbols.y) for _, symbols in coded) > 100_000
