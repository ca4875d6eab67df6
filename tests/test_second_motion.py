"""The second reader of motion fields and the second motion compensation against the package."""

from __future__ import annotations

import zlib
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from second_motion import Motion, predict, read_motion
from second_parser import RangeDecoder, RefusedError
from test_motion_field import encode, make_field, tables

from nacre.compensation import Planes, compensate_reference
from nacre.entropy.motion import MotionSymbols
from nacre.motion_field import to_symbols


def second_tables() -> list[list[int]]:
    """The tables as the second parser has them."""
    given = tables()
    starts = [0, *accumulate(2 * int(radius) + 2 for radius in given.radii)]
    frequencies = [int(value) for value in given.frequencies]
    return [[0, *accumulate(frequencies[a:b])] for a, b in pairwise(starts)]


def read(code: bytes, rows: int, columns: int, before: Motion | None) -> Motion:
    decoder = RangeDecoder(code)
    motion = read_motion(decoder, second_tables(), rows, columns, before)
    decoder.finish()
    return motion


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.sampled_from([0, 1, 5, 60, 512]))
def test_motion_fields(seed: int, rows: int, columns: int, largest: int) -> None:
    """Two frames, the second coded with the first one known."""
    before: Motion | None = None
    previous: MotionSymbols | None = None
    for number in (0, 1):
        field = make_field(seed + number, rows, columns, largest)
        symbols = to_symbols(field)
        before = read(encode(symbols, previous), rows, columns, before)
        found = [[before.vectors[3, y, x] for x in range(8 * columns)] for y in range(8 * rows)]
        assert np.array_equal(np.moveaxis(np.array(found), 2, 0), field)
        assert before.numbers == symbols.in_order().tolist()
        assert before.check() == zlib.crc32(symbols.in_order().astype("<i2").tobytes())
        previous = symbols


def test_a_vector_that_is_too_long() -> None:
    field = np.zeros((2, 8, 8), np.int16)
    symbols = to_symbols(field)
    symbols.differences[0][0, 0, 0] = 513
    with pytest.raises(RefusedError, match="too long"):
        read(encode(symbols, None), 1, 1, None)


@pytest.mark.parametrize("largest", [9, 300])
def test_compensation(largest: int) -> None:
    """Fractions of all kinds; with 300, vectors that lead far beyond the plane."""
    random = np.random.default_rng(largest)
    size = 24
    planes = [random.integers(0, 256, (side, side), np.uint8) for side in (size, size // 2, size // 2)]
    field = random.integers(-largest, largest + 1, (2, size // 8, size // 8)).astype(np.int16)
    motion = Motion()
    for y in range(size // 8):
        for x in range(size // 8):
            motion.vectors[3, y, x] = int(field[0, y, x]), int(field[1, y, x])
    expected = compensate_reference(Planes(*planes), field)
    for number, (plane, prediction) in enumerate(zip(planes, expected, strict=True)):
        assert predict(plane.tolist(), motion, number == 0) == prediction.tolist()
