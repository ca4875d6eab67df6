"""Tiles joined into rows: where the areas of neighbours overlap, their samples fade into each other, in integers.

Along an axis, the tiles on both sides of a border share a zone of 2 h pixels around it, where h is the margin, or the
size of the later core if that is smaller. Pixel p = 0..2h-1 of the zone has the weight 2p + 1 in the later tile and
4h - (2p + 1) in the earlier; outside of zones the only tile has the weight 1. Weights of both axes are multiplied, sums
divided by the sum of the weights and rounded (SPEC.md, section 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.geometry import Rectangle, Tile, ceil_div
from nacre.picture import Pixels

_NARROW = 64  # up to this margin, 255 * 4 h fits 16 bits and 255 * 16 h^2 fits 32


class Stretch(NamedTuple):
    """Positions start..stop-1 on an axis."""

    start: int
    stop: int

    def within(self, other: Stretch) -> Stretch:
        """What of it lies in another one; where nothing does, an empty stretch at the near end of that one."""
        start = min(max(self.start, other.start), other.stop)
        return Stretch(start, max(start, min(self.stop, other.stop)))

    @property
    def size(self) -> int:
        """How many positions they are."""
        return self.stop - self.start

    def of(self, origin: int) -> slice:
        """The slice of an array whose first element stands at `origin`."""
        return slice(self.start - origin, self.stop - origin)


class Zone(NamedTuple):
    """The shared pixels of one border, as far as they are looked at.

    later, earlier: weights int64 of the tiles behind and before the border; total: their sum, 4 h.
    """

    stretch: Stretch
    later: NDArray[np.int64]
    earlier: NDArray[np.int64]
    total: int


class Axis:
    """One axis of a tiled picture: its length, the tiles' size (0: one tile) and margin, and the window looked at."""

    def __init__(self, length: int, tile_size: int, margin: int, window: Stretch) -> None:
        self._length, self.margin = length, margin
        self._step = tile_size or length
        self._count = ceil_div(length, self._step)
        self.window = window

    def touched(self) -> range:
        """The tiles that the window's pixels are made of."""
        first, last = self.window.start // self._step, (self.window.stop - 1) // self._step
        if first > 0 and self.window.start < first * self._step + self._half(first):
            first -= 1
        if last + 1 < self._count and self.window.stop > (last + 1) * self._step - self._half(last + 1):
            last += 1
        return range(first, last + 1)

    def zone(self, tile: int) -> Zone:
        """The zone between a tile and the one before it; empty where there is none."""
        half = self._half(tile)
        whole = Stretch(tile * self._step - half, tile * self._step + half)
        stretch = whole.within(self.window)
        later = 2 * (np.arange(stretch.start, stretch.stop) - whole.start) + 1
        return Zone(stretch, later, 4 * half - later, 4 * half)

    def alone(self, tile: int) -> Stretch:
        """The pixels that only this tile has a weight in."""
        start, stop = tile * self._step, min((tile + 1) * self._step, self._length)
        return Stretch(start + self._half(tile), stop - self._half(tile + 1)).within(self.window)

    def _half(self, tile: int) -> int:
        """h of the border before a tile."""
        if not 0 < tile < self._count:
            return 0
        return min(self.margin, self._length - tile * self._step)


class Tiled(NamedTuple):
    """A picture cut into tiles, and the window of it that is wanted."""

    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, width: int, height: int, tile_size: int, margin: int, window: Rectangle) -> Tiled:
        """From sizes in pixels."""
        x, y, across, down = window
        return cls(
            Axis(height, tile_size, margin, Stretch(y, y + down)),
            Axis(width, tile_size, margin, Stretch(x, x + across)),
        )


def blend(picture: Tiled, tiles: Iterable[tuple[Tile, Pixels]]) -> Iterator[Pixels]:
    """The rows of the window from top to bottom, in some pieces, each uint8 (n, W) or (n, W, 3).

    tiles: those that the window touches, in raster order, with the samples of their areas, (h, w) or (h, w, 3). A piece
    is valid until the next one is asked for.
    """
    rows, columns = picture
    iterator = iter(tiles)
    if len(rows.touched()) == len(columns.touched()) == 1:
        tile, samples = next(iterator)
        yield samples[rows.window.of(tile.area.y), columns.window.of(tile.area.x)]
        return
    joiner = _Joiner(picture)
    for row in rows.touched():
        for column in columns.touched():
            tile, samples = next(iterator)
            joiner.add(row, column, tile.area, samples)
        yield from joiner.finish(row)


