"""The range coder: constriction and its twins, compiled and plain, give the same bytes and read the same symbols."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pmfs import gaussian_pmf, scale_levels

from nacre.bitstream.errors import FormatError, InputError
from nacre.entropy import (
    MAX_SYMBOL,
    PYTHON_ENGINE,
    TOTAL,
    CompiledEngine,
    ConstrictionEngine,
    Engine,
    SymbolDecoder,
    SymbolEncoder,
    TableSet,
    default_engine,
    engines,
    quantize_pmf,
)
from nacre.entropy.engines import WordEngine

IntArray = NDArray[Any]


@cache
def constriction() -> WordEngine:
    pytest.importorskip("constriction")
    return ConstrictionEngine()


@cache
def compiled() -> Engine:
    pytest.importorskip("numba")
    return CompiledEngine()


def engines_here() -> list[Engine]:
    return [constriction(), PYTHON_ENGINE, compiled()]


@pytest.fixture(params=["constriction", "python", "compiled"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return {"constriction": constriction, "compiled": compiled}.get(request.param, lambda: PYTHON_ENGINE)()


@cache
def scale_tables() -> TableSet:
    return TableSet.stack([quantize_pmf(gaussian_pmf(s, max(1, int(4 * s)))) for s in scale_levels().tolist()])


@cache
def odd_tables() -> TableSet:
    """Small, skewed and extreme tables."""
    rng = np.random.default_rng(7)
    random = [quantize_pmf(rng.gamma(0.2, size=2 * radius + 2)) for radius in (1, 2, 3, 9, 40, 200)]
    extreme = [[TOTAL - 1, 1], [1, TOTAL - 1], [1, 1, 1, TOTAL - 3], [TOTAL - 3, 1, 1, 1], [TOTAL // 2] * 2]
    return TableSet.stack([*(np.array(table) for table in extreme), *random])


def encode(engine: Engine, tables: TableSet, *calls: tuple[IntArray, IntArray]) -> bytes:
    encoder = SymbolEncoder(engine)
    for symbols, index in calls:
        encoder.encode(symbols, index, tables)
    return encoder.finish()


def decode(engine: Engine, tables: TableSet, data: bytes, *indices: IntArray) -> list[IntArray]:
    decoder = SymbolDecoder(data, engine)
    symbols = [decoder.decode(index, tables) for index in indices]
    decoder.finish()
    return symbols


def message(seed: int, count: int, spread: float) -> tuple[IntArray, IntArray]:
    """Symbols of every size and the indices of odd_tables, int32 (count,)."""
    rng = np.random.default_rng(seed)
    index = rng.integers(0, len(odd_tables()), count).astype(np.int32)
    symbols = np.clip(np.round(rng.standard_cauchy(count) * spread), -MAX_SYMBOL, MAX_SYMBOL)
    return symbols.astype(np.int32), index


messages = st.builds(message, st.integers(0, 10**9), st.integers(0, 400), st.sampled_from([0.0, 0.1, 1.0, 30.0, 1e4]))


@given(st.lists(messages, min_size=1, max_size=3))
def test_all_engines_write_the_same_bytes_and_read_each_other(calls: list[tuple[IntArray, IntArray]]) -> None:
    data = encode(PYTHON_ENGINE, odd_tables(), *calls)
    for engine in engines_here():
        assert encode(engine, odd_tables(), *calls) == data
        decoded = decode(engine, odd_tables(), data, *(index for _, index in calls))
        for (symbols, _), again in zip(calls, decoded, strict=True):
            assert again.dtype == np.int32
            assert np.array_equal(again, symbols)


@given(st.binary(max_size=200), st.integers(0, 10**9), st.integers(0, 600))
def test_all_engines_make_the_same_of_garbage(data: bytes, seed: int, count: int) -> None:
    index = message(seed, count, 1.0)[1]
    outcomes = []
    for engine in engines_here():
        try:
            outcomes.append(decode(engine, odd_tables(), data, index)[0].tolist())
        except FormatError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@settings(max_examples=40)
@given(st.integers(0, 10**9), st.data())
def test_damage_gives_symbols_or_a_format_error(seed: int, data: st.DataObject) -> None:
    symbols, index = message(seed, 300, 3.0)
    stream = bytearray(encode(PYTHON_ENGINE, odd_tables(), (symbols, index)))
    position = data.draw(st.integers(0, len(stream) - 1))
    if data.draw(st.booleans()):
        del stream[position:]
    else:
        stream[position] ^= 1 << data.draw(st.integers(0, 7))
    for engine in engines_here():
        try:
            again = decode(engine, odd_tables(), bytes(stream), index)[0]
        except FormatError:
            continue
        assert again.shape == symbols.shape
        assert np.abs(again).max() <= MAX_SYMBOL


@pytest.mark.parametrize("end", [-1, 0, 1])
def test_carries_run_through_many_words(end: int) -> None:
    # Steer the interval so that half of the range, a word's boundary, stays inside it: every word waits for a carry,
    # and the last value settles it (or, at 0, the end of the stream).
    width, distance = (1 << 64) - 1, 1 << 63
    steered = []
    for _ in range(60):
        unit = (width >> 24) << 1
        value, distance = divmod(distance, unit)
        steered.append(value)
        width = unit
        if width < 1 << 32:
            width, distance = width << 32, distance << 32
    assert 0 < distance < width
    steered[-1] += end
    values, bits = np.array(steered, np.int32), np.full(60, 23, np.int32)
    words = []
    for engine in (constriction(), PYTHON_ENGINE):
        encoder = engine.encoder()
        encoder.encode_bits(values, bits)
        words.append(encoder.words())
        assert np.array_equal(engine.decoder(words[-1]).decode_bits(bits), values)
    assert words[0].tolist() == words[1].tolist()
    waiting = {0x7FFFFFFF: 0xFFFFFFFF, 0x80000000: 0}[int(words[0][0])]
    assert (words[0][1:40] == waiting).all()
    assert end == 0 or (waiting == 0) == (end == 1)


GOLDEN = {
    "tables": "88a0121128165c8d18136d780350cf714604bd65",
    "escapes": "7bc48f7f2d403992ffffbf00d0f0feff10de31f1",
    "zeros": "3342d36a",
}


def golden_calls(name: str) -> tuple[TableSet, tuple[IntArray, IntArray]]:
    """Fixed tables and symbols, without floating point or a library's random numbers."""
    tables = TableSet.stack([np.array([8192] * 8), np.array([1, 40, 600, 64000, 800, 90, 4, 1])])
    number = np.arange(24, dtype=np.int32)
    if name == "tables":
        return tables, (number * number % 7 - 3, number % 2)
    if name == "escapes":
        symbols = np.array([0, 4, -4, 5, -700, 3, -3, MAX_SYMBOL, -MAX_SYMBOL, 0, 1, 2], np.int32)
        return tables, (symbols, number[:12] // 3 % 2)
    return tables, (np.zeros(400, np.int32), np.ones(400, np.int32))


@pytest.mark.parametrize("name", list(GOLDEN))
def test_golden_bytes(engine: Engine, name: str) -> None:
    tables, (symbols, index) = golden_calls(name)
    assert encode(engine, tables, (symbols, index)).hex() == GOLDEN[name]
    assert np.array_equal(decode(engine, tables, bytes.fromhex(GOLDEN[name]), index)[0], symbols)


def test_nothing_is_coded_as_nothing(engine: Engine) -> None:
    empty = np.zeros(0, np.int32)
    assert encode(engine, odd_tables()) == b""
    assert encode(engine, odd_tables(), (empty, empty)) == b""
    assert decode(engine, odd_tables(), b"", empty)[0].shape == (0,)
    with pytest.raises(FormatError, match="go on after the last symbol"):
        decode(engine, odd_tables(), b"\1", empty)


def test_likely_symbols_cost_almost_nothing(engine: Engine) -> None:
    zeros = np.zeros(10000, np.int32)
    data = encode(engine, scale_tables(), (zeros, zeros))
    assert len(data) <= 4
    assert not decode(engine, scale_tables(), data, zeros)[0].any()


def test_the_lowest_code_needs_no_bytes(engine: Engine) -> None:
    tables = TableSet.stack([np.array([TOTAL - 1, 1])])
    zeros = np.zeros(50, np.int32)
    assert encode(engine, tables, (zeros, zeros)) == b""
    assert not decode(engine, tables, b"", zeros)[0].any()


@pytest.mark.parametrize("radius", [0, 1, 1000, MAX_SYMBOL - 1, MAX_SYMBOL])
def test_every_magnitude_can_escape(engine: Engine, radius: int) -> None:
    tables = TableSet.stack([quantize_pmf(np.ones(2 * radius + 2))])
    values = {radius, radius + 1, radius + 2, radius + 3, radius + 4, 2 * radius + 7, MAX_SYMBOL - 1, MAX_SYMBOL}
    magnitudes = np.array(sorted(value for value in values if value <= MAX_SYMBOL), np.int32)
    symbols = np.concatenate([magnitudes, -magnitudes])
    index = np.zeros(len(symbols), np.uint8)
    assert np.array_equal(decode(engine, tables, encode(engine, tables, (symbols, index)), index)[0], symbols)


def test_index_types_do_not_matter(engine: Engine) -> None:
    symbols, index = message(3, 500, 2.0)
    data = encode(engine, odd_tables(), (symbols, index))
    for dtype in (np.uint8, np.uint16, np.int16, np.int64):
        assert encode(engine, odd_tables(), (symbols.astype(np.int16), index.astype(dtype))) == data
        assert np.array_equal(decode(engine, odd_tables(), data, index.astype(dtype))[0], symbols)


def test_more_than_256_tables(engine: Engine) -> None:
    rng = np.random.default_rng(1)
    tables = TableSet.stack([quantize_pmf(rng.gamma(1.0, size=2 * (k % 5) + 2)) for k in range(700)])
    index = rng.integers(0, 700, 3000)
    symbols = rng.integers(-6, 7, 3000)
    assert np.array_equal(decode(engine, tables, encode(engine, tables, (symbols, index)), index)[0], symbols)


def test_symbols_of_one_table_keep_their_order_and_tables_ascend() -> None:
    index = np.array([4, 0, 4, 2, 0, 2], np.int32)
    symbols = np.array([5, 0, -3, 1, 90, -1], np.int32)
    order = [1, 4, 3, 5, 0, 2]
    one = encode(PYTHON_ENGINE, odd_tables(), (symbols, index))
    split = [(symbols[order[k : k + 2]], index[order[k : k + 2]]) for k in (0, 2, 4)]
    assert encode(PYTHON_ENGINE, odd_tables(), *split) == one


def test_the_rate_is_that_of_the_tables(engine: Engine) -> None:
    rng = np.random.default_rng(2)
    index = np.minimum(rng.exponential(12, 20000), 63).astype(np.uint8)
    symbols = np.round(rng.normal(size=20000) * scale_levels()[index]).astype(np.int32)
    tables = scale_tables()
    symbols = np.clip(symbols, -tables.radii[index], tables.radii[index])
    first = tables.offsets[index] + symbols + tables.radii[index]
    bits = -np.log2((tables.cdf[first + 1].astype(np.float64) - tables.cdf[first]) / TOTAL).sum()
    assert bits <= 8 * len(encode(engine, tables, (symbols, index))) <= bits * 1.0001 + 64


def test_bytes_left_over_are_refused(engine: Engine) -> None:
    index = np.full(200, 7, np.int32)
    data = encode(engine, odd_tables(), (np.arange(200) % 5 - 2, index))
    with pytest.raises(FormatError, match="go on after the last symbol"):
        decode(engine, odd_tables(), data + b"\1\2\3\4\5\6\7\x08", index)
    with pytest.raises(FormatError, match="go on after the last symbol"):
        decode(engine, odd_tables(), data, index[:100])
    with pytest.raises(FormatError, match="last byte is 0"):
        SymbolDecoder(data + b"\0", engine)


def test_words_that_no_encoder_writes_are_refused(engine: Engine) -> None:
    # Bits above the last multiple of step are the only codes that a decoder can tell from valid ones.
    with pytest.raises(FormatError, match="damaged"):
        decode(engine, odd_tables(), b"\xff" * 8, np.zeros(10, np.int32))


@pytest.mark.parametrize("length", [0, 15])
def test_lengths_outside_the_escape_code_are_refused(engine: Engine, length: int) -> None:
    raw = PYTHON_ENGINE.encoder()
    tables = TableSet.stack([np.array([1, TOTAL - 1])])
    raw.encode(np.array([1], np.int32), PYTHON_ENGINE.model(tables.table(0)))
    raw.encode_bits(np.array([length], np.int32), np.array([4], np.int32))
    raw.encode_bits(np.array([77], np.int32), np.array([15], np.int32))
    data = raw.words().astype("<u4").tobytes().rstrip(b"\0")
    with pytest.raises(FormatError, match=f"length of an escaped symbol is {length}"):
        decode(engine, tables, data, np.zeros(1, np.int32))


def test_magnitudes_beyond_the_limit_are_refused(engine: Engine) -> None:
    raw = PYTHON_ENGINE.encoder()
    tables = TableSet.stack([quantize_pmf(np.ones(202))])
    raw.encode(np.array([201], np.int32), PYTHON_ENGINE.model(tables.table(0)))
    raw.encode_bits(np.array([14], np.int32), np.array([4], np.int32))
    raw.encode_bits(np.array([(1 << 14) - 1], np.int32), np.array([14], np.int32))
    data = raw.words().astype("<u4").tobytes().rstrip(b"\0")
    with pytest.raises(FormatError, match="magnitude of an escaped symbol is 16483"):
        decode(engine, tables, data, np.zeros(1, np.int32))


def test_input_out_of_range_is_refused(engine: Engine) -> None:
    encoder = SymbolEncoder(engine)
    one = np.zeros(1, np.int32)
    for symbol in (MAX_SYMBOL + 1, -MAX_SYMBOL - 1):
        with pytest.raises(InputError, match=f"symbol is {symbol}"):
            encoder.encode(np.array([symbol]), one, odd_tables())
    for table in (-1, len(odd_tables()), 256):
        with pytest.raises(InputError, match=f"table index is {table}"):
            encoder.encode(one, np.array([table]), odd_tables())
        with pytest.raises(InputError, match=f"table index is {table}"):
            SymbolDecoder(b"", engine).decode(np.array([table]), odd_tables())
    for symbols, index in ((one, np.zeros(2, np.int32)), (one.astype(float), one), (one[None], one)):
        with pytest.raises(InputError, match="legal are integers"):
            encoder.encode(symbols, index, odd_tables())
    with pytest.raises(InputError, match="legal are integers"):
        SymbolDecoder(b"", engine).decode(one.astype(float), odd_tables())


def test_the_caller_keeps_its_symbols(engine: Engine) -> None:
    symbols, index = message(5, 100, 50.0)
    copies = symbols.copy(), index.copy()
    encode(engine, odd_tables(), (symbols, index))
    assert np.array_equal(symbols, copies[0])
    assert np.array_equal(index, copies[1])


def test_many_symbols_take_little_time() -> None:
    # Generous: measured at 7 and 9 ms with constriction, 65 and 140 ms in plain Python.
    rng = np.random.default_rng(4)
    index = np.minimum(rng.exponential(12, 393216), 63).astype(np.uint8)
    symbols = np.round(rng.normal(size=index.size) * scale_levels()[index]).astype(np.int32)
    start = time.perf_counter()
    data = encode(constriction(), scale_tables(), (symbols, index))
    assert np.array_equal(decode(constriction(), scale_tables(), data, index)[0], symbols)
    assert time.perf_counter() - start < 1.0


@pytest.fixture
def fresh_default() -> Iterator[None]:
    for choice in (default_engine, engines.compiled_engine):
        choice.cache_clear()
    yield
    for choice in (default_engine, engines.compiled_engine):
        choice.cache_clear()


@pytest.mark.usefixtures("fresh_default")
def test_constriction_is_the_default() -> None:
    assert constriction().name == default_engine().name == "constriction"
    assert default_engine() is default_engine()


@pytest.mark.usefixtures("fresh_default")
def test_without_constriction_the_compiled_twin_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    assert default_engine().name == compiled().name == "compiled"


@pytest.mark.usefixtures("fresh_default")
def test_a_process_that_codes_much_turns_to_the_compiled_coder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "COMPILING_PAYS", 1000)
    monkeypatch.setattr(engines, "_WORKLOAD", engines._Workload())
    symbols, index = message(8, 600, 2.0)
    assert engines.engine_for_now().name == "constriction"
    first, second = SymbolEncoder(), SymbolEncoder()
    first.encode(symbols, index, odd_tables())
    second.encode(symbols, index, odd_tables())
    assert engines.engine_for_now().name == "compiled"
    decoder = SymbolDecoder(first.finish())
    assert np.array_equal(decoder.decode(index, odd_tables()), symbols)
    monkeypatch.setattr(engines, "compiled_engine", lambda: None)
    assert engines.engine_for_now().name == "constriction"


