"""A stream's tiles to rows: tiles decoded on several threads, blended, handed on row of tiles by row of tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError
from nacre.bitstream.geometry import Rectangle, Tile, tile_grid, tiles
from nacre.bitstream.header import GREY, NO_ALPHA
from nacre.bitstream.picture import MAX_LOSSES, AlphaUnit, PictureReader, TileUnit
from nacre.blend import Tiled, blend
from nacre.encoder import Progress
from nacre.entropy.alpha import decode_alpha
from nacre.entropy.latent import TileSymbols
from nacre.parallel import Workers
from nacre.picture import Band, PictureForm, Pixels, RowSink
from nacre.sources import naming
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoder, TileCoding, to_grey

LOST_SAMPLE = 128
LOST_ALPHA = 255


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was decoded: the form of what went to the sink, and what of the stream was lost, in words and as tiles.

    lost_tiles: raster numbers of those tiles of the region whose samples are mid-grey instead. Both lists are empty
    unless decoding was told to keep going.
    """

    form: PictureForm
    losses: list[str] = field(default_factory=list)
    lost_tiles: list[int] = field(default_factory=list)


class _Units(NamedTuple):
    """What the stream has of one tile."""

    tile: Tile
    coded: TileUnit | None
    alpha: AlphaUnit | None


class _Samples(NamedTuple):
    """One decoded tile: samples of its area, alpha of its core, and for each what was wrong with it, if anything."""

    tile: Tile
    pixels: Pixels
    alpha: NDArray[np.uint8] | None
    pixels_error: str | None
    alpha_error: str | None


class PictureDecoder:
    """Reads one stream with the coder of its weights.

    units: the reader of the stream, before the first unit. keep_going: whether it was opened so; what is damaged or
    missing is then replaced and told instead of raised. light: by the light synthesis, which the weights must have.
    workers: tiles that are decoded at a time, each on a thread of its own.
    """

    def __init__(
        self,
        units: PictureReader,
        coder: TileCoder,
        workers: int,
        stopwatch: Stopwatch,
        *,
        keep_going: bool = False,
        light: bool = False,
    ) -> None:
        self._units, self._header, self._coder = units, units.header, coder
        self._workers = workers if units.header.tile_count > 1 else 1
        self._stopwatch, self._keep_going, self._light = stopwatch, keep_going, light
        self._columns = tile_grid(self._header.width, self._header.height, self._header.tile_size)[1]

    def decode(self, region: Rectangle, sink: RowSink, progress: Progress | None = None) -> Decoded:
        """Decode a region, which must be in the picture, to the sink, and read the stream to its end.

        progress is called behind every tile with how many are done, and how many the region needs.
        """
        header = self._header
        # Metadata may stand behind the tiles: the mapping is complete when the stream has been read.
        form = PictureForm(
            width=region.width,
            height=region.height,
            grey=header.chroma == GREY,
            alpha=header.alpha != NO_ALPHA,
            metadata=self._units.metadata,
            colour=header.colour,
        )
        picture = Tiled.of(header.width, header.height, header.tile_size, header.tile_margin, region)
        alpha = _AlphaRows(region)
        lost = _Lost()
        pieces = self._collected(picture) if self._keep_going else self._in_order(picture)
        count = len(picture.rows.touched()) * len(picture.columns.touched())

        def decoded(workers: Workers) -> Iterator[tuple[Tile, Pixels]]:
            for done, samples in enumerate(workers.map(self._decode, pieces)):
                lost.note(samples)
                if samples.alpha is not None:
                    alpha.put(samples.tile, samples.alpha)
                if progress is not None:
                    progress(done + 1, count)
                yield samples.tile, samples.pixels

        with Workers(self._workers, self._stopwatch) as workers:
            for number, pixels in enumerate(blend(picture, decoded(workers))):
                if number == 0:
                    sink.start(form)
                sink.write(Band(pixels, alpha.take(len(pixels)) if form.alpha else None))
        for _ in pieces:  # none, but the end of the stream is behind them
            pass
        return Decoded(form, [*self._units.losses, *lost.texts()], lost.tiles)

    def verify(self) -> int:
        """Decode all symbols and all alpha, no pixels; returns the number of symbols."""
        header = self._header
        whole = Rectangle(0, 0, header.width, header.height)
        picture = Tiled.of(header.width, header.height, header.tile_size, header.tile_margin, whole)

        def count(piece: _Units, stopwatch: Stopwatch) -> int:
            with self._naming(piece.tile):
                symbols = self._symbols(piece, stopwatch)
                if piece.alpha is not None:
                    self._alpha(piece)
            return symbols.z.size + symbols.y[: header.live_channels].size

        with Workers(self._workers, self._stopwatch) as workers:
            return sum(workers.map(count, self._in_order(picture)))

    def _decode(self, piece: _Units, stopwatch: Stopwatch) -> _Samples:
        """The samples of a tile; with keep_going, substitutes of those that are lost."""
        tile, header = piece.tile, self._header
        pixels_error = alpha_error = None
        alpha: NDArray[np.uint8] | None = None
        with self._naming(tile):
            try:
                pixels = self._pixels(piece, stopwatch)
            except FormatError as error:
                if not self._keep_going:
                    raise
                pixels_error = str(error)
                shape = (tile.area.height, tile.area.width)
                pixels = np.full(shape if header.chroma == GREY else (*shape, 3), LOST_SAMPLE, np.uint8)
            if header.alpha != NO_ALPHA:
                try:
                    alpha = self._alpha(piece)
                except FormatError as error:
                    if not self._keep_going:
                        raise
                    alpha_error = str(error)
                    alpha = np.full((tile.core.height, tile.core.width), LOST_ALPHA, np.uint8)
        return _Samples(tile, pixels, alpha, pixels_error, alpha_error)

    def _pixels(self, piece: _Units, stopwatch: Stopwatch) -> Pixels:
        symbols = self._symbols(piece, stopwatch)
        pixels = self._coder.reconstruct(symbols, self._coding(piece.tile), stopwatch, light=self._light)
        if self._header.chroma != GREY:
            return pixels
        with stopwatch.part("colour"):
            return to_grey(pixels)

    def _symbols(self, piece: _Units, stopwatch: Stopwatch) -> TileSymbols:
        if piece.coded is None:
            msg = "its TILE unit is damaged or missing"
            raise FormatError(msg)
        coding = self._coding(piece.tile)
        return self._coder.decode_symbols(piece.coded.payload, piece.coded.check, coding, stopwatch)

    def _alpha(self, piece: _Units) -> NDArray[np.uint8]:
        if piece.alpha is None:
            msg = "its ALPHA unit is damaged or missing"
            raise FormatError(msg)
        core = piece.tile.core
        return decode_alpha(piece.alpha.filter, piece.alpha.data, core.height, core.width)

    def _coding(self, tile: Tile) -> TileCoding:
        header = self._header
        area = tile.area
        return TileCoding(area.width, area.height, header.quality, header.live_channels, header.skip_threshold)

    def _in_order(self, picture: Tiled) -> Iterator[_Units]:
        """The tiles that a picture is made of, each when the next one has come, the last when the stream has ended."""
        places = self._tiles()
        coded: TileUnit | None = None
        held: _Units | None = None
        for unit in self._units:
            if isinstance(unit, TileUnit):
                coded = unit
                if self._header.alpha != NO_ALPHA:
                    continue
            piece = _Units(next(places), coded, unit if isinstance(unit, AlphaUnit) else None)
            if held is not None:
                yield held
            held = piece if self._is_needed(piece.tile, picture) else None
        if held is not None:
            yield held

    def _collected(self, picture: Tiled) -> Iterator[_Units]:
        """The tiles that a picture is made of, with what is intact of them in the whole stream."""
        coded: dict[int, TileUnit] = {}
        alpha: dict[int, AlphaUnit] = {}
        for unit in self._units:
            if isinstance(unit, TileUnit):
                coded[unit.index] = unit
            else:
                alpha[unit.index] = unit
        needed = [tile for tile in self._tiles() if self._is_needed(tile, picture)]
        if not any(tile.index in coded for tile in needed):
            msg = f"nothing is left of the picture: none of the {len(needed)} TILE units that are due is intact"
            raise FormatError(msg)
        for tile in needed:
            yield _Units(tile, coded.get(tile.index), alpha.get(tile.index))

    def _tiles(self) -> Iterator[Tile]:
        header = self._header
        return tiles(header.width, header.height, header.tile_size, header.tile_margin)

    def _is_needed(self, tile: Tile, picture: Tiled) -> bool:
        row, column = divmod(tile.index, self._columns)
        return row in picture.rows.touched() and column in picture.columns.touched()

    def _naming(self, tile: Tile) -> AbstractContextManager[None]:
        return naming(f"tile {tile.index}" if self._header.tile_count > 1 else None)


