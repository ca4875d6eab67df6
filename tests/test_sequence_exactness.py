"""One sequence, one set of symbols: whatever runs the scale network, the coder and the compensation."""

from __future__ import annotations

import json

import pytest
from conftest import TINY_VIDEO, TINY_VIDEO_PRIOR
from golden_sequences import GOLDEN, INDEX, scene

from nacre.bitstream import InputError
from nacre.tools import sequence_exactness
from nacre.tools.environments import ENVIRONMENTS
from nacre.tools.exactness import EQUAL_SAMPLES, LARGEST_DIFFERENCE

LIGHT = ("64x64", "no-live-channels", "extreme-symbols")  # "extreme": no float result of use


def streams(names: tuple[str, ...]) -> list[bytes]:
    return [(GOLDEN / f"{name}.ncr").read_bytes() for name in names]


def test_symbols_are_the_same_in_every_environment() -> None:
    pytest.importorskip("constriction")
    pytest.importorskip("numba")
    outcomes = sequence_exactness.compare(streams(LIGHT[:2]), TINY_VIDEO)
    assert [outcome.name for outcome in outcomes] == list(sequence_exactness.NAMES)
    frames = sum(len(json.loads(INDEX.read_text())[name]["frames"]) for name in LIGHT[:2])
    for outcome in outcomes:
        assert (outcome.frames, outcome.mismatches) == (frames, 0), outcome.name
        assert outcome.every.largest <= LARGEST_DIFFERENCE, outcome.name
        assert outcome.every.equal >= EQUAL_SAMPLES, outcome.name
    alike = [outcome for outcome in outcomes if outcome.name.startswith("numpy") or outcome.name.endswith("-python")]
    assert len(alike) == 3  # integers are all that they compute otherwise
    assert {outcome.every for outcome in alike} == {sequence_exactness.Difference(0, 1.0)}


def test_extreme_symbols_are_the_same() -> None:
    """What follows from them in floating point is of no use, so only symbols are compared."""
    pytest.importorskip("constriction")
    names = ("onnxruntime-1-all", "onnxruntime-2-off", "numpy-python")
    outcomes = sequence_exactness.compare(streams(LIGHT[2:]), TINY_VIDEO, names)
    assert [(outcome.frames, outcome.mismatches) for outcome in outcomes] == [(3, 0)] * 3


def test_symbols_behind_others_are_the_same() -> None:
    """Scales that see the symbols of the frame before."""
    pytest.importorskip("constriction")
    pytest.importorskip("numba")
    names = ("onnxruntime-1-all", "onnxruntime-2-off", "numpy-python")
    both = streams(("prior-66x34", "prior-extreme-symbols"))
    outcomes = sequence_exactness.compare(both, TINY_VIDEO_PRIOR, names)
    assert [(outcome.frames, outcome.mismatches) for outcome in outcomes] == [(12, 0)] * 3


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mismatch is counted, and a row whose compensation does not run is an error."""
    pytest.importorskip("numba")
    pytest.importorskip("constriction")
    data = sequence_exactness.make([scene(time, 64, 48) for time in range(3)], TINY_VIDEO, 50, "tiny")
    ((one, calls),) = [sequence_exactness.read([data], TINY_VIDEO, ENVIRONMENTS["onnxruntime-1-all"])]
    assert (len(one[0].symbols), len(one[0].frames), calls) == (3, 3, (3, 2))
    wrong = one[0]._replace(symbols=dict.fromkeys(one[0].symbols, ""))
    turns = iter(([one[0]], [wrong]))
    monkeypatch.setattr(sequence_exactness, "read", lambda *_: (next(turns), (3, 2)))
    outcomes = sequence_exactness.compare([data], TINY_VIDEO, ("onnxruntime-1-all", "numpy"))
    assert [outcome.mismatches for outcome in outcomes] == [0, 3]
    lines = sequence_exactness.table(outcomes).splitlines()
    assert lines[3] == "| numpy | 3 | 3 | 2 | 3 | 0 | 1.000000 | 0 | 1.000000 |"
    monkeypatch.undo()
    monkeypatch.setattr("nacre.framecoder.FrameCoder.reconstruct", lambda *_, **__: scene(0, 64, 64))
    with pytest.raises(InputError, match="numpy:compensation were called"):
        sequence_exactness.read([data], TINY_VIDEO, ENVIRONMENTS["numpy"])
