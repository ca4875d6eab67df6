"""The loops of the compiled range coder; rangecoder.py documents the arithmetic, groups.py the order of coding.

Symbols are sorted by table by counting. Each half of an array has bins of its own, table t's 2 t and 2 t + 1:
neighbours often have the same table, and a count that waits for the one before is slow. What is not coded goes to the
bins of its tables as well, in front of the others, since it is faster than not to touch it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nacre.entropy.compiled import compiled_exactly
from nacre.entropy.groups import LENGTH_BITS, MAX_LENGTH
from nacre.entropy.rangecoder import PRECISION, Words
from nacre.entropy.tables import IntArray

Int16Array = NDArray[np.int16]
Places = NDArray[np.int32]
Longs = NDArray[np.int64]
State = NDArray[np.uint64]

_Integer = int | np.signedinteger[Any]

FINE, INVALID, BAD_LENGTH = 0, 1, 2

_WORD = np.uint64(0xFFFFFFFF)
_HIGHEST = np.uint32(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)
_PRECISION = np.uint64(PRECISION)


@compiled_exactly
def count(index: IntArray, bins: Places) -> None:
    """Add to each bin how many symbols of a flat array are in it."""
    half, two, one = np.uintp(len(index) // 2), np.uintp(2), np.uintp(1)
    for place in range(half):
        bins[np.uintp(index[place]) * two] += 1
        bins[np.uintp(index[place + half]) * two + one] += 1
    for place in range(half * two, np.uintp(len(index))):
        bins[np.uintp(index[place]) * two + one] += 1


@compiled_exactly
def gather(index: IntArray, symbols: IntArray, bins: Places, grouped: Int16Array) -> None:
    """Symbols of a flat array to their places, from where each bin begins."""
    half, two, one = np.uintp(len(index) // 2), np.uintp(2), np.uintp(1)
    for place in range(half):
        first, second = np.uintp(index[place]) * two, np.uintp(index[place + half]) * two + one
        start, middle = bins[first], bins[second]
        grouped[np.uintp(start)] = symbols[place]
        grouped[np.uintp(middle)] = symbols[place + half]
        bins[first] = start + 1
        bins[second] = middle + 1
    for place in range(half * two, np.uintp(len(index))):
        second = np.uintp(index[place]) * two + one
        middle = bins[second]
        grouped[np.uintp(middle)] = symbols[place]
        bins[second] = middle + 1


@compiled_exactly
def spread(index: IntArray, symbols: IntArray, bins: Places, grouped: Int16Array) -> None:
    """The inverse of `gather`."""
    half, two, one = np.uintp(len(index) // 2), np.uintp(2), np.uintp(1)
    for place in range(half):
        first, second = np.uintp(index[place]) * two, np.uintp(index[place + half]) * two + one
        start, middle = bins[first], bins[second]
        symbols[place] = grouped[np.uintp(start)]
        symbols[place + half] = grouped[np.uintp(middle)]
        bins[first] = start + 1
        bins[second] = middle + 1
    for place in range(half * two, np.uintp(len(index))):
        second = np.uintp(index[place]) * two + one
        middle = bins[second]
        symbols[place] = grouped[np.uintp(middle)]
        bins[second] = middle + 1


@compiled_exactly
def carry(words: Words, used: _Integer) -> None:
    """Add one to the number that the words write."""
    place = used - 1
    while words[place] == _HIGHEST:
        words[place] = np.uint32(0)
        place -= 1
    words[place] += np.uint32(1)


@compiled_exactly
def _narrow(state: State, words: Words, used: _Integer, start: np.uint64, span: np.uint64) -> _Integer:
    """Code what starts at `start` and spans `span`, in units of 2 ** -24; returns how many words are used."""
    step = state[1] >> _PRECISION
    lower = state[0] + step * start
    width = step * span
    if lower < state[0]:
        carry(words, used)
    if width <= _WORD:
        words[used] = np.uint32(lower >> _WORD_BITS)
        used += 1
        lower = lower << _WORD_BITS
        width = width << _WORD_BITS
    state[0] = lower
    state[1] = width
    return used


@compiled_exactly
def _bit_length(value: _Integer) -> int:
    length = 0
    while value > 0:
        value >>= 1
        length += 1
    return length


@compiled_exactly
def write(
    state: State, words: Words, used: _Integer, grouped: Int16Array, edges: Places, skip: int, radii: IntArray,
    offsets: Longs, starts: Words, spans: Words,
) -> _Integer:  # fmt: skip
    """Code grouped symbols, table t's at edges[t] to edges[t + 1], from table skip on; returns how many words are used.

    starts, spans: of all tables' entries, table t's from offsets[t] on, in units of 2 ** -24. Indices are without sign,
    which spares the compiler to look for negative ones.
    """
    bits = np.uint64(1)
    for table in range(skip, len(edges) - 1):
        radius = np.int64(radii[table])
        run = grouped[edges[table] : edges[table + 1]]
        first, escape = offsets[table], np.uint64(2 * radius + 1)
        own_starts, own_spans = starts[first : offsets[table + 1]], spans[first : offsets[table + 1]]
        escapes = 0
        lower, width = state[0], state[1]
        filled = np.uintp(used)
        for place in range(np.uintp(len(run))):
            entry = np.uint64(np.int64(run[place]) + radius)
            if entry >= escape:
                entry = escape
                escapes += 1
            step = width >> _PRECISION
            moved = lower + step * np.uint64(own_starts[entry])
            width = step * np.uint64(own_spans[entry])
            if moved < lower:
                carry(words, np.int64(filled))
            lower = moved
            if width <= _WORD:
                words[filled] = np.uint32(lower >> _WORD_BITS)
                filled += np.uintp(1)
                lower = lower << _WORD_BITS
                width = width << _WORD_BITS
        used = np.int64(filled)
        state[0] = lower
        state[1] = width
        if escapes == 0:
            continue
        unit = bits << (_PRECISION - np.uint64(LENGTH_BITS))
        for symbol in run:
            beyond = abs(np.int64(symbol)) - radius
            if beyond > 0:
                used = _narrow(state, words, used, np.uint64(_bit_length(beyond)) * unit, unit)
        for symbol in run:
            beyond = abs(np.int64(symbol)) - radius
            if beyond > 0:
                length = _bit_length(beyond)
                top = np.int64(1) << (length - 1)
                payload = beyond - top + (top if symbol < 0 else 0)
                unit = bits << (_PRECISION - np.uint64(length))
                used = _narrow(state, words, used, np.uint64(payload) * unit, unit)
    return used


@compiled_exactly
def _raw(state: State, words: Words, used: _Integer, bits: _Integer) -> tuple[_Integer, _Integer]:
    """A raw number of some bits, -1 where the words cannot be a code, and how many words are used."""
    shift = _PRECISION - np.uint64(bits)
    step = state[1] >> _PRECISION
    quantile = state[0] // step
    if quantile >> _PRECISION:
        return -1, used
    value = quantile >> shift
    ahead, width = state[0] - step * (value << shift), step << shift
    if width <= _WORD:
        width = width << _WORD_BITS
        ahead = ahead << _WORD_BITS
        if used < len(words):
            ahead |= np.uint64(words[used])
        used += 1
    state[0] = ahead
    state[1] = width
    return np.int64(value), used


@compiled_exactly
def read(
    state: State, words: Words, used: _Integer, grouped: Int16Array, edges: Places, skip: int, radii: IntArray,
    offsets: Longs, starts: Words, found: Longs,
) -> tuple[int, _Integer]:  # fmt: skip
    """Decode grouped symbols; returns FINE, INVALID or BAD_LENGTH, and how many words are used.

    As `write`; starts have the end of a table behind its entries. state: how far the code is ahead of the interval's
    lower end, and its width. found: the least and the largest length of escaped symbols where these are bad, and the
    largest magnitude of escaped symbols.
    """
    one = np.uint64(1)
    for table in range(skip, len(edges) - 1):
        run = grouped[edges[table] : edges[table + 1]]
        radius = np.int64(radii[table])
        centre, escape = np.uint64(radius), np.uint64(2 * radius + 1)
        own = starts[offsets[table] : offsets[table + 1]]
        zero_start, zero_end = np.uint64(own[centre]), np.uint64(own[centre + one])
        escapes = 0
        ahead, width = state[0], state[1]
        consumed = np.uintp(used)
        for place in range(np.uintp(len(run))):
            step = width >> _PRECISION
            left, right = step * zero_start, step * zero_end
            if left <= ahead < right:
                run[place] = 0
            else:
                target = ahead // step
                if target >> _PRECISION:
                    return INVALID, np.int64(consumed)
                # the last entry that starts at or below the target
                entry, above = (np.uint64(0), centre) if ahead < left else (centre, escape + one)
                while above - entry > one:
                    middle = (entry + above) >> one
                    if np.uint64(own[middle]) <= target:
                        entry = middle
                    else:
                        above = middle
                if entry == escape:
                    escapes += 1
                left, right = step * np.uint64(own[entry]), step * np.uint64(own[entry + one])
                run[place] = np.int64(entry) - radius
            ahead -= left
            width = right - left
            if width <= _WORD:
                width = width << _WORD_BITS
                ahead = ahead << _WORD_BITS
                if consumed < np.uintp(len(words)):
                    ahead |= np.uint64(words[consumed])
                consumed += np.uintp(1)
        used = np.int64(consumed)
        state[0] = ahead
        state[1] = width
        if escapes == 0:
            continue
        lengths = np.empty(escapes, np.int64)
        for number in range(escapes):
            lengths[number], used = _raw(state, words, used, LENGTH_BITS)
            if lengths[number] < 0:
                return INVALID, used
        found[0], found[1] = lengths.min(), lengths.max()
        if found[0] < 1 or found[1] > MAX_LENGTH:
            return BAD_LENGTH, used
        escaped = 0
        for place in range(len(run)):
            if run[place] > radius:
                payload, used = _raw(state, words, used, lengths[escaped])
                if payload < 0:
                    return INVALID, used
                top = np.int64(1) << (lengths[escaped] - 1)
                escaped += 1
                magnitude = radius + (payload + top if payload < top else payload)
                found[2] = max(found[2], magnitude)
                run[place] = magnitude if payload < top else -magnitude
    return FINE, used