@given(st.integers(0, 10**9), st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 11), st.booleans())
def test_channels_may_lie_first_or_last(seed: int, shape: tuple[int, int, int], skip: int, narrow: bool) -> None:
    """What is below the threshold is left out, whatever the engine, and however an array of a latent lies in memory."""
    symbols, index = message(seed, int(np.prod(shape)), 3.0)
    symbols, index = symbols.reshape(shape), index.reshape(shape).astype(np.uint8)
    symbols[index < skip] = 0
    last = [np.ascontiguousarray(part.transpose(1, 2, 0)).transpose(2, 0, 1) for part in (symbols, index)]
    if narrow:  # a part of an array that is larger
        symbols, index, *last = (part[:, : max(1, shape[1] - 1), :-1] for part in (symbols, index, *last))
    streams = []
    for engine in engines_here():
        for arrays in ((symbols, index), last):
            encoder = SymbolEncoder(engine)
            encoder.encode(*arrays, odd_tables(), skip)
            streams.append(encoder.finish())
            decoder = SymbolDecoder(streams[-1], engine)
            assert np.array_equal(decoder.decode(arrays[1], odd_tables(), skip), symbols)
            decoder.finish()
    assert len(set(streams)) == 1


def test_thresholds_beyond_all_tables(engine: Engine) -> None:
    symbols, index = np.zeros(5, np.int16), np.arange(5, dtype=np.uint8)
    for skip, data in ((99, b""), (-3, encode(engine, odd_tables(), (symbols, index)))):
        encoder = SymbolEncoder(engine)
        encoder.encode(symbols, index, odd_tables(), skip)
        assert encoder.finish() == data
        assert not SymbolDecoder(data, engine).decode(index, odd_tables(), skip).any()


