"""Motion fields as quadtrees, through the range coder and back."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pmfs import gaussian_pmf

from nacre.bitstream.errors import FormatError, InputError, NacreError
from nacre.compensation import Field
from nacre.entropy import PYTHON_ENGINE, SymbolDecoder, SymbolEncoder, TableSet, quantize_pmf
from nacre.entropy.motion import LEVELS, MOTION_TABLES, MotionSymbols, decode_motion, encode_motion, walk
from nacre.entropy.tables import IntArray
from nacre.motion_field import to_field, to_symbols


@cache
def tables() -> TableSet:
    """Tables of the right number, each of another shape."""
    return TableSet.stack([quantize_pmf(gaussian_pmf(0.4 + k % 7, 1 + k % 9)) for k in range(MOTION_TABLES)])


def make_field(seed: int, rows: int, columns: int, largest: int) -> Field:
    """A field of (rows, columns) blocks of 64: leaves of all sizes, vectors up to `largest`."""
    random = np.random.default_rng(seed)
    field = random.integers(-largest, largest + 1, (2, rows, columns))
    for level in range(1, LEVELS):
        field = field.repeat(2, axis=1).repeat(2, axis=2)
        new = random.integers(-largest, largest + 1, field.shape)
        field = np.where(random.random(field.shape[1:]) < 0.3 / level, new, field)
    return field.astype(np.int16)


def encode(symbols: MotionSymbols, previous: MotionSymbols | None) -> bytes:
    encoder = SymbolEncoder()
    encode_motion(encoder, symbols, tables(), previous)
    return encoder.finish()


def decode(data: bytes, rows: int, columns: int, previous: MotionSymbols | None) -> MotionSymbols:
    decoder = SymbolDecoder(data)
    symbols = decode_motion(decoder, (rows, columns), tables(), previous)
    decoder.finish()
    return symbols


def equal(a: MotionSymbols, b: MotionSymbols) -> bool:
    pairs = zip((*a.differences, *a.splits), (*b.differences, *b.splits), strict=True)
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in pairs)


cases = st.tuples(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4), st.sampled_from([0, 1, 5, 60, 512]))


@given(cases, st.booleans())
def test_round_trip(case: tuple[int, int, int, int], first: bool) -> None:
    seed, rows, columns, _ = case
    field = make_field(*case)
    symbols = to_symbols(field)
    assert np.array_equal(to_field(symbols), field)
    previous = None if first else to_symbols(make_field(seed + 1, rows, columns, 30))
    again = decode(encode(symbols, previous), rows, columns, previous)
    assert equal(again, symbols)
    assert to_field(again).dtype == np.int16


def test_the_quadtree_is_the_smallest() -> None:
    field = np.zeros((2, 16, 16), np.int16)
    field[:, 8:, :8] = 5  # a block of 64
    field[:, :4, 12:] = 7  # a block of 32
    field[0, 15, 15] = 9  # a block of 8
    symbols = to_symbols(field)
    assert symbols.splits[0].tolist() == [[False, True], [False, True]]
    assert symbols.splits[1].sum() == symbols.splits[2].sum() == 1
    assert np.count_nonzero(symbols.differences[3]) == 1
    assert symbols.differences[0][:, 1, 0].tolist() == [5, 5]  # from the block above
    assert symbols.differences[0][:, 1, 1].tolist() == [-5, -5]  # from the block to the left


def test_in_order_is_what_passes_through_the_coder() -> None:
    symbols, previous = to_symbols(make_field(4, 2, 3, 40)), to_symbols(make_field(5, 2, 3, 40))
    passed = 0

    def exchange(values: IntArray | None, index: IntArray) -> IntArray:
        nonlocal passed
        assert values is not None
        assert values.shape == index.shape
        assert index.size == 0 or 0 <= index.min() <= index.max() < MOTION_TABLES
        passed += values.size
        return values

    assert equal(walk(exchange, (2, 3), symbols, previous), symbols)
    order = symbols.in_order()
    assert order.shape == (passed,)
    assert order[:6].tolist() == symbols.differences[0][0].ravel().tolist()
    assert order[12:18].tolist() == symbols.splits[0].ravel().astype(int).tolist()


def test_both_engines_write_the_same() -> None:
    symbols = to_symbols(make_field(8, 1, 2, 90))
    encoder = SymbolEncoder(PYTHON_ENGINE)
    encode_motion(encoder, symbols, tables(), None)
    assert encoder.finish() == encode(symbols, None)


@given(st.binary(max_size=200), st.integers(1, 3), st.integers(1, 3))
def test_garbage_gives_a_field_or_an_error(data: bytes, rows: int, columns: int) -> None:
    try:
        field = to_field(decode(data, rows, columns, None))
    except NacreError as error:
        assert isinstance(error, FormatError)  # noqa: PT017 (either outcome is right)
    else:
        assert np.abs(field).max() <= 512


def test_hostile_symbols_are_refused() -> None:
    symbols = to_symbols(make_field(2, 2, 2, 20))
    far = symbols.differences[0].copy()
    far[1, 0, 0] = 16383
    hostile = decode(encode(symbols._replace(differences=(far, *symbols.differences[1:])), None), 2, 2, None)
    with pytest.raises(FormatError, match=r"motion vectors are in .* legal range -512\.\.512"):
        to_field(hostile)
    for split in (-1, 2):
        with pytest.raises(FormatError, match=r"split of a motion block is .* legal range 0\.\.1"):
            decode(with_splits(symbols, split), 2, 2, None)


def with_splits(symbols: MotionSymbols, split: int) -> bytes:
    """The quadtree, coded with all splits replaced."""
    encoder = SymbolEncoder()

    def exchange(values: IntArray | None, index: IntArray) -> IntArray:
        assert values is not None
        is_split = index.size > 0 and index.min() >= 64
        encoder.encode(np.full_like(values, split) if is_split else values, index, tables())
        return values

    walk(exchange, (2, 2), symbols, None)
    return encoder.finish()


def test_what_does_not_fit_is_refused() -> None:
    symbols = to_symbols(make_field(1, 2, 2, 5))
    with pytest.raises(InputError, match="motion symbols have the shapes"):
        encode(symbols, to_symbols(make_field(1, 2, 1, 5)))
    with pytest.raises(InputError, match="motion symbols have the shapes"):
        decode(b"", 3, 2, symbols)
    few = TableSet.stack([quantize_pmf(gaussian_pmf(1.0, 3))])
    with pytest.raises(InputError, match="motion has 1 tables, must have 88"):
        encode_motion(SymbolEncoder(), symbols, few, None)
    with pytest.raises(InputError, match="must have 88"):
        decode_motion(SymbolDecoder(b""), (2, 2), few, None)
