"""ONNX Runtime: sessions of the published graphs, and the fast executor of the integer scale network."""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import BackendError
from nacre.entropy.forking import FORK_GATE
from nacre.entropy.network import FINER, Executor, IndexArray, IntegerNetwork, PriorArray, known_answer
from nacre.entropy.tables import IntArray
from nacre.weights.store import Weights

_LOG_ERRORS = 3


_GRAPHS: weakref.WeakSet[Graph] = weakref.WeakSet()


class Graph:
    """One graph of a set of weights, verified and loaded when it first runs. Threads may share it."""

    def __init__(self, weights: Weights, name: str, threads: int) -> None:
        self._weights, self._name, self._threads = weights, name, threads
        self._lock = threading.Lock()
        self._session: Any = None
        _GRAPHS.add(self)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The named outputs; raises BackendError where the runtime fails, WeightsError where the file is damaged."""
        session = self._session or self._load()
        try:
            with FORK_GATE:
                results: list[NDArray[Any]] = session.run(list(outputs), dict(inputs))
        except Exception as error:  # the runtime's exceptions share no base class
            msg = f"ONNX Runtime failed to run {self._name}: {_first_line(error)}"
            raise BackendError(msg) from error
        return results

    def renew_after_fork(self) -> None:
        """In a forked child: give up a session whose threads are gone, to load it again.

        It is leaked on purpose: its end would wait for these threads for ever.
        """
        if self._threads > 1 and self._session is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
            self._session = None

    def _load(self) -> Any:
        with FORK_GATE, self._lock:
            if self._session is None:
                self._session = self._open()
            return self._session

    def _open(self) -> Any:
        try:
            import onnxruntime  # type: ignore[import-untyped]
        except ImportError as error:
            msg = f"ONNX Runtime cannot be imported: {_first_line(error)}"
            raise BackendError(msg) from error
        data = self._weights.read(self._name)
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self._threads
            options.inter_op_num_threads = 1
            options.log_severity_level = _LOG_ERRORS
            # Memory: one arena for all graphs, no plan kept of every shape that comes along. Less of both at no cost.
            options.enable_mem_pattern = False
            if _shares_arena():
                options.add_session_config_entry("session.use_env_allocators", "1")
            # Threads of one graph must not spin on while the next graph or the coder wants the cores.
            options.add_session_config_entry("session.force_spinning_stop", "1")
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            msg = (
                f"ONNX Runtime cannot load {self._name} of the weights '{self._weights.profile}': {_first_line(error)}"
            )
            raise BackendError(msg) from error


def _renew_after_fork() -> None:
    for graph in list(_GRAPHS):
        graph.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)


class ScaleGraph:
    """The fast executor of the scale network: the same integers, by ONNX Runtime.

    prior: latent channels that the network sees of the frame before, 0 where it sees none.
    """

    def __init__(self, graph: Graph, prior: int = 0) -> None:
        self._graph, self._prior = graph, prior

    def __call__(self, z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray:
        inputs: dict[str, NDArray[Any]] = {
            "z": z[np.newaxis].astype(np.float32),
            "row": np.array([row], np.int64),
        }
        if self._prior:
            shape = self._prior, FINER * z.shape[1], FINER * z.shape[2]
            inputs["before"] = (np.zeros(shape, np.uint8) if before is None else before)[np.newaxis]
        (index,) = self._graph.run(["index"], inputs)
        result: IndexArray = index[0]
        return result


def scale_executor(weights: Weights, network: IntegerNetwork, threads: int) -> Executor:
    """The fast executor where it passes the known-answer test, otherwise, with a RuntimeWarning, the reference."""
    prior = 0 if network.prior is None else network.out_channels
    fast = ScaleGraph(Graph(weights, "scale_decoder.onnx", threads), prior)
    try:
        if known_answer(network, fast) == weights.known_answer:
            return fast
        trouble = "ONNX Runtime computes other integers than the weights were published with"
    except BackendError as error:
        trouble = str(error)
    warnings.warn(f"{trouble}: the scale network runs in NumPy, exact but slower", RuntimeWarning, stacklevel=2)
    return network


@lru_cache(maxsize=1)
def _shares_arena() -> bool:
    """Make the arena that all graphs of the process share; False where that fails: each then has its own."""
    import onnxruntime

    try:
        memory = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        onnxruntime.create_and_register_allocator(memory, None)
    except Exception:  # another user of the runtime has made one, or it has no such function
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
