"""A picture's rows to a stream: one row of tiles in memory at a time, tiles coded on several threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.geometry import Rectangle, Tile, tile_grid, tiles
from nacre.bitstream.header import GREY, NO_ALPHA, RGB, STRAIGHT_ALPHA, PictureHeader
from nacre.bitstream.picture import AlphaUnit, PictureWriter, TileUnit
from nacre.bitstream.units import BinaryWriter
from nacre.blend import Tiled, blend
from nacre.effort import DEFAULT_EFFORT, Effort
from nacre.entropy.alpha import encode_alpha
from nacre.parallel import Workers
from nacre.picture import Band, PictureForm, Pixels, RowSource
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoder, to_grey
from nacre.tiling import Tiling

Progress = Callable[[int, int], None]
"""Called with the number of tiles that are done and the number of all tiles."""

_CHUNK_BYTES = 1 << 22  # of rows that a source is asked for at once, and that are compared at once


class _Piece(NamedTuple):
    """One tile to code: the samples of its area, and the alpha of its core where there is any."""

    tile: Tile
    pixels: Pixels
    alpha: NDArray[np.uint8] | None


class _Coded(NamedTuple):
    """One coded tile."""

    tile: Tile
    unit: TileUnit
    alpha: AlphaUnit | None


class PictureEncoder:
    """Writes pictures with one coder of tiles.

    workers: tiles that are coded at a time, each on a thread of its own. progress: called behind every tile, and where
    tiles are coded in the caller's thread also between refinements.
    """

    def __init__(
        self,
        coder: TileCoder,
        tiling: Tiling,
        workers: int,
        stopwatch: Stopwatch,
        progress: Progress | None = None,
        effort: Effort = DEFAULT_EFFORT,
    ) -> None:
        self._coder, self._tiling, self._effort, self._workers = coder, tiling, effort, workers
        self._stopwatch, self._progress = stopwatch, progress

    def encode(self, source: RowSource, steps: int, file: BinaryWriter) -> PictureHeader:
        """Write the stream of a source that stands at its first row; steps: quality in steps. Gives its header."""
        rows = _TileRows(source, self._header(source.form, steps))
        writer = PictureWriter(file, rows.header, source.form.metadata)
        with self._open_workers(rows.header) as workers:
            for coded in workers.map(partial(self._code, rows.header, workers), chain.from_iterable(rows)):
                self._put(writer, coded, rows.header)
        writer.finish()
        return rows.header

    def encode_and_measure(self, source: RowSource, steps: int, file: BinaryWriter) -> tuple[PictureHeader, float]:
        """As `encode`; gives also the PSNR in dB of the picture that a decoder makes of it, alpha left aside."""
        header = self._header(source.form, steps)
        rows = _TileRows(source, header)
        writer = PictureWriter(file, header, source.form.metadata)

        def decoded(workers: Workers) -> Iterator[tuple[Tile, Pixels]]:
            # Row of tiles by row of tiles: one is compared with the source's rows before these make room.
            for row in rows:
                for coded, pixels in workers.map(partial(self._code_and_decode, header, workers), row):
                    self._put(writer, coded, header)
                    yield coded.tile, pixels

        whole = Rectangle(0, 0, header.width, header.height)
        picture = Tiled.of(header.width, header.height, header.tile_size, header.tile_margin, whole)
        error = samples = 0
        with self._open_workers(header) as workers:
            for pixels in blend(picture, decoded(workers)):
                error += rows.squared_error(pixels)
                samples += pixels.size
        writer.finish()
        return header, 10 * math.log10(255**2 * samples / error) if error else math.inf

    def _header(self, form: PictureForm, steps: int) -> PictureHeader:
        weights = self._coder.weights
        return PictureHeader(
            width=form.width,
            height=form.height,
            chroma=GREY if form.grey else RGB,
            quality=steps,
            profile=weights.profile,
            digest=weights.stream_digest,
            live_channels=self._coder.live_channels(steps),
            skip_threshold=weights.skip_threshold,
            tile_size=self._tiling.size,
            tile_margin=self._tiling.margin,
            colour=form.colour,
            alpha=STRAIGHT_ALPHA if form.alpha else NO_ALPHA,
        )

    def _open_workers(self, header: PictureHeader) -> Workers:
        return Workers(self._workers if header.tile_count > 1 else 1, self._stopwatch)

    def _code(self, header: PictureHeader, workers: Workers, piece: _Piece, stopwatch: Stopwatch) -> _Coded:
        go_on = partial(self._go_on, header, workers, piece)
        payload, check = self._coder.encode(piece.pixels, header.quality, stopwatch, self._effort, go_on)
        return self._coded(piece, payload, check, stopwatch)

    def _code_and_decode(
        self, header: PictureHeader, workers: Workers, piece: _Piece, stopwatch: Stopwatch
    ) -> tuple[_Coded, Pixels]:
        payload, check, pixels = self._coder.encode_and_reconstruct(
            piece.pixels, header.quality, stopwatch, self._effort, partial(self._go_on, header, workers, piece)
        )
        if header.chroma == GREY:
            with stopwatch.part("colour"):
                pixels = to_grey(pixels)
        return self._coded(piece, payload, check, stopwatch), pixels

    def _go_on(self, header: PictureHeader, workers: Workers, piece: _Piece) -> bool:
        """Whether the work on a tile is still wanted; raises what `progress` raises."""
        if workers.single and self._progress is not None:
            self._progress(piece.tile.index, header.tile_count)
        return workers.wanted

    def _coded(self, piece: _Piece, payload: bytes, check: int, stopwatch: Stopwatch) -> _Coded:
        index, alpha = piece.tile.index, None
        if piece.alpha is not None:
            with stopwatch.part("coder"):
                alpha = AlphaUnit(index, *encode_alpha(piece.alpha))
        return _Coded(piece.tile, TileUnit(index, check, payload), alpha)

    def _put(self, writer: PictureWriter, coded: _Coded, header: PictureHeader) -> None:
        """Write a tile, which is then done."""
        writer.tile(coded.unit)
        if coded.alpha is not None:
            writer.alpha(coded.alpha)
        if self._progress is not None:
            self._progress(coded.tile.index + 1, header.tile_count)


class _TileRows:
    """Iterable, once, over the rows of tiles of a source, each an iterable of its tiles.

    Holds the source's rows that the areas of one row of tiles cover.
    """

    def __init__(self, source: RowSource, header: PictureHeader) -> None:
        self.header = header
        self._source = source
        self._band = Band(np.empty((0, 0), np.uint8), None)
        self._start = self._stop = 0  # the picture's rows that the band holds
        self._compared = 0

    def __iter__(self) -> Iterator[Iterator[_Piece]]:
        header = self.header
        columns = tile_grid(header.width, header.height, header.tile_size)[1]
        every = tiles(header.width, header.height, header.tile_size, header.tile_margin)
        for _, row in groupby(every, lambda tile: tile.index // columns):
            yield self._cut(row)

    def squared_error(self, decoded: Pixels) -> int:
        """The sum of squared differences of the next rows, which must all be in the band, from decoded ones."""
        start = self._compared - self._start
        self._compared += len(decoded)
        original = self._band.pixels[start : start + len(decoded)]
        step = _rows_in_chunk(decoded)
        error = 0
        for first in range(0, len(decoded), step):
            difference = decoded[first : first + step].astype(np.int32) - original[first : first + step]
            error += int(np.square(difference).sum(dtype=np.int64))
        return error

    def _cut(self, row: Iterator[Tile]) -> Iterator[_Piece]:
        single = self.header.tile_count == 1
        for tile in row:
            x, y, width, height = tile.area
            if y + height > self._stop:
                self._hold(y, y + height)
            band = self._band.rows(y - self._start, y - self._start + height)
            pixels, alpha = band.pixels[:, x : x + width], None
            if band.alpha is not None:
                left, top, across, down = tile.core
                alpha = band.alpha[top - y : top - y + down, left : left + across]
            if not single:  # the band moves on while the tile is being coded on another thread
                pixels, alpha = pixels.copy(), alpha if alpha is None else alpha.copy()
            yield _Piece(tile, pixels, alpha)

    def _hold(self, start: int, stop: int) -> None:
        """Make the band hold rows start..stop-1, of which it may hold the first ones already."""
        if stop - start == self.header.height:
            self._band = self._source.read(stop)
        else:
            if self._stop:
                self._band.put(0, self._band.rows(start - self._start, self._stop - self._start))
            else:
                most = min(self.header.tile_size + 2 * self.header.tile_margin, self.header.height)
                self._band = Band.empty(self._source.form, most)
            row = self._stop
            while row < stop:
                read = self._source.read(min(stop - row, _rows_in_chunk(self._band.pixels)))
                self._band.put(row - start, read)
                row += len(read.pixels)
        self._start, self._stop = start, stop


def _rows_in_chunk(pixels: Pixels) -> int:
    return max(1, _CHUNK_BYTES // math.prod(pixels.shape[1:]))
