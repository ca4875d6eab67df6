"""Damage to a stream of several tiles: an error that names the place, or, with keep_going, all else exact."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from damage import EXACT, PARTLY, WRONG, Bench, Case, cases, outcomes

from nacre.bitstream import FormatError
from nacre.tools.environments import ENVIRONMENTS, installed

HEADER_END = 10 + 46  # signature, version, PICTURE_HEADER of the profile `tiny`


@pytest.fixture(scope="module", params=[False, True], ids=["rgb", "alpha"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with installed(ENVIRONMENTS["onnxruntime-1-all"]) as record:
        yield Bench(record, alpha=request.param)


def test_the_undamaged_stream(bench: Bench) -> None:
    assert bench.strict(bench.stream) == bench.keeping_going(bench.stream) == EXACT


def test_nothing_is_wrong_unsaid(bench: Bench) -> None:
    """Every eleventh case, of each kind at least some; all of them are in the table that tests/damage.py prints."""
    kinds: dict[str, list[Case]] = {}
    for case in cases(bench.stream):
        kinds.setdefault(case.kind, []).append(case)
    chosen = [case for group in kinds.values() for case in islice(group, 0, None, 11)]
    found = outcomes(bench, chosen)
    assert found.keys() == kinds.keys()
    for strict, keeping in found.values():
        assert not strict[WRONG]
        assert not keeping[WRONG]
    assert sum(count for _, keeping in found.values() for name, count in keeping.items() if PARTLY in name) > 40


def test_errors_name_the_place(bench: Bench) -> None:
    for place in range(HEADER_END, len(bench.stream), 13):
        damaged = bytearray(bench.stream)
        damaged[place] ^= 0x10
        with pytest.raises(FormatError, match=r"byte \d+|tile \d+"):
            bench.codec.decode_array(bytes(damaged))
