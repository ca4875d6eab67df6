"""Damage to a sequence: right frames or an error; with keep_going right frames, and what is lost is named."""

from __future__ import annotations

import pytest
from sequence_damage import EXACT, PARTLY, WRONG, Bench, cases, every, outcomes

STEPS = {1: 97, 2: 397}  # by threads, of which the decoder uses the second one to read ahead


@pytest.fixture(scope="module", params=STEPS)
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.param)


def test_the_undamaged_stream(bench: Bench) -> None:
    assert (bench.strict(bench.stream), bench.keeping_going(bench.stream)) == ((EXACT, 4), (EXACT, 4))


def test_no_wrong_frame_is_given(bench: Bench) -> None:
    """Some cases of each kind; more of them are in the table that tests/sequence_damage.py prints."""
    step = STEPS[bench.threads]
    found = outcomes(bench, every(step, cases(bench.stream)))
    assert len(found) == 10
    for kind, (strict, keeping, _) in found.items():
        assert not strict[WRONG], kind
        assert not keeping[WRONG], kind
    assert sum(keeping[PARTLY] for _, keeping, _ in found.values()) > 2000 // step
    assert sum(frames for _, _, frames in found.values()) > 5000 // step
