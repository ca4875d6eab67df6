"""Integer tables: construction, storage, quantization and mixtures."""

from __future__ import annotations

import io
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pmfs import gaussian_pmf, scale_levels

from nacre.bitstream.errors import InputError, WeightsError
from nacre.entropy import (
    MAX_SYMBOL,
    TOTAL,
    TableSet,
    mix_tables,
    quantize_pmf,
)


def random_table(seed: int, radius: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return quantize_pmf(rng.gamma(0.3, size=2 * radius + 2))


def test_tables_are_cumulative_and_read_only() -> None:
    tables = TableSet.stack([random_table(radius, radius) for radius in (0, 1, 7, 300)])
    assert len(tables) == 4
    for index, radius in enumerate((0, 1, 7, 300)):
        cdf = tables.table(index)
        assert cdf.dtype == np.uint32
        assert (cdf[0], cdf[-1], len(cdf)) == (0, TOTAL, 2 * radius + 3)
        assert (np.diff(cdf.astype(np.int64)) == random_table(radius, radius)).all()
    for array in (tables.cdf, tables.offsets, tables.radii, tables.frequencies):
        assert not array.flags.writeable


def test_tables_survive_npz_without_pickle() -> None:
    tables = TableSet.stack([random_table(3, 5), random_table(4, 0), np.array([TOTAL - 1, 1])])
    file = io.BytesIO()
    np.savez_compressed(file, **tables.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = TableSet.from_arrays(arrays)
    assert (again.cdf == tables.cdf).all()
    assert (again.radii == tables.radii).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radii": np.array([1, 1])}, "radii ask for 8"),
        ({"radii": np.array([-1])}, "holds -1"),
        ({"radii": np.array([MAX_SYMBOL + 1])}, "holds 16384"),
        ({"radii": np.zeros((1, 1), int)}, "2 dimensions"),
        ({"radii": np.array([], int)}, "count is 0"),
        ({"frequencies": np.array([0, 1, 1, TOTAL - 2])}, "holds 0"),
        ({"frequencies": np.array([1, 1, 1, TOTAL - 4])}, "do not sum"),
        ({"frequencies": np.array([1, 1, 1, TOTAL + 1])}, "holds 65537"),
        ({"frequencies": np.array([0.25] * 4)}, "float64"),
        ({"frequencies": None}, "missing"),
    ],
)
def test_damaged_tables_are_refused(change: dict[str, Any], message: str) -> None:
    arrays = {"frequencies": np.array([1, 1, 1, TOTAL - 3]), "radii": np.array([1])} | change
    with pytest.raises(WeightsError, match=message):
        TableSet.from_arrays({name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize("tables", [[], [np.array([1, 1, TOTAL - 2])], [np.array([], int)]])
def test_stack_refuses_what_is_no_table(tables: list[NDArray[Any]]) -> None:
    with pytest.raises(WeightsError, match="entries"):
        TableSet.stack(tables)


def test_a_prepared_table_is_made_once() -> None:
    tables = TableSet.stack([random_table(1, 2), random_table(2, 2)])
    made: list[int] = []

    def prepare(cdf: NDArray[np.uint32]) -> list[int]:
        made.append(len(cdf))
        return [int(edge) for edge in cdf]

    assert tables.prepared(1, prepare) is tables.prepared(1, prepare)
    assert tables.prepared(0, prepare) != tables.prepared(1, prepare)
    assert len(made) == 2


def test_scale_levels_are_geometric() -> None:
    levels = scale_levels()
    assert len(levels) == 64
    assert levels[0] == pytest.approx(0.05)
    assert levels[-1] == pytest.approx(256.0)
    assert np.allclose(levels[1:] / levels[:-1], levels[1] / levels[0])


@given(
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=60).filter(lambda p: sum(p) > 0),
    st.integers(60, TOTAL),
)
def test_quantized_frequencies_are_a_table(probabilities: list[float], total: int) -> None:
    p = np.array(probabilities)
    frequencies = quantize_pmf(p, total)
    assert frequencies.min() >= 1
    assert frequencies.sum() == total
    assert np.array_equal(frequencies, quantize_pmf(p, total))
    order = np.argsort(p, kind="stable")
    assert (np.diff(frequencies[order]) >= -1).all()  # larger probabilities get as much, up to a rounded unit


def test_quantization_costs_almost_nothing() -> None:
    for sigma in scale_levels():
        p = gaussian_pmf(float(sigma), max(1, math.ceil(3.5 * sigma)))
        frequencies = quantize_pmf(p)
        ideal = -(p[p > 0] * np.log2(p[p > 0])).sum()
        real = -(p * np.log2(frequencies / TOTAL)).sum()
        assert real - ideal < 0.002


@pytest.mark.parametrize(
    "probabilities", [[], [0.0, 0.0], [-0.1, 1.0], [math.nan, 1.0], [math.inf, 1.0], [[0.5, 0.5]], [0.1] * 9]
)
def test_quantization_refuses_what_is_no_distribution(probabilities: list[float]) -> None:
    with pytest.raises(InputError, match="probabilities"):
        quantize_pmf(np.array(probabilities), 8)


mixtures = st.integers(1, 4).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 10**6), min_size=count, max_size=count),
        st.integers(0, 24),
        st.lists(st.integers(-12, 12), min_size=count, max_size=count),
        st.integers(0, 8),
    )
)


