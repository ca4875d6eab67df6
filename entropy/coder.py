"""Whole arrays of symbols to bytes and back, by whatever range coder serves best (engines.py).

Bytes are the coder's 32-bit words, little-endian, without the zero bytes at the end. The order of coding is that of
groups.py.
"""

from __future__ import annotations

import numpy as np

from nacre.bitstream.errors import FormatError, InputError
from nacre.entropy.engines import Engine, count_work, engine_for_now
from nacre.entropy.rangecoder import Int32Array
from nacre.entropy.tables import MAX_SYMBOL, IntArray, TableSet


class SymbolEncoder:
    """Codes arrays of symbols one after the other into one string of bytes."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._writer = (engine or engine_for_now()).writer()

    def encode(self, symbols: IntArray, table_index: IntArray, tables: TableSet, skip: int = 0) -> None:
        """Codes symbols of any shape, in C order, each with the table that table_index, of the same shape, names.

        Those whose index is below skip are left out and must be 0.

        Raises InputError: shapes that differ, a symbol outside -16383..16383, an index outside the set, a symbol that
        is left out and not 0.
        """
        if symbols.shape != table_index.shape or symbols.dtype.kind not in "iu":
            msg = (
                f"symbols are {symbols.dtype} {symbols.shape}, legal are integers {table_index.shape} like the indices"
            )
            raise InputError(msg)
        least, most = _reach(symbols)
        if most > MAX_SYMBOL or least < -MAX_SYMBOL:
            msg = f"symbol is {most if most > MAX_SYMBOL else least}, legal range {-MAX_SYMBOL}..{MAX_SYMBOL}"
            raise InputError(msg)
        _check_index(table_index, tables)
        count_work(symbols.size)
        if self._writer.write(symbols, table_index, _within(skip, tables), tables):
            msg = "latent symbols that are not coded must be 0"
            raise InputError(msg)

    def finish(self) -> bytes:
        """All that was coded, little-endian words without the zero bytes at the end; b"" where nothing was."""
        return self._writer.words().astype("<u4").tobytes().rstrip(b"\0")


class SymbolDecoder:
    """Reads what a SymbolEncoder wrote, given the same tables and indices in the same calls.

    Damaged bytes give other symbols, or a FormatError where they cannot be a code at all: check the symbols.
    """

    def __init__(self, data: bytes, engine: Engine | None = None) -> None:
        """Raises FormatError: the last byte is 0, which the encoder would have cut off."""
        if data and data[-1] == 0:
            msg = "the range coder's last byte is 0, legal range 1..255"
            raise FormatError(msg)
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32)
        self._reader = (engine or engine_for_now()).reader(words)
        self._untouched = len(words) > 0

    def decode(self, table_index: IntArray, tables: TableSet, skip: int = 0) -> Int32Array:
        """The symbols, int32 of any shape in -16383..16383, each coded with the table that table_index names.

        They are 0 where the index is below skip.

        Raises FormatError: the bytes cannot be a code of symbols; InputError: an index outside the set.
        """
        _check_index(table_index, tables)
        count_work(table_index.size)
        symbols = self._reader.read(table_index, _within(skip, tables), tables)
        self._untouched = self._untouched and not (table_index >= skip).any()
        return symbols

    def finish(self) -> None:
        """Raises FormatError if bytes are left over, as far as a range coder can tell."""
        if self._untouched or not self._reader.maybe_exhausted():
            msg = "the range coder's bytes go on after the last symbol"
            raise FormatError(msg)


def _check_index(table_index: IntArray, tables: TableSet) -> None:
    """Raise InputError unless all indices name a table."""
    if table_index.dtype.kind not in "iu":
        msg = f"table indices are {table_index.dtype}, legal are integers"
        raise InputError(msg)
    count, (least, most) = len(tables), _reach(table_index)
    if most >= count or least < 0:
        msg = f"table index is {most if most >= count else least}, legal range 0..{count - 1}"
        raise InputError(msg)


def _within(skip: int, tables: TableSet) -> int:
    return min(max(skip, 0), len(tables))


def _reach(values: IntArray) -> tuple[int, int]:
    """The least and the largest of them, 0 and 0 where there are none."""
    if not values.size:
        return 0, 0
    line = values.ravel("K")  # as they lie in memory
    return int(line.min()), int(line.max())
