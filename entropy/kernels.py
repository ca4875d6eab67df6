"""The loops of the compiled range coder; rangecoder.py documents the arithmetic, groups.py the order of coding.

An array of symbols is seen as (I, J, K), its axes in the order of memory. Within a table symbols are in the order of
the array's first axis, its channel, which is the first or the last of these: so a symbol's bin is table * C + channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nacre.entropy.compiled import compiled_exactly
from nacre.entropy.rangecoder import Words
from nacre.entropy.tables import IntArray

Int16Array = NDArray[np.int16]
Places = NDArray[np.int64]
State = NDArray[np.uint64]

_Integer = int | np.signedinteger[Any]

FINE, INVALID, BAD_LENGTH = 0, 1, 2

_WORD = np.uint64(0xFFFFFFFF)
_HIGHEST = np.uint32(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)
_PRECISION = np.uint64(24)
_SPARE_BITS = np.uint64(8)  # of the precision over the tables' 16
_LENGTH_BITS = 4
_MAX_LENGTH = 14


@compiled_exactly
def count(index: IntArray, skip: int, bins: Places, channels: int, channels_last: bool) -> None:
    """Add to each bin how many symbols with an index of at least skip are in it."""
    least, wide = np.uintp(skip), np.uintp(channels)
    for i in range(index.shape[0]):
        for j in range(index.shape[1]):
            for k in range(index.shape[2]):
                table = np.uintp(index[i, j, k])
                if table >= least:
                    bins[table * wide + np.uintp(k if channels_last else i)] += 1


@compiled_exactly
def gather(
    index: IntArray, symbols: IntArray, skip: int, bins: Places, channels: int, channels_last: bool, grouped: Int16Array
) -> int:
    """Symbols to their places, from where each bin begins; returns how many of the others are not 0."""
    least, wide = np.uintp(skip), np.uintp(channels)
    lost = 0
    for i in range(index.shape[0]):
        for j in range(index.shape[1]):
            for k in range(index.shape[2]):
                table = np.uintp(index[i, j, k])
                if table >= least:
                    at = table * wide + np.uintp(k if channels_last else i)
                    place = bins[at]
                    grouped[np.uintp(place)] = symbols[i, j, k]
                    bins[at] = place + 1
                elif symbols[i, j, k] != 0:
                    lost += 1
    return lost


@compiled_exactly
def spread(
    index: IntArray, symbols: IntArray, skip: int, bins: Places, channels: int, channels_last: bool, grouped: Int16Array
) -> None:
    """The inverse of `gather`; symbols that are in no bin are 0."""
    least, wide = np.uintp(skip), np.uintp(channels)
    for i in range(index.shape[0]):
        for j in range(index.shape[1]):
            for k in range(index.shape[2]):
                table = np.uintp(index[i, j, k])
                if table >= least:
                    at = table * wide + np.uintp(k if channels_last else i)
                    place = bins[at]
                    symbols[i, j, k] = grouped[np.uintp(place)]
                    bins[at] = place + 1
                else:
                    symbols[i, j, k] = 0


@compiled_exactly
def carry(words: Words, used: int) -> None:
    """Add one to the number that the words write."""
    place = used - 1
    while words[place] == _HIGHEST:
        words[place] = np.uint32(0)
        place -= 1
    words[place] += np.uint32(1)


@compiled_exactly
def _narrow(state: State, words: Words, used: int, start: np.uint64, span: np.uint64) -> int:
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
    state: State, words: Words, used: int, grouped: Int16Array, edges: Places, radii: IntArray, offsets: Places,
    cdf: Words,
) -> int:  # fmt: skip
    """Code grouped symbols, table t's at edges[t] to edges[t + 1]; returns how many words are used."""
    bits = np.uint64(1)
    for table in range(len(edges) - 1):
        first, last = edges[table], edges[table + 1]
        radius, base = np.int64(radii[table]), offsets[table]
        escape = 2 * radius + 1
        escapes = 0
        lower, width = state[0], state[1]
        for place in range(first, last):
            entry = np.int64(grouped[place]) + radius
            if entry < 0 or entry >= escape:
                entry = escape
                escapes += 1
            at = np.uintp(base + entry)
            start = np.uint64(cdf[at])
            step = width >> _PRECISION
            moved = lower + step * (start << _SPARE_BITS)
            width = step * ((np.uint64(cdf[at + np.uintp(1)]) - start) << _SPARE_BITS)
            if moved < lower:
                carry(words, used)
            lower = moved
            if width <= _WORD:
                words[used] = np.uint32(lower >> _WORD_BITS)
                used += 1
                lower = lower << _WORD_BITS
                width = width << _WORD_BITS
        state[0] = lower
        state[1] = width
        if escapes == 0:
            continue
        unit = bits << (_PRECISION - np.uint64(_LENGTH_BITS))
        for place in range(first, last):
            beyond = abs(np.int64(grouped[place])) - radius
            if beyond > 0:
                used = _narrow(state, words, used, np.uint64(_bit_length(beyond)) * unit, unit)
        for place in range(first, last):
            symbol = np.int64(grouped[place])
            beyond = abs(symbol) - radius
            if beyond > 0:
                length = _bit_length(beyond)
                top = np.int64(1) << (length - 1)
                payload = beyond - top + (top if symbol < 0 else 0)
                unit = bits << (_PRECISION - np.uint64(length))
                used = _narrow(state, words, used, np.uint64(payload) * unit, unit)
    return used


