"""Grids and tiles of a picture, in integers only.

Sizes are pixels of the picture or positions of a grid. A tile is coded as if its area were a picture of its own: the
area is padded to multiples of 64 to the right and below, and its latents live on grids of 1/16 (y) and 1/64 (z).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

Y_STEP = 16  # pixels between positions of the y grid
Z_STEP = 64  # pixels between positions of the z grid, and the multiple that areas are padded to


class Rectangle(NamedTuple):
    """Left, top, width and height in pixels of the picture."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: its raster number, the core that only it covers, and the area that is coded (core and margin)."""

    index: int
    core: Rectangle
    area: Rectangle


def ceil_div(value: int, step: int) -> int:
    """value / step, rounded up; value >= 0, step > 0."""
    return -(-value // step)


def padded_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of an area of `width` x `height` pixels after padding to multiples of 64."""
    return ceil_div(width, Z_STEP) * Z_STEP, ceil_div(height, Z_STEP) * Z_STEP


def y_grid(width: int, height: int) -> tuple[int, int]:
    """(rows, columns) of the coded y positions of an area of `width` x `height` pixels."""
    return ceil_div(height, Y_STEP), ceil_div(width, Y_STEP)


def z_grid(width: int, height: int) -> tuple[int, int]:
    """(rows, columns) of the z positions of an area of `width` x `height` pixels."""
    return ceil_div(height, Z_STEP), ceil_div(width, Z_STEP)


def tile_grid(width: int, height: int, tile_size: int) -> tuple[int, int]:
    """(rows, columns) of the tiles of a picture; tile_size in pixels, 0 = the whole picture is one tile."""
    if tile_size == 0:
        return 1, 1
    return ceil_div(height, tile_size), ceil_div(width, tile_size)


def tile_count(width: int, height: int, tile_size: int) -> int:
    """Number of tiles of a picture; tile_size in pixels, 0 = the whole picture is one tile."""
    rows, columns = tile_grid(width, height, tile_size)
    return rows * columns


def tiles(width: int, height: int, tile_size: int, margin: int) -> Iterator[Tile]:
    """The tiles of a picture of `width` x `height` pixels in raster order, made one by one.

    The cores are squares of `tile_size` pixels, smaller at the right and lower edge; the area adds `margin` pixels on
    every side as far as the picture reaches.
    """
    rows, columns = tile_grid(width, height, tile_size)
    step = tile_size or max(width, height)
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        left, top = column * step, row * step
        right, bottom = min(left + step, width), min(top + step, height)
        x, y = max(left - margin, 0), max(top - margin, 0)
        yield Tile(
            index=index,
            core=Rectangle(left, top, right - left, bottom - top),
            area=Rectangle(x, y, min(right + margin, width) - x, min(bottom + margin, height) - y),
        )