class _AlphaRows:
    """The alpha of a region, filled in tile by tile in raster order, taken from the top."""

    def __init__(self, region: Rectangle) -> None:
        self._region = region
        self._rows = np.empty((0, region.width), np.uint8)
        self._stop = region.y  # the picture's row behind the last one held

    def put(self, tile: Tile, plane: NDArray[np.uint8]) -> None:
        """Keep the alpha of a tile's core, as far as it is in the region."""
        region, core = self._region, tile.core
        top, bottom = max(core.y, region.y), min(core.y + core.height, region.y + region.height)
        left, right = max(core.x, region.x), min(core.x + core.width, region.x + region.width)
        if top >= bottom or left >= right:  # a tile that is only blended in
            return
        if bottom > self._stop:
            more = np.empty((bottom - self._stop, region.width), np.uint8)
            self._rows = np.concatenate([self._rows, more])
            self._stop = bottom
        start = len(self._rows) - (self._stop - top)
        self._rows[start : start + bottom - top, left - region.x : right - region.x] = plane[
            top - core.y : bottom - core.y, left - core.x : right - core.x
        ]

    def take(self, count: int) -> NDArray[np.uint8]:
        """The next rows."""
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows


class _Lost:
    """Which tiles are lost, and why."""

    def __init__(self) -> None:
        self.tiles: list[int] = []
        self._texts: list[str] = []

    def note(self, samples: _Samples) -> None:
        """Note what is lost of a tile, if anything."""
        x, y, width, height = samples.tile.core
        place = f"tile {samples.tile.index} (x {x}..{x + width - 1}, y {y}..{y + height - 1})"
        if samples.pixels_error is not None:
            self.tiles.append(samples.tile.index)
            self._texts.append(f"{place} is lost: {samples.pixels_error}")
        if samples.alpha_error is not None:
            self._texts.append(f"the alpha of {place} is lost, it is opaque: {samples.alpha_error}")

    def texts(self) -> list[str]:
        """A line for each loss, up to a limit."""
        more = len(self._texts) - MAX_LOSSES
        return self._texts if more <= 0 else [*self._texts[:MAX_LOSSES], f"and {more} more"]
