"""Symbols of many tables by way of a coder that knows one table at a time.

The order of coding is part of the format. In one call, symbols are grouped by their table. For every table that
occurs, ascending: first all of its symbols in array order, as entries of the table (symbol + R, or the escape, 2R + 1);
then, if any of them escaped, the lengths of all the escaped ones in array order, 4 raw bits each; then the payloads of
all the escaped ones in array order. An escaped symbol s has the value v = |s| - R, at least 1, the length n = bit
length of v, in 1..14, and a payload of n raw bits: the sign in the highest (1 = negative), below it v without its
highest bit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError
from nacre.entropy.rangecoder import Int32Array, Words
from nacre.entropy.tables import MAX_SYMBOL, IntArray, TableSet

LENGTH_BITS = 4
MAX_LENGTH = MAX_SYMBOL.bit_length()


class SymbolWriter(Protocol):
    """What an engine codes symbols with; arguments are in range, see `SymbolEncoder`."""

    def write(self, symbols: IntArray, table_index: IntArray, skip: int, tables: TableSet) -> bool:
        """Codes symbols, in C order, whose table_index is at least skip; returns whether one of the others is not 0."""

    def words(self) -> Words:
        """Everything coded so far, closed, as uint32 words."""


class SymbolReader(Protocol):
    """What an engine decodes symbols with; arguments are in range, see `SymbolDecoder`."""

    def read(self, table_index: IntArray, skip: int, tables: TableSet) -> Int32Array:
        """The symbols that were coded with table_index, 0 where that is below skip; raises FormatError."""

    def maybe_exhausted(self) -> bool:
        """False where something that an encoder would not leave at its end is still unread."""


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


class Groups(NamedTuple):
    """What is coded of an array, sorted by table, stable: places in the flat array, and (table, start, stop) of every
    table that occurs."""

    places: NDArray[np.intp]
    runs: list[tuple[int, int, int]]


def group(table_index: IntArray, skip: int, tables: TableSet) -> Groups:
    """The groups of an array of table indices; those below skip are in none."""
    flat = table_index.reshape(-1)
    # numpy sorts integers of 8 and 16 bits by radix, in linear time
    narrow: IntArray = flat.astype(np.uint8 if len(tables) <= 256 else np.uint16, copy=False)
    if skip:
        coded = np.flatnonzero(narrow >= skip)
        narrow = narrow.take(coded)
    order = np.argsort(narrow, kind="stable")
    sorted_index = narrow.take(order)
    starts = np.flatnonzero(sorted_index[1:] != sorted_index[:-1]) + 1
    edges = [0, *starts.tolist(), order.size] if order.size else [0]
    runs = [(int(sorted_index[a]), a, b) for a, b in pairwise(edges)]
    return Groups(coded.take(order) if skip else order, runs)


class GroupedWriter:
    """Writes by a `WordEncoder`; model: how that wants a table prepared."""

    def __init__(self, coder: WordEncoder, model: Callable[[Words], Any]) -> None:
        self._coder, self._model = coder, model

    def write(self, symbols: IntArray, table_index: IntArray, skip: int, tables: TableSet) -> bool:
        """As `SymbolWriter`."""
        places, runs = group(table_index, skip, tables)
        entries = symbols.reshape(-1).take(places).astype(np.int32, copy=False)
        lost = skip > 0 and bool(np.count_nonzero(symbols) > np.count_nonzero(entries))
        radii = tables.radii.tolist()
        starts = [start for _, start, _ in runs]
        reaches = np.maximum.reduceat(np.abs(entries), starts).tolist() if runs else []
        for (table, start, stop), reach in zip(runs, reaches, strict=True):
            run, radius = entries[start:stop], radii[table]
            escaped = np.flatnonzero(np.abs(run) > radius) if reach > radius else None
            far = None if escaped is None else run.take(escaped)
            run += radius
            if escaped is not None:
                run[escaped] = 2 * radius + 1
            self._coder.encode(run, tables.prepared(table, self._model))
            if far is not None:
                self._coder.encode_bits(*_escapes(far, radius))
        return lost

    def words(self) -> Words:
        """As `SymbolWriter`."""
        return self._coder.words()


class GroupedReader:
    """Reads by a `WordDecoder`; model: how that wants a table prepared."""

    def __init__(self, coder: WordDecoder, model: Callable[[Words], Any]) -> None:
        self._coder, self._model = coder, model

    def read(self, table_index: IntArray, skip: int, tables: TableSet) -> Int32Array:
        """As `SymbolReader`."""
        places, runs = group(table_index, skip, tables)
        radii = tables.radii.take(table_index.reshape(-1).take(places))
        grouped = np.empty(places.shape, np.int32)
        escapes: list[Int32Array] = []
        for table, start, stop in runs:
            entries = self._coder.decode(tables.prepared(table, self._model), stop - start)
            grouped[start:stop] = entries
            count = np.count_nonzero(entries > 2 * int(tables.radii[table]))
            if count:
                escapes.append(self._decode_escapes(count))
        grouped -= radii
        if escapes:
            escaped = np.flatnonzero(grouped > radii)
            found = np.concatenate(escapes)
            found += np.sign(found) * radii.take(escaped)
            check_magnitude(int(np.abs(found).max()))
            grouped[escaped] = found
        symbols = np.zeros(table_index.shape, np.int32)
        symbols.reshape(-1)[places] = grouped
        return symbols

    def maybe_exhausted(self) -> bool:
        """As `SymbolReader`."""
        return self._coder.maybe_exhausted()

    def _decode_escapes(self, count: int) -> Int32Array:
        """What escaped symbols are beyond the radius, on the side of their sign."""
        length = self._coder.decode_bits(np.full(count, LENGTH_BITS, np.int32))
        check_lengths(int(length.min()), int(length.max()))
        payload = self._coder.decode_bits(length)
        top = np.left_shift(np.int32(1), length - 1)
        beyond: Int32Array = np.where(payload < top, payload + top, -payload)
        return beyond


def check_lengths(least: int, most: int) -> None:
    """Raise FormatError where lengths of escaped symbols cannot be."""
    if least < 1 or most > MAX_LENGTH:
        msg = f"length of an escaped symbol is {least}..{most}, legal range 1..{MAX_LENGTH}"
        raise FormatError(msg)


def check_magnitude(largest: int) -> None:
    """Raise FormatError where the largest magnitude of escaped symbols cannot be."""
    if largest > MAX_SYMBOL:
        msg = f"magnitude of an escaped symbol is {largest}, legal range 0..{MAX_SYMBOL}"
        raise FormatError(msg)


def _escapes(symbols: Int32Array, radius: int) -> tuple[Int32Array, Int32Array]:
    """Raw values and how many bits each has: of escaped symbols (n,) of one table all lengths, then all payloads."""
    value = np.abs(symbols) - radius
    length = np.frexp(value.astype(np.float64))[1].astype(np.int32)
    top = np.left_shift(np.int32(1), length - 1)
    payload = value - top + np.where(symbols < 0, top, 0)
    lengths_bits = np.full(len(symbols), LENGTH_BITS, np.int32)
    return np.concatenate([length, payload]).astype(np.int32), np.concatenate([lengths_bits, length])
