"""The range coder compiled by numba: byte for byte what rangecoder.py writes and reads, for whole arrays of symbols.

Where others sort symbols by their table with the help of lists of places, this one counts and copies.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError
from nacre.entropy import kernels
from nacre.entropy.forking import FORK_GATE
from nacre.entropy.groups import check_lengths, check_magnitude
from nacre.entropy.rangecoder import INVALID, PRECISION, Int32Array, Words
from nacre.entropy.tables import TOTAL_BITS, IntArray, TableSet

_UNITS: WeakKeyDictionary[TableSet, tuple[Words, Words]] = WeakKeyDictionary()
_NARROW = 256  # tables whose indices fit 8 bits
_WORD = (1 << 32) - 1
_STATE = (1 << 64) - 1
_WORD_BITS = 32
_WORDS_A_SYMBOL = 2  # at most: 24 bits for an entry, 18 for what follows an escape


def _units(tables: TableSet) -> tuple[Words, Words]:
    """Where the tables' entries start and what they span in the coder's units, one more element than a table has
    entries; made once."""
    units = _UNITS.get(tables)
    if units is None:
        starts = tables.cdf << np.uint32(PRECISION - TOTAL_BITS)
        spans = np.append(starts[1:] - starts[:-1], np.uint32(0))  # behind a table's last entry it is never looked at
        units = _UNITS[tables] = (starts, spans)
    return units


class _Bins(NamedTuple):
    """Indices of a flat array, where each bin begins in what is sorted by table, and where each table does,
    (tables + 1,)."""

    table_index: IntArray
    starts: NDArray[np.int32]
    edges: NDArray[np.int32]


def _bins(table_index: IntArray, tables: TableSet) -> _Bins:
    index: IntArray = table_index.reshape(-1).astype(np.uint8 if len(tables) <= _NARROW else np.uint16, copy=False)
    bins = np.zeros(2 * len(tables) + 1, np.int32)
    kernels.count(index, bins[1:])
    np.cumsum(bins, out=bins)
    return _Bins(index, bins[:-1].copy(), bins[::2])


class CompiledWriter:
    """As `SymbolWriter`."""

    def __init__(self) -> None:
        self._state = np.array([0, _STATE], np.uint64)
        self._words = np.empty(0, np.uint32)
        self._used: int | np.signedinteger[Any] = 0

    def write(self, symbols: IntArray, table_index: IntArray, skip: int, tables: TableSet) -> bool:
        """As `SymbolWriter`."""
        with FORK_GATE:
            return self._write(np.ascontiguousarray(symbols, np.int16).reshape(-1), table_index, skip, tables)

    def _write(self, symbols: NDArray[np.int16], table_index: IntArray, skip: int, tables: TableSet) -> bool:
        index, starts, edges = _bins(table_index, tables)
        grouped = np.empty(len(index), np.int16)
        kernels.gather(index, symbols, starts, grouped)
        left_out = grouped[: edges[skip]].any()
        words = np.empty(self._used + _WORDS_A_SYMBOL * (len(grouped) - edges[skip]), np.uint32)
        words[: self._used] = self._words[: self._used]
        self._words = words
        self._used = kernels.write(
            self._state, self._words, self._used, grouped, edges, skip, tables.radii, tables.offsets, *_units(tables)
        )
        return bool(left_out)

    def words(self) -> Words:
        """As `SymbolWriter`."""
        lower, width = map(int, self._state)
        if width == _STATE:
            return np.zeros(0, np.uint32)
        words = self._words[: self._used].copy()
        point = lower + _WORD
        if point > _STATE:
            with FORK_GATE:
                kernels.carry(words, len(words))
        last = (point & _STATE) >> _WORD_BITS
        ends = [last, 0] if ((lower + width) & _STATE) >> _WORD_BITS == last else [last]
        return np.append(words, np.array(ends, np.uint32))


class CompiledReader:
    """As `SymbolReader`."""

    def __init__(self, words: Words) -> None:
        self._words = words
        first = [int(word) for word in words[:2]] + [0, 0]
        self._state = np.array([first[0] << _WORD_BITS | first[1], _STATE], np.uint64)
        self._used: int | np.signedinteger[Any] = 2

    def read(self, table_index: IntArray, skip: int, tables: TableSet) -> Int32Array:
        """As `SymbolReader`."""
        with FORK_GATE:
            index, starts, edges = _bins(table_index, tables)
            symbols = np.empty(table_index.shape, np.int32)
            kernels.spread(index, symbols.reshape(-1), starts, self._grouped(edges, skip, tables))
            return symbols

    def maybe_exhausted(self) -> bool:
        """As `SymbolReader`."""
        ahead, width = map(int, self._state)
        return bool(self._used >= len(self._words)) and (width == _STATE or ahead < (1 << 33) - 1)

    def _grouped(self, edges: NDArray[np.int32], skip: int, tables: TableSet) -> NDArray[np.int16]:
        """Symbols sorted by table, 0 in those that are left out."""
        grouped, found = np.empty(edges[-1], np.int16), np.zeros(3, np.int64)
        grouped[: edges[skip]] = 0
        starts, _ = _units(tables)
        outcome, self._used = kernels.read(
            self._state, self._words, self._used, grouped, edges, skip, tables.radii, tables.offsets, starts, found
        )
        if outcome == kernels.INVALID:
            raise FormatError(INVALID)
        if outcome == kernels.BAD_LENGTH:
            check_lengths(int(found[0]), int(found[1]))
        check_magnitude(int(found[2]))
        return grouped
