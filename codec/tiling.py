"""Into which tiles the encoder cuts a picture, and how large a tile the decoder takes on."""

from __future__ import annotations

from typing import NamedTuple

from nacre.bitstream.errors import LimitError
from nacre.bitstream.header import PictureHeader

# A picture within both is one tile. The networks' memory grows with the tile, their cost at borders shrinks with it.
ONE_TILE_PIXELS = 1 << 21
ONE_TILE_SIDE = 4096
TILE_SIZE = 1024
TILE_MARGIN = 16
# Encoder and decoder hold the rows of one row of tiles: of wider pictures, which have smaller tiles, half as many.
WIDE = 16384
WIDE_TILE_SIZE = 512

MAX_TILE_PIXELS = 1 << 22
"""The largest area of a tile that is decoded, in pixels, so that a stream cannot ask for any amount of memory.

Twice what any encoder of this package has made since streams have tiles.
"""


class Tiling(NamedTuple):
    """Edge of the tiles' cores and their margin in pixels; a size of 0 makes the whole picture one tile."""

    size: int
    margin: int


def choose_tiling(width: int, height: int) -> Tiling:
    """The tiling that the encoder gives a picture of this size in pixels."""
    if width * height <= ONE_TILE_PIXELS and max(width, height) <= ONE_TILE_SIDE:
        return Tiling(0, 0)
    return Tiling(TILE_SIZE if width <= WIDE else WIDE_TILE_SIZE, TILE_MARGIN)


def check_tiles(header: PictureHeader) -> None:
    """Raise LimitError where the tiles of a stream are larger than this version decodes."""
    edge = header.tile_size + 2 * header.tile_margin
    width, height = (min(side, edge) if header.tile_size else side for side in (header.width, header.height))
    if width * height > MAX_TILE_PIXELS:
        msg = f"a tile has {width} x {height} = {width * height} pixels, the limit is {MAX_TILE_PIXELS}"
        raise LimitError(msg)
