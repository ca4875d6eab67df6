"""Whole arrays of symbols to bytes and back, over constriction's range coder or its twin in plain Python.

The order of coding is part of the format. In one call, symbols are grouped by their table. For every table that
occurs, ascending: first all of its symbols in array order, as entries of the table (symbol + R, or the escape, 2R + 1);
then, if any of them escaped, the lengths of all the escaped ones in array order, 4 raw bits each; then the payloads of
all the escaped ones in array order. An escaped symbol s has the value v = |s| - R, at least 1, the length n = bit
length of v, in 1..14, and a payload of n raw bits: the sign in the highest (1 = negative), below it v without its
highest bit.

Bytes are the coder's 32-bit words, little-endian, without the zero bytes at the end.
"""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError, InputError
from nacre.entropy.rangecoder import INVALID, PRECISION, Int32Array, PlainEngine, Words
from nacre.entropy.tables import MAX_SYMBOL, TOTAL_BITS, IntArray, TableSet

LENGTH_BITS = 4
MAX_LENGTH = MAX_SYMBOL.bit_length()


class WordEncoder(Protocol):
    """A range encoder: `rangecoder.PlainEncoder` documents the functions."""

    def encode(self, entries: Int32Array, model: Any) -> None: ...
    def encode_bits(self, values: Int32Array, bits: Int32Array) -> None: ...
    def words(self) -> Words: ...


class WordDecoder(Protocol):
    """A range decoder: `rangecoder.PlainDecoder` documents the functions."""

    def decode(self, model: Any, count: int) -> Int32Array: ...
    def decode_bits(self, bits: Int32Array) -> Int32Array: ...
    def maybe_exhausted(self) -> bool: ...


class Engine(Protocol):
    """A range coder's implementation: its coders, and how it wants a table, uint32 (2R + 3,), prepared."""

    name: str

    def model(self, cdf: Words) -> Any: ...
    def encoder(self) -> WordEncoder: ...
    def decoder(self, words: Words) -> WordDecoder: ...


class ConstrictionEngine:
    """constriction's queue coder; raises ImportError where constriction is not installed."""

    name = "constriction"

    def __init__(self) -> None:
        stream = importlib.import_module("constriction").stream
        self._queue = stream.queue
        self._categorical = stream.model.Categorical
        self._bits = stream.model.Uniform()

    def model(self, cdf: Words) -> Any:
        # With perfect=False, each of n entries gets 1 of the 2 ** 24 units and a share of the other 2 ** 24 - n: entry
        # i starts at i + trunc((p[0] + ... + p[i - 1]) * (2 ** 24 - n) / sum(p)). Given frequencies less 1, the sum is
        # 2 ** 24 - n, the factor exactly 1, every float64 an integer, and entry i starts where our table says.
        return self._categorical(np.diff(cdf) * float(1 << (PRECISION - TOTAL_BITS)) - 1.0, perfect=False)

    def encoder(self) -> WordEncoder:
        return _ConstrictionEncoder(self._queue.RangeEncoder(), self._bits)

    def decoder(self, words: Words) -> WordDecoder:
        return _ConstrictionDecoder(self._queue.RangeDecoder(words), self._bits)


class _ConstrictionEncoder:
    def __init__(self, coder: Any, bits: Any) -> None:
        self._coder, self._bits = coder, bits

    def encode(self, entries: Int32Array, model: Any) -> None:
        self._coder.encode(entries, model)

    def encode_bits(self, values: Int32Array, bits: Int32Array) -> None:
        self._coder.encode(values, self._bits, np.left_shift(np.int32(1), bits))

    def words(self) -> Words:
        words: Words = self._coder.get_compressed()
        return words


class _ConstrictionDecoder:
    def __init__(self, coder: Any, bits: Any) -> None:
        self._coder, self._bits = coder, bits

    def decode(self, model: Any, count: int) -> Int32Array:
        return self._decode(model, count)

    def decode_bits(self, bits: Int32Array) -> Int32Array:
        return self._decode(self._bits, np.left_shift(np.int32(1), bits))

    def _decode(self, model: Any, parameter: int | Int32Array) -> Int32Array:
        try:
            entries: Int32Array = self._coder.decode(model, parameter)
        except AssertionError as error:  # constriction's report of invalid data
            raise FormatError(INVALID) from error
        return entries

    def maybe_exhausted(self) -> bool:
        return bool(self._coder.maybe_exhausted())