@compiled_exactly
def _raw(state: State, words: Words, used: int, bits: _Integer) -> tuple[_Integer, int]:
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
    state: State, words: Words, used: int, grouped: Int16Array, edges: Places, radii: IntArray, offsets: Places,
    cdf: Words, found: Places,
) -> tuple[int, int]:  # fmt: skip
    """Decode grouped symbols; returns FINE, INVALID or BAD_LENGTH, and how many words are used.

    state: how far the code is ahead of the interval's lower end, and its width. found: the least and the largest length
    of escaped symbols where these are bad, and the largest magnitude of escaped symbols.
    """
    for table in range(len(edges) - 1):
        first, last = edges[table], edges[table + 1]
        if first == last:
            continue
        radius, base = np.int64(radii[table]), offsets[table]
        escape = 2 * radius + 1
        zero = np.uintp(base + radius)
        zero_start, zero_end = np.uint64(cdf[zero]) << _SPARE_BITS, np.uint64(cdf[zero + np.uintp(1)]) << _SPARE_BITS
        escapes = 0
        ahead, width = state[0], state[1]
        for place in range(first, last):
            step = width >> _PRECISION
            left = step * zero_start
            if left <= ahead < step * zero_end:
                entry = radius
                width = step * zero_end - left
            else:
                quantile = ahead // step
                if quantile >> _PRECISION:
                    return INVALID, used
                target = np.uint32(quantile >> _SPARE_BITS)
                # the last entry that starts at or below the target
                entry, above = (np.int64(0), radius) if ahead < left else (radius, escape + 1)
                while above - entry > 1:
                    middle = (entry + above) >> 1
                    if cdf[np.uintp(base + middle)] <= target:
                        entry = middle
                    else:
                        above = middle
                at = np.uintp(base + entry)
                start = np.uint64(cdf[at])
                left = step * (start << _SPARE_BITS)
                width = step * ((np.uint64(cdf[at + np.uintp(1)]) - start) << _SPARE_BITS)
                if entry == escape:
                    escapes += 1
            ahead -= left
            if width <= _WORD:
                width = width << _WORD_BITS
                ahead = ahead << _WORD_BITS
                if used < len(words):
                    ahead |= np.uint64(words[used])
                used += 1
            grouped[place] = entry - radius
        state[0] = ahead
        state[1] = width
        if escapes == 0:
            continue
        lengths = np.empty(escapes, np.int64)
        for number in range(escapes):
            lengths[number], used = _raw(state, words, used, _LENGTH_BITS)
            if lengths[number] < 0:
                return INVALID, used
        found[0], found[1] = lengths.min(), lengths.max()
        if found[0] < 1 or found[1] > _MAX_LENGTH:
            return BAD_LENGTH, used
        escaped = 0
        for place in range(first, last):
            if grouped[place] > radius:
                payload, used = _raw(state, words, used, lengths[escaped])
                if payload < 0:
                    return INVALID, used
                top = np.int64(1) << (lengths[escaped] - 1)
                escaped += 1
                magnitude = radius + (payload + top if payload < top else payload)
                found[2] = max(found[2], magnitude)
                grouped[place] = magnitude if payload < top else -magnitude
    return FINE, used
