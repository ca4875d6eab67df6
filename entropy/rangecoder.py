"""The range coder in plain Python: the reference, byte for byte what constriction's queue coder writes and reads.

A range coder with words of 32 bits, a state of 64 bits and probabilities in units of 2 ** -24. Both ends keep an
interval of `width` numbers from `lower` on, at first lower = 0 and width = 2 ** 64 - 1. A symbol whose cumulative
frequency starts at c and spans p, both out of 2 ** 24, narrows it:

    step = width >> 24;   lower += step * c;   width = step * p

and if width < 2 ** 32 after that, the upper word of lower is written and both are shifted up by one word. A carry out
of the 64 bits of lower adds one to the number that the words written so far form. At the end comes the upper word of
lower + 2 ** 32 - 1, and a zero word after it if lower + width has the same upper word. No symbols give no words.

A decoder keeps lower, width and, at first, the first two words as its code; (code - lower) // step, which must be below
2 ** 24, finds the symbol, and where the encoder wrote a word, the code takes in the next. Words past the last are 0.

Tables have 16 bits, so their cumulative frequencies enter times 256. Raw bits are symbols of equal probability.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError

PRECISION = 24
_WORD = (1 << 32) - 1
_STATE = (1 << 64) - 1
INVALID = "the range coder's words are damaged: no sequence of symbols is coded like this"

Int32Array = NDArray[np.int32]
Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class PlainModel:
    """One table: entry i starts at starts[i] and spans spans[i], in units of 2 ** -24."""

    starts: NDArray[np.int64]
    spans: NDArray[np.int64]
    edges: list[int]  # starts, and 2 ** 24 at the end
    inner: list[int]  # edges[1:-1], where a bisection counts the entries that lie wholly below
    likely: int  # the entry that is tried first


class PlainEncoder:
    """Writes entries of tables and raw bits as 32-bit words."""

    def __init__(self) -> None:
        self._lower = 0
        self._width = _STATE
        self._words: list[int] = []

    def encode(self, entries: Int32Array, model: PlainModel) -> None:
        """Codes entries (n,) of one table, each in 0..2R + 1."""
        self._code(model.starts[entries].tolist(), model.spans[entries].tolist())

    def encode_bits(self, values: Int32Array, bits: Int32Array) -> None:
        """Codes values (n,), each with its own number of raw bits: 0 <= values[i] < 2 ** bits[i], bits in 1..23."""
        spans = np.left_shift(1, PRECISION - bits.astype(np.int64))
        self._code((values * spans).tolist(), spans.tolist())

    def _code(self, starts: list[int], spans: list[int]) -> None:
        lower, width, words = self._lower, self._width, self._words
        for start, span in zip(starts, spans, strict=True):
            step = width >> 24
            lower += step * start
            width = step * span
            if lower > _STATE:
                lower &= _STATE
                _carry(words)
            if width <= _WORD:
                words.append(lower >> 32)
                lower = (lower & _WORD) << 32
                width <<= 32
        self._lower, self._width = lower, width

    def words(self) -> Words:
        """Everything coded so far, closed, as uint32 words; the encoder itself stays open."""
        if self._width == _STATE:
            return np.zeros(0, np.uint32)
        words = list(self._words)
        point = self._lower + _WORD
        if point > _STATE:
            _carry(words)
        words.append((point & _STATE) >> 32)
        if ((self._lower + self._width) & _STATE) >> 32 == words[-1]:
            words.append(0)
        return np.array(words, np.uint32)


def _carry(words: list[int]) -> None:
    """Adds one to the number that the words write; never called where all of them are at their maximum."""
    position = len(words) - 1
    while words[position] == _WORD:
        words[position] = 0
        position -= 1
    words[position] += 1


class PlainDecoder:
    """Reads what a PlainEncoder wrote; of `lower` and the code it keeps only their difference."""

    def __init__(self, words: Words) -> None:
        self._rest: list[int] = words.tolist()[::-1]
        self._width = _STATE
        self._ahead = 0
        for _ in range(2):
            self._ahead = self._ahead << 32 | (self._rest.pop() if self._rest else 0)

    def decode(self, model: PlainModel, count: int) -> Int32Array:
        """The next count entries of one table, int32; raises FormatError where the words cannot be a code."""
        ahead, width, rest = self._ahead, self._width, self._rest
        edges, inner, likely = model.edges, model.inner, model.likely
        likely_start, likely_end = edges[likely], edges[likely + 1]
        entries = []
        for _ in range(count):
            step = width >> 24
            left = step * likely_start
            if left <= ahead < step * likely_end:
                entry = likely
                width = step * likely_end - left
            else:
                quantile = ahead // step
                if quantile >> 24:
                    raise FormatError(INVALID)
                entry = bisect_right(inner, quantile)
                left = step * edges[entry]
                width = step * edges[entry + 1] - left
            ahead -= left
            if width <= _WORD:
                width <<= 32
                ahead = ahead << 32 | (rest.pop() if rest else 0)
            entries.append(entry)
        self._ahead, self._width = ahead, width
        return np.array(entries, np.int32)

    def decode_bits(self, bits: Int32Array) -> Int32Array:
        """The next values (n,), int32, of bits[i] raw bits each; raises as `decode`."""
        ahead, width, rest = self._ahead, self._width, self._rest
        values = []
        for shift in (PRECISION - bits).tolist():
            step = width >> 24
            quantile = ahead // step
            if quantile >> 24:
                raise FormatError(INVALID)
            value = quantile >> shift
            ahead -= step * (value << shift)
            width = step << shift
            if width <= _WORD:
                width <<= 32
                ahead = ahead << 32 | (rest.pop() if rest else 0)
            values.append(value)
        self._ahead, self._width = ahead, width
        return np.array(values, np.int32)

    def maybe_exhausted(self) -> bool:
        """False where words, or more of the code than an encoder leaves at its end, are still unread."""
        return not self._rest and (self._width == _STATE or self._ahead < (1 << 33) - 1)
