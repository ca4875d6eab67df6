"""The range coder compiled by numba: byte for byte what rangecoder.py writes and reads, for whole arrays of symbols.

Where others sort symbols by their table with the help of lists of places, this one counts and copies, and takes arrays
of channels, rows and columns as they lie in memory, channels first or last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError
from nacre.entropy import kernels
from nacre.entropy.groups import check_lengths, check_magnitude, group
from nacre.entropy.rangecoder import INVALID, Int32Array, Words
from nacre.entropy.tables import IntArray, TableSet

_WORD = (1 << 32) - 1
_STATE = (1 << 64) - 1
_WORD_BITS = 32
_WORDS_A_SYMBOL = 2  # at most: 24 bits for an entry, 18 for what follows an escape


class _Layout(NamedTuple):
    """An array of indices as the kernels see it, channels and whether they are last, where its bins begin and where,
    in symbols sorted by table, each table does, (tables + 1,)."""

    seen: IntArray
    channels: int
    last: bool
    bins: NDArray[np.int64]
    edges: NDArray[np.int64]

    def arranged(self, symbols: NDArray[Any]) -> NDArray[Any]:
        """An array of the same shape as that of the indices, seen in the same way."""
        return symbols.transpose(1, 2, 0) if self.last else symbols


def _layout(table_index: IntArray, skip: int, tables: TableSet) -> _Layout | None:
    """How the counting kernels see an array of indices; None where it is not for them."""
    if table_index.dtype != np.uint8 or table_index.ndim != 3:
        return None
    last = table_index.strides[0] < table_index.strides[2]
    index = table_index.transpose(1, 2, 0) if last else table_index
    channels = len(table_index)
    bins = np.zeros(len(tables) * channels + 1, np.int64)
    kernels.count(index, skip, bins[1:], channels, last)
    np.cumsum(bins, out=bins)
    return _Layout(index, channels, last, bins[:-1], bins[:: channels or 1].copy())


class _Sorted(NamedTuple):
    """Where what is coded of a flat array lies, sorted by table, and where each table begins, (tables + 1,)."""

    places: NDArray[np.intp]
    edges: NDArray[np.int64]


def _sorted(table_index: IntArray, skip: int, tables: TableSet) -> _Sorted:
    places, runs = group(table_index, skip, tables)
    edges = np.zeros(len(tables) + 1, np.int64)
    for table, start, stop in runs:
        edges[table + 1] = stop - start
    return _Sorted(places, np.cumsum(edges))


class CompiledWriter:
    """As `SymbolWriter`."""

    def __init__(self) -> None:
        self._state = np.array([0, _STATE], np.uint64)
        self._words = np.empty(0, np.uint32)
        self._used = 0

    def write(self, symbols: IntArray, table_index: IntArray, skip: int, tables: TableSet) -> int:
        """As `SymbolWriter`."""
        layout = _layout(table_index, skip, tables)
        if layout is None:
            places, edges = _sorted(table_index, skip, tables)
            grouped = symbols.reshape(-1).take(places).astype(np.int16)
            lost = int(np.count_nonzero(symbols) - np.count_nonzero(grouped))
        else:
            edges, grouped = layout.edges, np.empty(layout.edges[-1], np.int16)
            arranged = layout.arranged(symbols)
            lost = kernels.gather(layout.seen, arranged, skip, layout.bins, layout.channels, layout.last, grouped)
        room = np.empty(_WORDS_A_SYMBOL * len(grouped), np.uint32)
        self._words = np.concatenate([self._words[: self._used], room]) if self._used else room
        self._used = kernels.write(
            self._state, self._words, self._used, grouped, edges, tables.radii, tables.offsets, tables.cdf
        )
        return lost

    def words(self) -> Words:
        """As `SymbolWriter`."""
        lower, width = map(int, self._state)
        if width == _STATE:
            return np.zeros(0, np.uint32)
        words = self._words[: self._used].copy()
        point = lower + _WORD
        if point > _STATE:
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
        self._used = 2

    def read(self, table_index: IntArray, skip: int, tables: TableSet) -> Int32Array:
        """As `SymbolReader`; the array lies in memory as that of the indices does."""
        layout = _layout(table_index, skip, tables)
        if layout is None:
            places, edges = _sorted(table_index, skip, tables)
            symbols = np.zeros(table_index.shape, np.int32)
            symbols.reshape(-1)[places] = self._grouped(edges, tables)
        else:
            symbols = np.empty_like(table_index, np.int32)
            grouped = self._grouped(layout.edges, tables)
            arranged = layout.arranged(symbols)
            kernels.spread(layout.seen, arranged, skip, layout.bins, layout.channels, layout.last, grouped)
        return symbols

    def maybe_exhausted(self) -> bool:
        """As `SymbolReader`."""
        ahead, width = map(int, self._state)
        return self._used >= len(self._words) and (width == _STATE or ahead < (1 << 33) - 1)

    def _grouped(self, edges: NDArray[np.int64], tables: TableSet) -> NDArray[np.int16]:
        """Symbols sorted by table."""
        grouped, found = np.empty(edges[-1], np.int16), np.zeros(3, np.int64)
        outcome, self._used = kernels.read(
            self._state, self._words, self._used, grouped, edges, tables.radii, tables.offsets, tables.cdf, found
        )
        if outcome == kernels.INVALID:
            raise FormatError(INVALID)
        if outcome == kernels.BAD_LENGTH:
            check_lengths(int(found[0]), int(found[1]))
        check_magnitude(int(found[2]))
        return grouped