PYTHON_ENGINE = PlainEngine()


@cache
def default_engine() -> Engine:
    """constriction where it is installed and codes as the format says; otherwise its twin, with a RuntimeWarning."""
    try:
        engine = ConstrictionEngine()
    except ImportError:
        reason = "constriction is not installed"
    else:
        if _sample(engine) == _sample(PYTHON_ENGINE):
            return engine
        reason = "the installed constriction does not code as the format asks"
    warnings.warn(
        f"{reason}: entropy coding runs in plain Python, with the same bytes but about ten times slower",
        RuntimeWarning,
        stacklevel=2,
    )
    return PYTHON_ENGINE


def _sample(engine: Engine) -> list[int] | None:
    """The words of a short fixed message, or None where the engine fails or does not read back what it wrote."""
    cdf = np.array([0, 1, 1000, 41000, 65000, 65535, 65536], np.uint32)
    entries = (np.arange(200, dtype=np.int32) ** 2 % 97 % 6).astype(np.int32)
    bits = np.arange(1, 15, dtype=np.int32)
    values = (np.left_shift(1, bits) * 5 // 7).astype(np.int32)
    try:
        model = engine.model(cdf)
        encoder = engine.encoder()
        encoder.encode(entries, model)
        encoder.encode_bits(values, bits)
        words = encoder.words()
        decoder = engine.decoder(words)
        same = np.array_equal(decoder.decode(model, 200), entries) and np.array_equal(decoder.decode_bits(bits), values)
        return words.tolist() if same and decoder.maybe_exhausted() else None
    except Exception:  # whatever an unknown version does, the twin can serve
        return None


class SymbolEncoder:
    """Codes arrays of symbols one after the other into one string of bytes."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or default_engine()
        self._coder = self._engine.encoder()

    def encode(self, symbols: IntArray, table_index: IntArray, tables: TableSet) -> None:
        """Codes symbols (n,), each with the table that table_index (n,) names.

        Raises InputError: shapes that differ, a symbol outside -16383..16383, an index outside the set.
        """
        if symbols.shape != table_index.shape or symbols.dtype.kind not in "iu":
            msg = (
                f"symbols are {symbols.dtype} {symbols.shape}, legal are integers {table_index.shape} like the indices"
            )
            raise InputError(msg)
        if symbols.size and (symbols.max() > MAX_SYMBOL or symbols.min() < -MAX_SYMBOL):
            bad = symbols.max() if symbols.max() > MAX_SYMBOL else symbols.min()
            msg = f"symbol is {bad}, legal range {-MAX_SYMBOL}..{MAX_SYMBOL}"
            raise InputError(msg)
        order, groups = _group(table_index, tables)
        entries = symbols.take(order).astype(np.int32, copy=False)
        radii = tables.radii.tolist()
        starts = [start for _, start, _ in groups]
        reaches = np.maximum.reduceat(np.abs(entries), starts).tolist() if groups else []
        for (table, start, stop), reach in zip(groups, reaches, strict=True):
            group, radius = entries[start:stop], radii[table]
            escaped = np.flatnonzero(np.abs(group) > radius) if reach > radius else None
            far = None if escaped is None else group.take(escaped)
            group += radius
            if escaped is not None:
                group[escaped] = 2 * radius + 1
            self._coder.encode(group, tables.prepared(table, self._engine.model))
            if far is not None:
                self._coder.encode_bits(*_escapes(far, radius))

    def finish(self) -> bytes:
        """All that was coded, little-endian words without the zero bytes at the end; b"" where nothing was."""
        return self._coder.words().astype("<u4").tobytes().rstrip(b"\0")


class SymbolDecoder:
    """Reads what a SymbolEncoder wrote, given the same tables and indices in the same calls.

    Damaged bytes give other symbols, or a FormatError where they cannot be a code at all: check the symbols.
    """

    def __init__(self, data: bytes, engine: Engine | None = None) -> None:
        """Raises FormatError: the last byte is 0, which the encoder would have cut off."""
        if data and data[-1] == 0:
            msg = "the range coder's last byte is 0, legal range 1..255"
            raise FormatError(msg)
        self._engine = engine or default_engine()
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
        self._coder = self._engine.decoder(words)
        self._untouched = len(words) > 0

    def decode(self, table_index: IntArray, tables: TableSet) -> Int32Array:
        """The symbols, int32 (n,) in -16383..16383, each coded with the table that table_index (n,) names.

        Raises FormatError: the bytes cannot be a code of symbols; InputError: an index outside the set.
        """
        order, groups = _group(table_index, tables)
        radii = tables.radii.take(table_index.take(order))
        grouped = np.empty(order.shape, np.int32)
        escapes: list[Int32Array] = []
        for table, start, stop in groups:
            entries = self._coder.decode(tables.prepared(table, self._engine.model), stop - start)
            grouped[start:stop] = entries
            count = np.count_nonzero(entries > 2 * int(tables.radii[table]))
            if count:
                escapes.append(self._decode_escapes(count))
            self._untouched = False
        grouped -= radii
        if escapes:
            escaped = np.flatnonzero(grouped > radii)
            found = np.concatenate(escapes)
            found += np.sign(found) * radii.take(escaped)
            if np.abs(found).max() > MAX_SYMBOL:
                msg = f"magnitude of an escaped symbol is {np.abs(found).max()}, legal range 0..{MAX_SYMBOL}"
                raise FormatError(msg)
            grouped[escaped] = found
        symbols = np.empty_like(grouped)
        symbols[order] = grouped
        return symbols

    def _decode_escapes(self, count: int) -> Int32Array:
        """What escaped symbols are beyond the radius, on the side of their sign."""
        length = self._coder.decode_bits(np.full(count, LENGTH_BITS, np.int32))
        if length.min() < 1 or length.max() > MAX_LENGTH:
            msg = f"length of an escaped symbol is {length.min()}..{length.max()}, legal range 1..{MAX_LENGTH}"
            raise FormatError(msg)
        payload = self._coder.decode_bits(length)
        top = np.left_shift(np.int32(1), length - 1)
        beyond: Int32Array = np.where(payload < top, payload + top, -payload)
        return beyond

    def finish(self) -> None:
        """Raises FormatError if bytes are left over, as far as a range coder can tell."""
        if self._untouched or not self._coder.maybe_exhausted():
            msg = "the range coder's bytes go on after the last symbol"
            raise FormatError(msg)


def _escapes(symbols: Int32Array, radius: int) -> tuple[Int32Array, Int32Array]:
    """Raw values and how many bits each has: of escaped symbols (n,) of one table all lengths, then all payloads."""
    value = np.abs(symbols) - radius
    length = np.frexp(value.astype(np.float64))[1].astype(np.int32)
    top = np.left_shift(np.int32(1), length - 1)
    payload = value - top + np.where(symbols < 0, top, 0)
    lengths_bits = np.full(len(symbols), LENGTH_BITS, np.int32)
    return np.concatenate([length, payload]).astype(np.int32), np.concatenate([lengths_bits, length])


def _group(table_index: IntArray, tables: TableSet) -> tuple[NDArray[np.intp], list[tuple[int, int, int]]]:
    """The permutation that sorts by table, stable, and (table, start, stop) of every table that occurs."""
    if table_index.ndim != 1 or table_index.dtype.kind not in "iu":
        msg = f"table indices are {table_index.dtype} {table_index.shape}, legal are integers of one dimension"
        raise InputError(msg)
    count = len(tables)
    if table_index.size and (table_index.max() >= count or table_index.min() < 0):
        bad = table_index.max() if table_index.max() >= count else table_index.min()
        msg = f"table index is {bad}, legal range 0..{count - 1}"
        raise InputError(msg)
    # numpy sorts integers of 8 and 16 bits by radix, in linear time.
    narrow = table_index.astype(np.uint8 if count <= 256 else np.uint16, copy=False)
    order = np.argsort(narrow, kind="stable")
    grouped = narrow.take(order)
    starts = np.flatnonzero(grouped[1:] != grouped[:-1]) + 1
    edges = [0, *starts.tolist(), order.size] if order.size else [0]
    return order, [(int(grouped[a]), a, b) for a, b in pairwise(edges)]
