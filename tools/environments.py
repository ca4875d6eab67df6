"""The codecs with their networks and coder run in a named way: what comparisons of environments are made of.

An environment says what runs the float networks, what runs the integer scale network, which range coder codes, and
which form of motion compensation predicts. `installed` puts it under the product's own code, so that streams are made
and read as they always are, and counts what was called: a row that names an executor proves that this executor ran.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nacre.framecoder
import nacre.latentcoder
import nacre.tile
import nacre.video
from nacre.backend import ScaleGraph
from nacre.bitstream.errors import InputError
from nacre.compensation import Field, Planes, compensate, compensate_reference
from nacre.entropy import (
    PYTHON_ENGINE,
    CompiledEngine,
    ConstrictionEngine,
    Engine,
    Executor,
    SymbolDecoder,
    SymbolEncoder,
    TileSymbols,
    decode_tile,
    encode_tile,
)
from nacre.entropy.network import IndexArray, IntegerNetwork, PriorArray, known_answer
from nacre.entropy.tables import IntArray
from nacre.framecoder import FrameCoder, FrameSymbols
from nacre.weights.store import Weights

LEVELS = {"off": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "all": "ORT_ENABLE_ALL"}


@dataclass(frozen=True, slots=True)
class Environment:
    """networks: onnxruntime or pytorch (pictures alone); scale: onnxruntime, pytorch or numpy; coder: constriction,
    compiled or python; compensation: default, which is numba's where that is installed, or numpy.
    """

    name: str
    networks: str = "onnxruntime"
    scale: str = "onnxruntime"
    coder: str = "constriction"
    threads: int = 1
    level: str = "all"
    compensation: str = "default"


ENVIRONMENTS: Mapping[str, Environment] = {
    environment.name: environment
    for environment in (
        *(
            Environment(f"onnxruntime-{threads}-{level}", threads=threads, level=level)
            for threads in (1, 2)
            for level in ("all", "basic", "off")
        ),
        Environment("pytorch", networks="pytorch", scale="pytorch"),
        Environment("numpy", scale="numpy", compensation="numpy"),
        Environment("numpy-python", scale="numpy", coder="python", compensation="numpy"),
        Environment("onnxruntime-python", coder="python"),
        Environment("onnxruntime-compiled", coder="compiled"),
    )
}


@dataclass(slots=True)
class Record:
    """What ran while an environment was installed, on whatever thread.

    calls: by what was called. symbols: digest of the symbols and scale indices of each tile or frame, by the digest of
    its bytes. known_answers: for each profile, whether the scale network's executor passes its known-answer test.
    """

    calls: Counter[str] = field(default_factory=Counter)
    symbols: dict[str, str] = field(default_factory=dict)
    known_answers: dict[str, bool] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> None:
        """Count a call."""
        with self._lock:
            self.calls[name] += 1


class OnnxGraph:
    """A graph of weights on ONNX Runtime, with a graph optimization level of its own."""

    def __init__(self, weights: Weights, name: str, environment: Environment, record: Record) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = environment.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[environment.level])
        data = weights.read(name)
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._name, self._record = f"onnxruntime:{name.removesuffix('.onnx')}", record

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The named outputs."""
        self._record.count(self._name)
        results: list[NDArray[Any]] = self._session.run(list(outputs), dict(inputs))
        return results


class TorchGraph:
    """The network of a graph as PyTorch modules in float32, as training runs it."""

    def __init__(self, weights: Weights, name: str, record: Record) -> None:
        import torch

        from nacre.models.export import AnalysisGraph, ContextGraph, SynthesisGraph
        from nacre.models.published import load_published

        kinds: dict[str, tuple[Any, tuple[str, ...], tuple[str, ...]]] = {
            "analysis.onnx": (AnalysisGraph, ("image", "position"), ("y", "z")),
            "context.onnx": (ContextGraph, ("target", "z_hat", "rounding", "encoding"), ("symbols", "y_hat")),
            "synthesis.onnx": (SynthesisGraph, ("y_hat", "position"), ("image",)),
        }
        kind, self._inputs, self._outputs = kinds[name]
        self._torch = torch
        self._module = kind(load_published(weights.folder).cpu())
        self._name, self._record = f"pytorch:{name.removesuffix('.onnx')}", record

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The named outputs."""
        self._record.count(self._name)
        with self._torch.no_grad():
            tensors = [self._torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._inputs]
            found = self._module(*tensors)
        found = found if isinstance(found, tuple) else (found,)
        named = dict(zip(self._outputs, found, strict=True))
        return [named[name].numpy() for name in outputs]


class LazyGraph:
    """A graph that is made when it first runs: not every set of weights has all. Threads may share it."""

    def __init__(self, make: Callable[[], OnnxGraph | TorchGraph]) -> None:
        self._make = make
        self._graph: OnnxGraph | TorchGraph | None = None
        self._lock = threading.Lock()

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The named outputs."""
        with self._lock:
            if self._graph is None:
                self._graph = self._make()
        return self._graph.run(outputs, inputs)


