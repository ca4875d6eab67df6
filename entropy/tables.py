"""Integer probability tables: what the range coder sees, and the builders that make them when a model is exported.

A table of radius R has 2R + 2 entries: entry i codes the symbol i - R for i in 0..2R, and the last entry, 2R + 1, is
the escape that announces a symbol outside -R..R. Frequencies are integers, each at least 1, and sum to 65536. Tables
are stored, never computed where a stream is read: the builders below may use floating point, their results are frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError, WeightsError

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS
MAX_SYMBOL = 16383  # largest magnitude of a symbol that the escape code can carry
MAX_TABLES = 1 << 16  # table indices are sorted as 16-bit numbers

IntArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.float64]
Prepared = TypeVar("Prepared")


@dataclass(frozen=True, eq=False)
class TableSet:
    """Tables one after the other, validated when made, read-only afterwards.

    `frequencies` holds the entries of all tables in order (uint16), `radii` (T,) each table's radius (int32); `cdf` and
    `offsets` follow: cdf[offsets[t] : offsets[t + 1]] rises strictly from 0 to 65536, one element more than table t
    has entries.

    Raises WeightsError: a radius outside 0..16383, a frequency of 0, a table that does not sum to 65536, wrong lengths.
    """

    frequencies: IntArray
    radii: IntArray
    cdf: NDArray[np.uint32] = field(init=False, repr=False)
    offsets: NDArray[np.int64] = field(init=False, repr=False)
    _prepared: dict[tuple[Callable[..., Any], int], Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        frequencies = _integers("frequencies", self.frequencies, 1, TOTAL - 1).astype(np.uint16)
        radii = _integers("radii", self.radii, 0, MAX_SYMBOL).astype(np.int32)
        count = len(radii)
        if not 1 <= count <= MAX_TABLES:
            msg = f"tables: count is {count}, legal range 1..{MAX_TABLES}"
            raise WeightsError(msg)
        entries = 2 * radii.astype(np.int64) + 2
        ends = np.cumsum(entries)
        if len(frequencies) != ends[-1]:
            msg = f"tables: {len(frequencies)} frequencies where the radii ask for {ends[-1]}"
            raise WeightsError(msg)
        running = np.cumsum(frequencies, dtype=np.int64)
        wrong = np.flatnonzero(np.diff(running[ends - 1], prepend=0) != TOTAL)
        if wrong.size:
            msg = f"tables: the frequencies of table {wrong[0]} do not sum to {TOTAL}"
            raise WeightsError(msg)
        table = np.repeat(np.arange(count), entries)
        cdf = np.zeros(len(frequencies) + count, np.uint32)
        cdf[np.arange(len(frequencies)) + table + 1] = running - table * TOTAL
        offsets = np.concatenate([[0], ends + np.arange(1, count + 1)]).astype(np.int64)
        for name, array in (("frequencies", frequencies), ("radii", radii), ("cdf", cdf), ("offsets", offsets)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.radii)

    @classmethod
    def stack(cls, tables: Sequence[IntArray]) -> TableSet:
        """A set of the given tables, each the frequencies of 2R + 2 entries."""
        odd = [len(table) for table in tables if len(table) < 2 or len(table) % 2]
        if odd or not tables:
            msg = f"tables: a table has {odd[0] if odd else 'no'} entries, legal are 2R + 2 with R in 0..{MAX_SYMBOL}"
            raise WeightsError(msg)
        radii = np.array([len(table) // 2 - 1 for table in tables])
        return cls(np.concatenate(tables), radii)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TableSet:
        """The inverse of `to_arrays`; raises WeightsError where the arrays are not tables."""
        for name in ("frequencies", "radii"):
            if name not in arrays:
                msg = f"tables: the array '{name}' is missing"
                raise WeightsError(msg)
        return cls(arrays["frequencies"], arrays["radii"])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored: `frequencies` uint16 and `radii` uint16, enough to make the set again."""
        return {"frequencies": self.frequencies, "radii": self.radii.astype(np.uint16)}

    def table(self, index: int) -> NDArray[np.uint32]:
        """The cumulative frequencies of one table, uint32 (2R + 3,)."""
        return self.cdf[self.offsets[index] : self.offsets[index + 1]]

    def prepared(self, index: int, prepare: Callable[[NDArray[np.uint32]], Prepared]) -> Prepared:
        """One table as a coder wants it: `prepare(table)`, made on first use and kept with the set.

        `prepare` must depend on the table alone. Two threads may both prepare a table; either result serves.
        """
        key = (prepare, index)
        model: Prepared | None = self._prepared.get(key)
        if model is None:
            model = self._prepared[key] = prepare(self.table(index))
        return model