class _Joiner:
    """One row of tiles at a time, joined across columns, and what the next one needs of it.

    Rows that only this row of tiles has a weight in are finished as they come; of those in its two zones the weighted
    sums across columns are kept, divided when both rows of tiles have been there.
    """

    def __init__(self, picture: Tiled) -> None:
        self._rows, self._columns = picture
        narrow = self._columns.margin <= _NARROW
        self._sum: type[np.unsignedinteger[Any]] = np.uint16 if narrow else np.uint64
        self._product: type[np.unsignedinteger[Any]] = np.uint32 if narrow else np.uint64
        self._band: Pixels = np.empty((0, 0, 0), np.uint8)
        empty: NDArray[np.unsignedinteger[Any]] = np.empty((0, 0, 0), self._sum)
        self._carry = self._before = self._top = self._bottom = empty
        self._totals = self._column_totals()
        self._grey = False

    def add(self, row: int, column: int, area: Rectangle, samples: Pixels) -> None:
        """Add the tile at a row and a column; all columns of the window come in order, then `finish`."""
        self._grey = samples.ndim == 2
        if self._grey:
            samples = samples[..., np.newaxis]
        top, alone, bottom = self._rows.zone(row).stretch, self._rows.alone(row), self._rows.zone(row + 1).stretch
        if column == self._columns.touched().start:
            width, depth = self._columns.window.size, samples.shape[2]
            if self._band.shape != (alone.size, width, depth):
                self._band = np.empty((alone.size, width, depth), np.uint8)
            self._top = np.empty((top.size, width, depth), self._sum)
            self._bottom = np.empty((bottom.size, width, depth), self._sum)
        used = samples[Stretch(top.start, bottom.stop).of(area.y)]
        left, right = self._columns.zone(column), self._columns.zone(column + 1)
        if left.stretch.size:
            fading = used[:, left.stretch.of(area.x)] * left.later.astype(self._sum)[:, np.newaxis]
            self._put(left.stretch, self._carry + fading, left.total)
        inside = self._columns.alone(column)
        self._put(inside, used[:, inside.of(area.x)], 1)
        self._carry = used[:, right.stretch.of(area.x)] * right.earlier.astype(self._sum)[:, np.newaxis]

    def finish(self, row: int) -> Iterator[Pixels]:
        """The rows that no later row of tiles has a weight in."""
        zone = self._rows.zone(row)
        if zone.stretch.size:
            rows: Pixels = np.empty(self._top.shape, np.uint8)
            totals = self._totals * self._product(zone.total)
            for number, (later, earlier) in enumerate(zip(zone.later, zone.earlier, strict=True)):
                sums = self._top[number].astype(self._product) * self._product(later)
                sums += self._before[number].astype(self._product) * self._product(earlier)
                rows[number] = (sums + totals // 2) // totals
            yield rows[..., 0] if self._grey else rows
        self._before = self._bottom
        if self._band.size:
            yield self._band[..., 0] if self._grey else self._band

    def _put(self, columns: Stretch, values: NDArray[np.unsignedinteger[Any]], total: int) -> None:
        """Keep the weighted sums of some columns, over the rows of both zones and those between them."""
        at = columns.of(self._columns.window.start)
        start, stop = len(self._top), len(values) - len(self._bottom)
        self._top[:, at] = values[:start]
        self._bottom[:, at] = values[stop:]
        middle = values[start:stop]
        self._band[:, at] = middle if total == 1 else (middle + self._sum(total // 2)) // self._sum(total)

    def _column_totals(self) -> NDArray[np.unsignedinteger[Any]]:
        """The sum of the weights across columns, (W, 1)."""
        totals = np.ones((self._columns.window.size, 1), self._product)
        for column in self._columns.touched():
            zone = self._columns.zone(column)
            totals[zone.stretch.of(self._columns.window.start)] = zone.total
        return totals