class TorchScale:
    """The integer scale network as the PyTorch modules that training runs, in float32."""

    def __init__(self, weights: Weights) -> None:
        import torch

        from nacre.models.published import load_published

        self._torch = torch
        self._network = load_published(weights.folder).scale_decoder.cpu()
        self._last = weights.rows - 1

    def __call__(self, z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray:
        def batch(array: IntArray) -> Any:
            return self._torch.from_numpy(array[np.newaxis].astype(np.float32))

        with self._torch.no_grad():
            position, prior = self._torch.tensor([row / self._last]), None if before is None else batch(before)
            index = self._network(batch(z), position, prior)[0].numpy()
        if not np.array_equal(index, np.rint(index)):
            msg = "PyTorch gives scale indices that are no integers"
            raise ArithmeticError(msg)
        found: IndexArray = index.astype(np.uint8)
        return found


def _graph(weights: Weights, name: str, environment: Environment, record: Record) -> OnnxGraph | TorchGraph:
    if environment.networks == "pytorch":
        return TorchGraph(weights, name, record)
    return OnnxGraph(weights, name, environment, record)


def _scale(weights: Weights, network: IntegerNetwork, environment: Environment, record: Record) -> Executor:
    """The environment's executor and no other: a wrong known answer is recorded, and falls back to nothing."""
    executor: Executor
    if environment.scale == "numpy":
        executor = network
    elif environment.scale == "pytorch":
        executor = TorchScale(weights)
    else:
        graph: Any = OnnxGraph(weights, "scale_decoder.onnx", environment, Record())
        executor = ScaleGraph(graph, 0 if network.prior is None else network.out_channels)
    record.known_answers[weights.profile] = known_answer(network, executor) == weights.known_answer

    def counted(z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray:
        record.count(f"{environment.scale}:scale")
        return executor(z, row, before)

    return counted


@contextmanager
def installed(environment: Environment) -> Iterator[Record]:
    """While inside, codecs made by this thread run in the environment; gives the record of what ran.

    Raises InputError where PyTorch or constriction is asked for and missing.
    """
    record = Record()
    engine = _engine(environment)
    if environment.networks == "pytorch":
        _torch_threads(environment.threads)

    decode_with: Callable[..., Any] = partial(decode_tile, engine=engine)
    encode_with: Callable[..., Any] = partial(encode_tile, engine=engine)

    def decode(data: bytes, *arguments: Any) -> TileSymbols:
        record.count(f"{environment.coder}:decode")
        symbols: TileSymbols = decode_with(data, *arguments)
        record.symbols[hashlib.sha256(data).hexdigest()] = symbols_digest(symbols)
        return symbols

    def encode(*arguments: Any) -> bytes:
        record.count(f"{environment.coder}:encode")
        code: bytes = encode_with(*arguments)
        return code

    def decode_frame(coder: FrameCoder, payload: bytes, *arguments: Any, **named: Any) -> FrameSymbols:
        record.count(f"{environment.coder}:decode")
        symbols = decode_symbols(coder, payload, *arguments, **named)
        record.symbols[hashlib.sha256(payload).hexdigest()] = frame_digest(symbols)
        return symbols

    def predict(reference: Planes, field: Field, *arguments: Any) -> Planes:
        record.count(f"{environment.compensation}:compensation")
        if environment.compensation == "numpy":
            return compensate_reference(reference, field)
        return compensate(reference, field, *arguments)

    def graph(weights: Weights, name: str, *_: Any) -> LazyGraph:
        return LazyGraph(partial(_graph, weights, name, environment, record))

    decode_symbols = FrameCoder.decode_symbols
    seams: list[tuple[Any, str, Any]] = [
        (nacre.video, "_coder", FrameCoder),  # one of its own, not the one that the process shares
        (nacre.framecoder, "Graph", graph),
        (nacre.framecoder, "compensate", predict),
        (nacre.framecoder, "SymbolDecoder", partial(SymbolDecoder, engine=engine)),
        (nacre.framecoder, "SymbolEncoder", partial(SymbolEncoder, engine=engine)),
        (FrameCoder, "decode_symbols", decode_frame),
        (nacre.tile, "Graph", graph),
        (nacre.latentcoder, "Graph", graph),
        (
            nacre.latentcoder,
            "scale_executor",
            lambda weights, network, *_: _scale(weights, network, environment, record),
        ),
        (nacre.tile, "decode_tile", decode),
        (nacre.tile, "encode_tile", encode),
    ]
    before = [getattr(place, name) for place, name, _ in seams]
    for place, name, replacement in seams:
        setattr(place, name, replacement)
    try:
        yield record
    finally:
        for (place, name, _), original in zip(seams, before, strict=True):
            setattr(place, name, original)


def symbols_digest(symbols: TileSymbols) -> str:
    """SHA-256 of z and y as 16-bit and the scale indices as 8-bit integers, in C order, in hexadecimal."""
    digest = hashlib.sha256()
    for array, kind in ((symbols.z, "<i2"), (symbols.y, "<i2"), (symbols.scale_index, "u1")):
        digest.update(np.array(array.shape, "<u4").tobytes())
        digest.update(array.astype(kind).tobytes())
    return digest.hexdigest()


def frame_digest(symbols: FrameSymbols) -> str:
    """SHA-256 of the numbers of a frame's motion as 16-bit integers and, behind them, `symbols_digest`."""
    motion = b"" if symbols.motion is None else symbols.motion.in_order().astype("<i2").tobytes()
    return hashlib.sha256(motion + symbols_digest(symbols.latent).encode()).hexdigest()


def _engine(environment: Environment) -> Engine:
    if environment.coder == "python":
        return PYTHON_ENGINE
    compiled = environment.coder == "compiled"
    library = "numba" if compiled else "constriction"
    try:
        return CompiledEngine() if compiled else ConstrictionEngine()
    except ImportError as error:
        msg = f"environment {environment.name} needs {library}, which is not installed"
        raise InputError(msg) from error


def _torch_threads(threads: int) -> None:
    try:
        import torch
    except ImportError as error:
        msg = "environment pytorch needs PyTorch, which is not installed"
        raise InputError(msg) from error
    torch.set_num_threads(threads)
