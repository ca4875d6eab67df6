"""One tile's symbols through the range coder and back, by the integer network's own indices."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pmfs import gaussian_pmf, scale_levels

from nacre.bitstream.errors import FormatError, InputError, NacreError
from nacre.entropy import (
    PYTHON_ENGINE,
    IntegerLayer,
    IntegerNetwork,
    SymbolDecoder,
    SymbolEncoder,
    TableSet,
    TileSymbols,
    decode_tile,
    encode_tile,
    quantize_pmf,
    symbols_check,
)
from nacre.entropy.latent import Shape, decode_latent
from nacre.entropy.network import IndexArray, PriorArray
from nacre.entropy.tables import IntArray

CZ, CY, ROWS = 3, 5, 2


@cache
def y_tables() -> TableSet:
    return TableSet.stack([quantize_pmf(gaussian_pmf(s, max(1, int(3 * s)))) for s in scale_levels().tolist()])


@cache
def z_tables() -> TableSet:
    return TableSet.stack([quantize_pmf(gaussian_pmf(2.0 + k, 10 + 3 * k)) for k in range(ROWS * CZ)])


@cache
def network() -> IntegerNetwork:
    rng = np.random.default_rng(3)

    def layer(inputs: int, outputs: int, high: int, shift: int) -> IntegerLayer:
        weight = rng.integers(-64, 64, (outputs, inputs)).astype(np.int8)
        bias = rng.integers(0, 6000, (ROWS, outputs)).astype(np.int32)
        return IntegerLayer("conv1", weight, bias, np.full(outputs, shift, np.uint8), 0, high, upsample=True)

    return IntegerNetwork((layer(CZ, 16, 127, 5), layer(4, 4 * CY, 63, 8)))


def tile(seed: int, height: int, width: int, row: int, live: int, skip: int) -> TileSymbols:
    """Symbols whose y grid is height x width, coded symbols as wide as their scale says and some far wider."""
    rng = np.random.default_rng(seed)
    z = rng.integers(-9, 10, (CZ, -(-height // 4), -(-width // 4))).astype(np.int32)
    index = network()(z, row)[:, :height, :width]
    y = np.round(rng.normal(size=index.shape) * scale_levels()[index] * rng.choice([1, 20], index.shape))
    y = np.clip(y, -16383, 16383).astype(np.int32)
    y[live:] = 0
    y[index < skip] = 0
    return TileSymbols(z, y, index)


def encode(symbols: TileSymbols, row: int, live: int, skip: int) -> bytes:
    return encode_tile(*symbols, row, z_tables(), y_tables(), live, skip)


def decode(data: bytes, z_shape: Shape, y_shape: Shape, row: int, live: int, skip: int) -> TileSymbols:
    return decode_tile(data, z_shape, y_shape, row, z_tables(), y_tables(), network(), live, skip)


def shape(array: NDArray[Any]) -> Shape:
    channels, height, width = array.shape
    return channels, height, width


cases = st.tuples(
    st.integers(0, 10**6),
    st.integers(1, 11),
    st.integers(1, 11),
    st.integers(0, ROWS - 1),
    st.integers(0, CY),
    st.sampled_from([0, 1, 20, 40, 63]),
)


@given(cases)
def test_round_trip(case: tuple[int, int, int, int, int, int]) -> None:
    _, _, _, row, live, skip = case
    symbols = tile(*case)
    data = encode(symbols, row, live, skip)
    assert encode_tile(*symbols, row, z_tables(), y_tables(), live, skip, PYTHON_ENGINE) == data
    again = decode(data, shape(symbols.z), shape(symbols.y), row, live, skip)
    pairs: list[tuple[NDArray[Any], NDArray[Any]]]
    pairs = [(symbols.z, again.z), (symbols.y, again.y), (symbols.scale_index, again.scale_index)]
    for expected, got in pairs:
        assert got.dtype == expected.dtype
        assert np.array_equal(expected, got)


def test_the_frame_before_reaches_the_scale_network() -> None:
    """Its magnitudes, at most 15, with zeros up to the grid of the scale network; nothing where there is none."""
    symbols = tile(4, 6, 7, 1, 5, 0)
    data = encode(symbols, 1, 5, 0)
    seen: list[PriorArray | None] = []

    def watched(z: IntArray, row: int, before: PriorArray | None = None) -> IndexArray:
        seen.append(before)
        return network()(z, row)

    known = np.zeros((CY, 6, 7), np.int32)
    known[1, 5, 6], known[4, 0, 0], known[0, 2, 3] = -16, 15, 2
    for before in (known, None):
        found = decode_latent(
            SymbolDecoder(data), (CZ, 2, 2), (CY, 6, 7), 1, z_tables(), y_tables(), watched, 5, 0, before
        )
        assert np.array_equal(found.y, symbols.y)
    first, second = seen
    assert first is not None
    assert (first.dtype, first.shape, second) == (np.uint8, (CY, 8, 8), None)
    assert {tuple(place): first[tuple(place)] for place in np.argwhere(first)} == {
        (1, 5, 6): 15, (4, 0, 0): 15, (0, 2, 3): 2
    }  # fmt: skip


def test_the_order_of_coding() -> None:
    symbols = tile(1, 6, 7, 1, 4, 10)
    encoder = SymbolEncoder()
    z_index = [CZ + channel for channel in range(CZ) for _ in range(symbols.z[0].size)]
    encoder.encode(symbols.z.ravel(), np.array(z_index), z_tables())
    coded = [k for k in range(4 * 42) if symbols.scale_index.ravel()[k] >= 10]
    encoder.encode(symbols.y.ravel()[coded], symbols.scale_index.ravel()[coded], y_tables())
    assert encode(symbols, 1, 4, 10) == encoder.finish()


def test_symbols_check_is_a_crc_of_int16() -> None:
    symbols = tile(2, 5, 5, 0, 3, 0)
    raw = b"".join(int(s).to_bytes(2, "little", signed=True) for s in [*symbols.z.ravel(), *symbols.y[:3].ravel()])
    assert symbols_check(symbols.z, symbols.y[:3]) == zlib.crc32(raw)
    assert symbols_check(symbols.z.astype(np.int64), symbols.y[:3].astype(np.int16)) == zlib.crc32(raw)
    assert symbols_check(symbols.z, symbols.y[:0]) == zlib.crc32(symbols.z.astype("<i2").tobytes())


@given(st.binary(max_size=300), cases)
def test_garbage_gives_symbols_or_an_error(data: bytes, case: tuple[int, int, int, int, int, int]) -> None:
    _, height, width, row, live, skip = case
    try:
        again = decode(data, (CZ, -(-height // 4), -(-width // 4)), (CY, height, width), row, live, skip)
    except NacreError as error:
        assert isinstance(error, FormatError)  # noqa: PT017 (either outcome is right)
    else:
        assert not again.y[live:].any()
        assert not again.y[again.scale_index < skip].any()


def test_every_cut_and_every_flip_of_a_small_tile_ends_well() -> None:
    symbols = tile(5, 6, 6, 0, CY, 4)
    data = encode(symbols, 0, CY, 4)
    damaged = [data[:length] for length in range(len(data))]
    damaged += [data[:k] + bytes([data[k] ^ 1 << bit]) + data[k + 1 :] for k in range(len(data)) for bit in (0, 7)]
    same = refused = 0
    for stream in damaged:
        try:
            again = decode(stream, shape(symbols.z), shape(symbols.y), 0, CY, 4)
        except FormatError:
            refused += 1
        else:
            same += symbols_check(again.z, again.y) == symbols_check(symbols.z, symbols.y)
    assert refused > len(damaged) // 20
    assert same <= 10  # bits of the last word that the last symbol does not need


def test_z_outside_the_network_is_refused() -> None:
    encoder = SymbolEncoder()
    encoder.encode(np.array([0, 128, 0]), np.arange(CZ), z_tables())
    with pytest.raises(FormatError, match=r"hyper-latent symbols are in 0\.\.128"):
        decode(encoder.finish(), (CZ, 1, 1), (CY, 4, 4), 0, CY, 0)
    symbols = tile(1, 4, 4, 0, CY, 0)
    symbols.z[0, 0, 0] = -128
    with pytest.raises(InputError, match=r"legal range -127\.\.127"):
        encode(symbols, 0, CY, 0)


def test_symbols_that_are_not_coded_must_be_zero() -> None:
    symbols = tile(1, 4, 4, 0, 3, 0)
    symbols.y[3, 0, 0] = 1
    with pytest.raises(InputError, match="must be 0"):
        encode(symbols, 0, 3, 0)
    symbols = tile(1, 4, 4, 0, 3, 20)
    symbols.y[symbols.scale_index < 20] = -1
    with pytest.raises(InputError, match="must be 0"):
        encode(symbols, 0, CY, 20)


def test_what_does_not_fit_is_refused() -> None:
    symbols = tile(1, 4, 4, 0, CY, 0)
    for row in (-1, ROWS):
        with pytest.raises(InputError, match=f"entropy row is {row}"):
            encode(symbols, row, CY, 0)
        with pytest.raises(InputError, match=f"entropy row is {row}"):
            decode(b"", (CZ, 1, 1), (CY, 4, 4), row, CY, 0)
    for live in (-1, CY + 1):
        with pytest.raises(InputError, match="live channels"):
            encode(symbols, 0, live, 0)
        with pytest.raises(FormatError, match=f"live channels are {live}"):
            decode(b"", (CZ, 1, 1), (CY, 4, 4), 0, live, 0)
    with pytest.raises(InputError, match="legal is the scale indices' shape"):
        encode(symbols._replace(y=symbols.y[:4]), 0, 4, 0)
    with pytest.raises(InputError, match=r"legal is \(channels, height, width\)"):
        encode(symbols._replace(z=symbols.z[0]), 0, CY, 0)
    with pytest.raises(InputError, match="with 4 channels"):
        decode(b"", (4, 1, 1), (CY, 4, 4), 0, CY, 0)
    with pytest.raises(InputError, match="the latent has"):
        decode(b"", (CZ, 1, 1), (CY, 4, 5), 0, CY, 0)


def test_an_empty_latent_is_only_z() -> None:
    symbols = tile(4, 8, 8, 1, 0, 0)
    data = encode(symbols, 1, 0, 0)
    assert data == encode(symbols, 1, CY, 64)
    again = decode(data, shape(symbols.z), shape(symbols.y), 1, 0, 0)
    assert np.array_equal(again.z, symbols.z)
    assert not again.y.any()


def test_an_executor_that_differs_is_what_the_check_finds() -> None:
    symbols = tile(6, 8, 8, 0, CY, 0)

    def other(z: IntArray, row: int, _before: PriorArray | None = None) -> IndexArray:
        index = network()(z, row)
        index[0, 0, 0] ^= 1
        return index

    data = encode(symbols, 0, CY, 0)
    try:
        again = decode_tile(data, shape(symbols.z), shape(symbols.y), 0, z_tables(), y_tables(), other, CY, 0)
    except FormatError:
        return
    assert symbols_check(again.z, again.y) != symbols_check(symbols.z, symbols.y)