def weights_of(seed: int, count: int, power: int) -> list[int]:
    cuts = sorted(np.random.default_rng(seed).integers(0, (1 << power) + 1, count - 1).tolist())
    return [b - a for a, b in pairwise([0, *cuts, 1 << power])]


@given(mixtures)
def test_mixtures_are_tables_and_follow_the_definition(case: tuple[list[int], int, list[int], int]) -> None:
    seeds, power, offsets, radius = case
    rows = [random_table(seed, radius).tolist() for seed in seeds]
    weights = weights_of(seeds[0], len(seeds), power)
    mixed = mix_tables(np.array(rows), np.array(weights), np.array(offsets))
    assert mixed.min() >= 1
    assert mixed.sum() == TOTAL

    # The definition again, in Python's integers, from the point of view of each component's symbols.
    count = 2 * radius + 2
    mass = [0] * count
    for row, weight, offset in zip(rows, weights, offsets, strict=True):
        for entry, frequency in enumerate(row):
            target = entry + offset if entry < count - 1 and 0 <= entry + offset < count - 1 else count - 1
            mass[target] += weight * (frequency - 1)
    assert sum(mass) == (TOTAL - count) << power
    cdf = [entry + (sum(mass[:entry]) >> power) for entry in range(count + 1)]
    assert mixed.tolist() == [b - a for a, b in pairwise(cdf)]


def test_a_single_component_is_returned_unchanged() -> None:
    table = random_table(5, 20)
    assert np.array_equal(mix_tables(table[None], np.array([1]), np.array([0])), table)
    assert np.array_equal(mix_tables(np.stack([table, table]), np.array([3, 5]), np.array([0, 0])), table)


def test_a_component_moved_out_of_reach_goes_to_the_escape() -> None:
    table = random_table(6, 4)
    for offset in (9, -9, 10**6, -(10**6)):
        mixed = mix_tables(table[None], np.array([1]), np.array([offset]))
        assert mixed.tolist() == [1] * 9 + [TOTAL - 9]


@pytest.mark.parametrize(
    ("tables", "weights", "offsets"),
    [
        ([[1, TOTAL - 1]], [3], [0]),
        ([[1, TOTAL - 1]], [1 << 25], [0]),
        ([[1, TOTAL - 1]] * 2, [5, -1], [0, 0]),
        ([[0, TOTAL]], [1], [0]),
        ([[1, TOTAL]], [1], [0]),
        ([[1, 1, TOTAL - 2]], [1], [0]),
        ([[1, TOTAL - 1]], [1, 1], [0, 0]),
        ([[1, TOTAL - 1]], [1], [0, 0]),
        ([1, TOTAL - 1], [1], [0]),
        (np.zeros((0, 4), int), [], []),
    ],
)
def test_mixtures_refuse_other_input(tables: Any, weights: list[int], offsets: list[int]) -> None:
    with pytest.raises(InputError, match="mixture"):
        mix_tables(np.array(tables), np.array(weights, int), np.array(offsets, int))
