"""Implementations of the range coder, all with the same bytes, and the choice among them.

- ``constriction``: the library, fast from the first symbol on.
- ``compiled``: kernels.py, two to three times as fast once numba has compiled it; a process turns to it when it has
  coded so much that this pays, or at once where constriction is missing.
- ``python``: the reference, where nothing else is there.
"""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from functools import cache
from typing import Any, Protocol

import numpy as np

from nacre.bitstream.errors import FormatError
from nacre.entropy.forking import FORK_GATE
from nacre.entropy.groups import GroupedReader, GroupedWriter, SymbolReader, SymbolWriter, WordDecoder, WordEncoder
from nacre.entropy.rangecoder import INVALID, PRECISION, Int32Array, PlainDecoder, PlainEncoder, PlainModel, Words
from nacre.entropy.tables import TOTAL_BITS, TableSet

_MANY = 150
COMPILING_PAYS = 1 << 26  # symbols, those that are left out too; some 25 pictures of 1920x1080


class Engine(Protocol):
    """An implementation: what writes symbols as 32-bit words, and what reads them."""

    name: str

    def writer(self) -> SymbolWriter: ...
    def reader(self, words: Words) -> SymbolReader: ...


class WordEngine(ABC):
    """An engine that codes the symbols of one table at a time."""

    name: str

    @abstractmethod
    def model(self, cdf: Words) -> Any:
        """A table, uint32 (2R + 3,), as the coders want it."""

    @abstractmethod
    def encoder(self) -> WordEncoder:
        """A coder that has coded nothing."""

    @abstractmethod
    def decoder(self, words: Words) -> WordDecoder:
        """A decoder at the first symbol."""

    def writer(self) -> SymbolWriter:
        return GroupedWriter(self.encoder(), self.model)

    def reader(self, words: Words) -> SymbolReader:
        return GroupedReader(self.decoder(words), self.model)


class ConstrictionEngine(WordEngine):
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


class PlainEngine(WordEngine):
    """The coder in plain Python."""

    name = "python"

    def model(self, cdf: Words) -> PlainModel:
        edges = cdf.astype(np.int64) << (PRECISION - TOTAL_BITS)
        spans = np.diff(edges)
        listed = edges.tolist()
        return PlainModel(edges[:-1], spans, listed, listed[1:-1], int(np.argmax(spans)))

    def encoder(self) -> PlainEncoder:
        return PlainEncoder()

    def decoder(self, words: Words) -> PlainDecoder:
        return PlainDecoder(words)


class CompiledEngine:
    """The coder compiled by numba; raises ImportError where numba is not installed."""

    name = "compiled"

    def __init__(self) -> None:
        self._module = importlib.import_module("nacre.entropy.compiledcoder")

    def writer(self) -> SymbolWriter:
        writer: SymbolWriter = self._module.CompiledWriter()
        return writer

    def reader(self, words: Words) -> SymbolReader:
        reader: SymbolReader = self._module.CompiledReader(words)
        return reader


PYTHON_ENGINE = PlainEngine()


@cache
def default_engine() -> Engine:
    """constriction where it is installed and codes as the format says; otherwise its twins, the last with a
    RuntimeWarning."""
    try:
        engine = ConstrictionEngine()
    except ImportError:
        reason = "constriction is not installed"
    else:
        if codes_as_the_format_asks(engine):
            return engine
        reason = "the installed constriction does not code as the format asks"
    compiled = compiled_engine()
    if compiled is not None:
        return compiled
    warnings.warn(
        f"{reason}: entropy coding runs in plain Python, with the same bytes but about ten times slower",
        RuntimeWarning,
        stacklevel=2,
    )
    return PYTHON_ENGINE


@cache
def compiled_engine() -> Engine | None:
    """The compiled coder; None where numba is missing or makes something else of it."""
    with FORK_GATE:
        try:
            engine = CompiledEngine()
        except ImportError:
            return None
        return engine if codes_as_the_format_asks(engine) else None


class _Workload:
    """How many symbols this process has coded. Threads may lose some of the count."""

    def __init__(self) -> None:
        self.symbols = 0


_WORKLOAD = _Workload()


def count_work(symbols: int) -> None:
    """Symbols were coded, or are about to be."""
    _WORKLOAD.symbols += symbols


def compiling_pays() -> bool:
    """Whether this process has coded so much that it is worth a second of compilation to be faster from now on."""
    return _WORKLOAD.symbols >= COMPILING_PAYS


def engine_for_now() -> Engine:
    """The default engine, or the compiled one once that pays."""
    return (compiled_engine() if compiling_pays() else None) or default_engine()


def codes_as_the_format_asks(engine: Engine) -> bool:
    """Whether an engine writes short fixed messages as the reference does, and reads them back."""
    pair = [np.array([1, 999, 40000, 24000, 535, 1]), np.array([2, 64998, 535, 1])]
    number = np.arange(400, dtype=np.int32)
    index = (number % 3 % 2).astype(np.uint8)
    symbols = number**2 % 97 % 7 - 3 + number // 390 * 700 * (number % 2 * 2 - 1)
    try:
        for tables in (TableSet.stack(pair), TableSet.stack(pair * _MANY)):  # whose indices have 8 and 16 bits
            writer, reference = engine.writer(), PYTHON_ENGINE.writer()
            for each in (writer, reference):
                each.write(symbols, index, 0, tables)
            words = writer.words()
            reader = engine.reader(words)
            same = np.array_equal(reader.read(index, 0, tables), symbols) and reader.maybe_exhausted()
            if not same or words.tolist() != reference.words().tolist():
                return False
    except Exception:  # whatever an unknown version does, a twin can serve
        return False
    return True
