"""The fast executor of the scale network against the reference, and failures of ONNX Runtime."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY_VIDEO_PRIOR, make_picture

import nacre
from nacre.backend import Graph, ScaleGraph, scale_executor
from nacre.entropy import IntegerNetwork, known_answer
from nacre.weights import Weights, load
from nacre.weights.sequence import load_sequence


@pytest.fixture
def weights(tiny_folder: Path) -> Weights:
    return load(folder=tiny_folder)


@pytest.fixture
def network(weights: Weights) -> IntegerNetwork:
    arrays = weights.arrays("entropy.npz")
    return IntegerNetwork.from_arrays(
        {name.removeprefix("scale."): array for name, array in arrays.items() if name.startswith("scale.")}
    )


def test_fast_executor_equals_the_reference(weights: Weights, network: IntegerNetwork) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast = scale_executor(weights, network, 2)
    assert isinstance(fast, ScaleGraph)
    assert known_answer(network) == weights.known_answer
    random = np.random.default_rng(5)
    for row in range(weights.rows):
        z = random.integers(-127, 128, (weights.hyper_channels, *random.integers(1, 8, 2))).astype(np.int32)
        np.testing.assert_array_equal(fast(z, row), network(z, row))


def test_wrong_answer_falls_back_to_the_reference(weights: Weights, network: IntegerNetwork) -> None:
    other = dataclasses.replace(weights, known_answer="0" * 64)
    with pytest.warns(RuntimeWarning, match="runs in NumPy, exact but slower"):
        assert scale_executor(other, network, 1) is network


def test_stream_of_the_fallback_is_the_same(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = make_picture(50, 60)
    data = nacre.ImageCodec(weights=tiny_folder, threads=1).encode(picture)

    def fail(self: ScaleGraph, *_: Any) -> Any:
        msg = "no such kernel"
        raise nacre.BackendError(msg)

    monkeypatch.setattr(ScaleGraph, "__call__", fail)
    codec = nacre.ImageCodec(weights=tiny_folder, threads=1)
    with pytest.warns(RuntimeWarning, match="no such kernel: the scale network runs in NumPy"):
        assert codec.encode(picture) == data
    assert codec.verify(data).symbols > 0


def test_a_scale_graph_with_a_prior() -> None:
    """The same integers, and a known answer that an executor which sees nothing of the frame before does not give."""
    weights = load_sequence(folder=TINY_VIDEO_PRIOR).predicted
    arrays = weights.arrays("entropy.npz").items()
    network = IntegerNetwork.from_arrays({name[6:]: array for name, array in arrays if name.startswith("scale.")})
    fast = scale_executor(weights, network, 1)
    assert isinstance(fast, ScaleGraph)
    random = np.random.default_rng(5)
    z = random.integers(-127, 128, (weights.hyper_channels, 3, 5)).astype(np.int32)
    before = random.integers(0, 16, (weights.latent_channels, 12, 20)).astype(np.uint8)
    for row in range(weights.rows):
        assert np.array_equal(fast(z, row, before), network(z, row, before))
        assert np.array_equal(fast(z, row), network(z, row))
    assert known_answer(network, lambda z, row, _before=None: fast(z, row)) != weights.known_answer


def test_failures_of_the_runtime_are_backend_errors(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph(weights, "synthesis.onnx", 1)
    with pytest.raises(nacre.BackendError, match=r"failed to run synthesis\.onnx"):
        graph.run(["image"], {"y_hat": np.zeros((1, 1, 1, 1), np.float32)})
    monkeypatch.setattr(Weights, "read", lambda self, name: b"this is no graph")
    with pytest.raises(nacre.BackendError, match=r"cannot load synthesis\.onnx of the weights 'tiny'"):
        Graph(weights, "synthesis.onnx", 1).run(["image"], {})


def test_missing_runtime_is_a_backend_error(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(nacre.BackendError, match="ONNX Runtime cannot be imported"):
        Graph(weights, "synthesis.onnx", 1).run(["image"], {})
