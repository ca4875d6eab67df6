"""Joining of tiles: the rule of the specification in plain NumPy, whole pictures and windows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nacre.bitstream.geometry import Rectangle, Tile, tile_grid, tiles
from nacre.blend import Tiled, blend
from nacre.picture import Pixels


def axis_weights(length: int, size: int, margin: int, start: int, stop: int, first: int) -> tuple[list[int], list[int]]:
    """For the pixels first..first+n-1 of an area whose core is start..stop-1: weight of this tile, sum of weights."""
    weights, totals = [], []
    count = -(-length // size)
    tile = start // size
    end = min(stop + margin, length)
    for x in range(first, end):
        weight, total = (1 if start <= x < stop else 0), 1
        for border in (tile, tile + 1):
            if not 0 < border < count:
                continue
            half = min(margin, size, min((border + 1) * size, length) - border * size)
            p = x - (border * size - half)
            if 0 <= p < 2 * half:
                total = 4 * half
                weight = 2 * p + 1 if border == tile else 4 * half - (2 * p + 1)
        weights.append(weight)
        totals.append(total)
    return weights, totals


def reference(width: int, height: int, size: int, margin: int, areas: list[Pixels]) -> Pixels:
    """The blended picture, straight from the rule."""
    sums = np.zeros((height, width, *areas[0].shape[2:]), np.int64)
    total = np.zeros((height, width), np.int64)
    weight_sum = np.zeros((height, width), np.int64)
    for tile, samples in zip(tiles(width, height, size, margin), areas, strict=True):
        x, y, across, down = tile.area
        left, top, core_width, core_height = tile.core
        wx, tx = axis_weights(width, size, margin, left, left + core_width, x)
        wy, ty = axis_weights(height, size, margin, top, top + core_height, y)
        weight = np.outer(wy, wx)
        place = np.s_[y : y + down, x : x + across]
        sums[place] += (weight if samples.ndim == 2 else weight[..., np.newaxis]) * samples
        weight_sum[place] += weight
        core = np.s_[top : top + core_height, left : left + core_width]
        total[core] = np.outer(ty, tx)[top - y : top - y + core_height, left - x : left - x + core_width]
    np.testing.assert_array_equal(weight_sum, total)
    if sums.ndim == 3:
        total = total[..., np.newaxis]
    picture: Pixels = ((sums + total // 2) // total).astype(np.uint8)
    return picture


def random_areas(width: int, height: int, size: int, margin: int, channels: int, seed: int) -> list[Pixels]:
    random = np.random.default_rng(seed)
    tail = () if channels == 1 else (channels,)
    return [
        random.integers(0, 256, (tile.area.height, tile.area.width, *tail), np.uint8)
        for tile in tiles(width, height, size, margin)
    ]


def joined(
    width: int, height: int, size: int, margin: int, areas: list[Pixels], window: Rectangle
) -> NDArray[np.uint8]:
    picture = Tiled.of(width, height, size, margin, window)
    columns = tile_grid(width, height, size)[1]

    def touched() -> Iterator[tuple[Tile, Pixels]]:
        for tile, samples in zip(tiles(width, height, size, margin), areas, strict=True):
            row, column = divmod(tile.index, columns)
            if row in picture.rows.touched() and column in picture.columns.touched():
                yield tile, samples

    return np.concatenate([rows.copy() for rows in blend(picture, touched())])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("width", "height", "size", "margin"),
    [
        (128, 128, 64, 16),
        (130, 70, 64, 16),  # last core narrower than the margin
        (65, 65, 64, 16),
        (64, 300, 64, 0),
        (300, 1, 64, 16),
        (700, 600, 256, 64),
        (1500, 900, 512, 128),  # sums beyond 16 bits
        (50, 40, 0, 0),
        (50, 40, 64, 0),
    ],
)
def test_whole_pictures(width: int, height: int, size: int, margin: int, channels: int) -> None:
    areas = random_areas(width, height, size, margin, channels, 1)
    found = joined(width, height, size, margin, areas, Rectangle(0, 0, width, height))
    expected = reference(width, height, size or 1 << 16, margin, areas)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=150)
@given(data=st.data())
def test_windows_are_crops(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 280)), data.draw(st.integers(1, 280))
    size = data.draw(st.sampled_from([64, 128]))
    margin = data.draw(st.sampled_from([0, 16, size // 4])) if width > size or height > size else 0
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    window = Rectangle(x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    areas = random_areas(width, height, size, margin, 3, width + height)
    expected = reference(width, height, size, margin, areas)
    found = joined(width, height, size, margin, areas, window)
    np.testing.assert_array_equal(found, expected[y : y + window.height, x : x + window.width])


def test_flat_tiles_stay_flat_and_steps_become_ramps() -> None:
    width, height, size, margin = 256, 32, 128, 16
    areas = [
        np.full((tile.area.height, tile.area.width), 100 + 60 * tile.index, np.uint8)
        for tile in tiles(width, height, size, margin)
    ]
    (row,) = {tuple(row) for row in joined(width, height, size, margin, areas, Rectangle(0, 0, width, height))}
    assert set(row[: size - margin]) == {100}
    assert set(row[size + margin :]) == {160}
    ramp = np.diff(np.array(row[size - margin - 1 : size + margin + 1], int))
    assert ramp.min() >= 0
    assert ramp.max() <= 3