def _integers(name: str, array: NDArray[Any], low: int, high: int) -> NDArray[Any]:
    """The array, if it is one-dimensional and holds integers in low..high; raises WeightsError otherwise."""
    array = np.asarray(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        msg = f"tables: '{name}' is {array.dtype} of {array.ndim} dimensions, legal are integers of one dimension"
        raise WeightsError(msg)
    if array.size and (array.min() < low or array.max() > high):
        bad = array.min() if array.min() < low else array.max()
        msg = f"tables: '{name}' holds {bad}, legal range {low}..{high}"
        raise WeightsError(msg)
    return array


def quantize_pmf(probabilities: FloatArray, total: int = TOTAL) -> NDArray[np.int64]:
    """Integer frequencies (n,), each at least 1 and summing to total, in proportion to the probabilities.

    Entries that would fall below 1 get 1, the rest share what is left in proportion; the units lost by rounding down go
    to the largest remainders, the lower entry first among equals.

    Raises InputError: fewer than 1 or more than total entries, a negative or non-finite probability, all of them 0.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 1 or not 1 <= p.size <= total:
        msg = f"probabilities have the shape {p.shape}, legal is (n,) with n in 1..{total}"
        raise InputError(msg)
    if not np.isfinite(p).all() or p.min() < 0.0 or p.sum() <= 0.0:
        msg = "probabilities must be finite, at least 0, and not all 0"
        raise InputError(msg)
    p = np.ldexp(p, -np.frexp(p.max())[1])  # exact, and no quotient below overflows
    free = np.ones(p.size, bool)
    share = p * 0.0
    while True:  # ends: every round but the last turns an entry of `free` off, and the largest one stays
        share[free] = p[free] * ((total - np.count_nonzero(~free)) / p[free].sum())
        small = free & (share < 1.0)
        if not small.any() or np.array_equal(small, free):
            break
        free &= ~small
    frequencies = np.where(free, np.floor(share), 1.0).astype(np.int64)
    frequencies = np.maximum(frequencies, 1)
    missing = total - int(frequencies.sum())
    order = np.argsort(np.where(free, np.floor(share) - share, 1.0), kind="stable")
    frequencies[order[:missing]] += 1
    return frequencies


def mix_tables(frequencies: IntArray, weights: IntArray, offsets: IntArray) -> NDArray[np.int64]:
    """The frequencies of a mixture, int64 (n,): the reference definition, in integers alone.

    `frequencies` (K, n) are K tables of one radius R = n / 2 - 1; `weights` (K,) are at least 0 and sum to a power of
    two 2 ** p; `offsets` (K,) move the components, so that component k gives the symbol s what its own table gives
    s - offsets[k]. What a component moves beyond -R..R is added to its escape. With g the tables less 1 everywhere:

        mass[i] = sum over k of weights[k] * g[k] at entry i - offsets[k]       (escape: plus what was moved out)
        cdf[i]  = i + ((mass[0] + ... + mass[i - 1]) >> p)

    which rises by at least 1 per entry and ends at exactly 65536, because each row of g sums to 65536 - n. A single
    component with offset 0 is returned unchanged.

    Raises InputError: shapes that do not fit, rows that are not tables, weights that do not sum to 1, 2, ..., 2 ** 24.
    """
    tables, weight, offset = (np.asarray(array).astype(np.int64) for array in (frequencies, weights, offsets))
    if tables.ndim != 2 or weight.shape != tables.shape[:1] or offset.shape != tables.shape[:1]:
        msg = (
            f"mixture: tables {tables.shape}, weights {weight.shape}, offsets {offset.shape}; legal: (K, n), (K,), (K,)"
        )
        raise InputError(msg)
    count = tables.shape[1]
    if count < 2 or count % 2 or tables.min(initial=1) < 1 or (tables.sum(axis=1) != TOTAL).any():
        msg = f"mixture: every table must have 2R + 2 entries of at least 1 that sum to {TOTAL}"
        raise InputError(msg)
    weight_sum = int(weight.sum())
    if weight.min(initial=0) < 0 or weight_sum not in {1 << p for p in range(25)}:
        msg = f"mixture: weights {weight.tolist()} must be at least 0 and sum to a power of two up to 2 ** 24"
        raise InputError(msg)
    mass = np.zeros(count, np.int64)
    regular = count - 1
    for row, factor, shift in zip(tables - 1, weight.tolist(), offset.tolist(), strict=True):
        first, last = max(0, shift), min(regular, regular + shift)  # the entries that this component still reaches
        kept = row[first - shift : last - shift] if last > first else row[:0]
        mass[first : first + kept.size] += factor * kept
        mass[regular] += factor * int(row.sum() - kept.sum())
    cdf = np.arange(count + 1) + (np.concatenate([[0], np.cumsum(mass)]) >> (weight_sum.bit_length() - 1))
    mixed: NDArray[np.int64] = np.diff(cdf)
    return mixed
