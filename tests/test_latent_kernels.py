"""The compiled loops of the fastest encoder give what their definitions by NumPy give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre import latent_arrays
from nacre.weights.store import LEVEL_STEP

latent_kernels = pytest.importorskip("nacre.latent_kernels")

LARGEST = np.float32(100)


@given(st.integers(0, 10**9), st.integers(1, 5), st.integers(1, 5), st.integers(1, 40), st.data())
def test_choosing_symbols(seed: int, height: int, width: int, channels: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    shape = (2 * height, 2 * width, channels)
    y = (random.standard_cauchy(shape) * 8).astype(np.float32)
    mean = np.rint(random.normal(size=(height, width, channels)) * 4).astype(np.float32) / 2  # with many ties
    index = random.integers(0, 8, shape).astype(np.uint8)
    thresholds = np.append(np.float32(1e9), np.linspace(0.0, 0.3, 7, dtype=np.float32))
    place = data.draw(st.sampled_from([(0, 0), (0, 1), (1, 0), (1, 1)]))
    beyond = [data.draw(st.integers(0, side)) for side in shape]
    results = []
    for loops in (latent_arrays, latent_kernels):
        symbols, decoded = np.full(shape, -7, np.int16), mean.copy()
        loops.choose(decoded, y, index, *place, *beyond, thresholds, LARGEST, symbols)
        results.append((symbols, decoded))
    (symbols, decoded), compiled = results
    assert np.array_equal(symbols, compiled[0])
    assert np.array_equal(decoded, compiled[1])
    quarter = symbols[place[0] :: 2, place[1] :: 2]
    assert np.array_equal(decoded, mean + quarter)
    assert np.abs(quarter).max() <= LARGEST
    assert np.count_nonzero(symbols == -7) >= 3 * quarter.size  # the other places are not touched
    rows, columns, live = beyond
    assert not symbols[rows + (rows - place[0]) % 2 :: 2, place[1] :: 2].any()
    assert not symbols[place[0] :: 2, columns + (columns - place[1]) % 2 :: 2].any()
    assert not quarter[..., live:].any()
    coded = index[place[0] : rows : 2, place[1] : columns : 2, :live] > 0
    residual = y[place[0] : rows : 2, place[1] : columns : 2, :live] - mean[: coded.shape[0], : coded.shape[1], :live]
    chosen = quarter[: coded.shape[0], : coded.shape[1], :live]
    assert not chosen[~coded].any()
    near = coded & (np.abs(residual) < LARGEST)
    assert (np.abs(residual - chosen)[near] <= 0.81).all()


def test_levels_of_a_latent() -> None:
    random = np.random.default_rng(1)
    y = np.concatenate([random.standard_cauchy(5000) * 5, [0.0, -0.0, 1e9, -1e9, 1e-30]]).astype(np.float32)
    table, found = latent_arrays.level_table(), np.empty((2, len(y)), np.uint8)
    for loops, out in zip((latent_arrays, latent_kernels), found, strict=True):
        loops.levels(y.view(np.uint32), table, out)
    assert np.array_equal(found[0], found[1])
    exact = np.clip(np.sign(y) * np.log1p(np.abs(y)) / LEVEL_STEP, -127, 127) + 128
    assert np.abs(found[0] - exact).max() < 0.65  # half a level, and what the lower bits of a float are worth


@given(st.integers(0, 10**9), st.integers(1, 130), st.integers(1, 130))
def test_patches_of_a_picture(seed: int, height: int, width: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    shape = (-(-height // 64) * 4, -(-width // 64) * 4, 16, 48)
    found = [np.empty(shape, np.uint8) for _ in range(2)]
    for loops, out in zip((latent_arrays, latent_kernels), found, strict=True):
        loops.patches(pixels, out)
    assert np.array_equal(found[0], found[1])
    whole = found[0].reshape(*shape[:3], 16, 3).transpose(0, 2, 1, 3, 4).reshape(shape[0] * 16, shape[1] * 16, 3)
    assert np.array_equal(whole[:height, :width], pixels)
    assert (whole[height:, :width] == pixels[-1]).all()


def test_adding_symbols() -> None:
    random = np.random.default_rng(4)
    mean, symbols = random.normal(size=(3, 4, 5)).astype(np.float32), random.integers(-9, 10, (6, 8, 5), np.int32)
    for loops in (latent_arrays, latent_kernels):
        found = mean.copy()
        loops.add(found, symbols, 1, 0)
        assert np.array_equal(found, mean + symbols[1::2, ::2].astype(np.float32))


@given(st.integers(1, 100), st.integers(1, 100))
def test_rows_become_columns(height: int, width: int) -> None:
    matrix = np.arange(height * width, dtype=np.int16).reshape(height, width)
    for loops in (latent_arrays, latent_kernels):
        out = np.empty((width, height), np.int16)
        loops.transpose(matrix, out)
        assert np.array_equal(out, matrix.T)
