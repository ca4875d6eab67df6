"""Grids and tiles: cores cover the picture once, areas stay inside it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nacre.bitstream import Rectangle, padded_size, tile_count, tile_grid, tiles, y_grid, z_grid

sizes = st.integers(1, 700)


def pixels(area: Rectangle) -> set[tuple[int, int]]:
    return {(x, y) for y in range(area.y, area.y + area.height) for x in range(area.x, area.x + area.width)}


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_grids_nest(width: int, height: int) -> None:
    padded_width, padded_height = padded_size(width, height)
    assert 0 <= padded_width - width < 64
    assert 0 <= padded_height - height < 64
    rows, columns = z_grid(width, height)
    assert (rows * 64, columns * 64) == (padded_height, padded_width)
    y_rows, y_columns = y_grid(width, height)
    assert 0 <= 4 * rows - y_rows < 4
    assert 0 <= 4 * columns - y_columns < 4
    assert 0 <= 16 * y_rows - height < 16
    assert 0 <= 16 * y_columns - width < 16


def test_grids_of_known_sizes() -> None:
    assert padded_size(1, 65) == (64, 128)
    assert y_grid(1, 65) == (5, 1)
    assert z_grid(1, 65) == (2, 1)


@given(sizes, sizes, st.integers(0, 8).map(lambda n: 64 * n), st.data())
def test_tiles_cover_the_picture(width: int, height: int, tile_size: int, data: st.DataObject) -> None:
    margin = 16 * data.draw(st.integers(0, tile_size // 64))
    result = list(tiles(width, height, tile_size, margin))
    rows, columns = tile_grid(width, height, tile_size)
    assert [tile.index for tile in result] == list(range(tile_count(width, height, tile_size)))
    assert len(result) == rows * columns
    assert sum(tile.core.width * tile.core.height for tile in result) == width * height
    assert [(tile.core.y, tile.core.x) for tile in result] == sorted((tile.core.y, tile.core.x) for tile in result)
    for tile in result:
        core, area = tile.core, tile.area
        assert area.x == max(core.x - margin, 0)
        assert area.y == max(core.y - margin, 0)
        assert area.x + area.width == min(core.x + core.width + margin, width)
        assert area.y + area.height == min(core.y + core.height + margin, height)
        assert area.x % 16 == area.y % 16 == 0
    assert 4 * sum(tile.area.width * tile.area.height for tile in result) <= 9 * width * height


def test_cores_do_not_overlap() -> None:
    cores = [pixels(tile.core) for tile in tiles(150, 70, 64, 16)]
    assert sum(len(core) for core in cores) == 150 * 70
    assert set().union(*cores) == pixels(Rectangle(0, 0, 150, 70))


def test_tiles_of_a_known_picture() -> None:
    assert [tuple(tile.area) for tile in tiles(150, 70, 64, 16)] == [
        (0, 0, 80, 70),
        (48, 0, 96, 70),
        (112, 0, 38, 70),
        (0, 48, 80, 22),
        (48, 48, 96, 22),
        (112, 48, 38, 22),
    ]
    assert [tuple(tile.area) for tile in tiles(150, 70, 0, 0)] == [(0, 0, 150, 70)]