def test_what_is_left_out_must_be_0(engine: Engine) -> None:
    index = np.full((2, 3, 4), 5, np.uint8)
    index[1, 2, 3] = 2
    symbols = np.zeros(index.shape, np.int16)
    SymbolEncoder(engine).encode(symbols, index, odd_tables(), 3)
    symbols[1, 2, 3] = 1
    with pytest.raises(InputError, match="not coded must be 0"):
        SymbolEncoder(engine).encode(symbols, index, odd_tables(), 3)


@pytest.mark.usefixtures("fresh_default")
def test_without_constriction_and_numba_the_plain_twin_serves_and_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    monkeypatch.setitem(sys.modules, "nacre.entropy.compiledcoder", None)
    with pytest.warns(RuntimeWarning, match="constriction is not installed") as caught:
        assert default_engine() is default_engine() is PYTHON_ENGINE
    assert len(caught) == 1
    symbols, index = message(8, 100, 2.0)
    encoder = SymbolEncoder()
    encoder.encode(symbols, index, odd_tables())
    assert encoder.finish() == encode(PYTHON_ENGINE, odd_tables(), (symbols, index))


@pytest.mark.usefixtures("fresh_default")
@pytest.mark.parametrize("trouble", ["other", "broken"])
def test_a_constriction_that_codes_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    original = constriction().model

    def model(_: object, cdf: NDArray[np.uint32]) -> object:
        if trouble == "broken":
            raise TypeError(trouble)
        return original(np.concatenate([[0], cdf[1:-1] + 1, cdf[-1:]]).astype(np.uint32))

    monkeypatch.setattr(engines.ConstrictionEngine, "model", model)
    monkeypatch.setitem(sys.modules, "nacre.entropy.compiledcoder", None)
    with pytest.warns(RuntimeWarning, match="does not code as the format asks"):
        assert default_engine() is PYTHON_ENGINE
