"""The order of coding of a latent with its hyper-latent, those of a tile or a frame, the same at both ends.

One range coder runs over everything. First come all symbols of z, in C order of (Cz, hz, wz), in one call of the coder,
each with the table row * Cz + channel. Then, in another call, the symbols of y that are in channels below `live` and
have a scale index of at least `skip_threshold`, in C order of (Cy, hy, wy), each with the table that its scale index
names. All other symbols of y are 0.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError, InputError
from nacre.entropy.coder import SymbolDecoder, SymbolEncoder
from nacre.entropy.engines import Engine
from nacre.entropy.network import FINER, MAX_INPUT, Executor, IndexArray, prior_of
from nacre.entropy.tables import IntArray, TableSet

Shape = tuple[int, int, int]


class TileSymbols(NamedTuple):
    """What is coded of a tile or a frame: z (Cz, hz, wz), y and scale_index uint8 (Cy, hy, wy)."""

    z: IntArray
    y: IntArray
    scale_index: IndexArray


def encode_tile(
    z: IntArray,
    y: IntArray,
    scale_index: IndexArray,
    row: int,
    z_tables: TableSet,
    y_tables: TableSet,
    live: int,
    skip_threshold: int,
    engine: Engine | None = None,
) -> bytes:
    """The range coder's bytes of one tile; arguments and errors as `encode_latent`."""
    encoder = SymbolEncoder(engine)
    encode_latent(encoder, z, y, scale_index, row, z_tables, y_tables, live, skip_threshold)
    return encoder.finish()


def encode_latent(
    encoder: SymbolEncoder,
    z: IntArray,
    y: IntArray,
    scale_index: IndexArray,
    row: int,
    z_tables: TableSet,
    y_tables: TableSet,
    live: int,
    skip_threshold: int,
) -> None:
    """Codes a latent behind what the range coder has.

    z (Cz, hz, wz) in -127..127; y (Cy, hy, wy) in -16383..16383; scale_index (Cy, hy, wy), what the scale network gives
    for z and row.

    Raises InputError: a shape, value or row outside its range, or a symbol of y that is not coded and not 0.
    """
    if z.size and (z.max() > MAX_INPUT or z.min() < -MAX_INPUT):
        msg = f"hyper-latent symbols are in {z.min()}..{z.max()}, legal range {-MAX_INPUT}..{MAX_INPUT}"
        raise InputError(msg)
    if y.shape != scale_index.shape or y.ndim != 3 or not 0 <= live <= len(y):
        msg = f"latent is {y.shape} with {live} live channels, legal is the scale indices' shape {scale_index.shape}"
        raise InputError(msg)
    if y[live:].any():
        msg = "latent symbols that are not coded must be 0"
        raise InputError(msg)
    encoder.encode(z.reshape(-1), _z_index(_shape(z.shape), row, z_tables), z_tables)
    encoder.encode(y[:live], scale_index[:live], y_tables, skip_threshold)


def decode_tile(
    data: bytes,
    z_shape: Shape,
    y_shape: Shape,
    row: int,
    z_tables: TableSet,
    y_tables: TableSet,
    scale_network: Executor,
    live: int,
    skip_threshold: int,
    engine: Engine | None = None,
) -> TileSymbols:
    """The symbols of one tile: the inverse of `encode_tile`.

    Raises as `decode_latent`, and FormatError where the bytes go on after the last symbol.
    """
    decoder = SymbolDecoder(data, engine)
    symbols = decode_latent(decoder, z_shape, y_shape, row, z_tables, y_tables, scale_network, live, skip_threshold)
    decoder.finish()
    return symbols


def decode_latent(
    decoder: SymbolDecoder,
    z_shape: Shape,
    y_shape: Shape,
    row: int,
    z_tables: TableSet,
    y_tables: TableSet,
    scale_network: Executor,
    live: int,
    skip_threshold: int,
    before: IntArray | None = None,
) -> TileSymbols:
    """The symbols that `encode_latent` has coded; y is 0 where it is not coded.

    before: the symbols of y of the frame before, (Cy, h, w), for a scale network that looks at them.

    Raises FormatError: the bytes cannot be a code, give z outside -127..127, or more channels are live than there are;
    InputError: shapes and row that do not fit tables and network.
    """
    if not 0 <= live <= y_shape[0]:
        msg = f"live channels are {live}, legal range 0..{y_shape[0]}"
        raise FormatError(msg)
    z = decoder.decode(_z_index(z_shape, row, z_tables), z_tables).reshape(z_shape)
    if z.size and (z.max() > MAX_INPUT or z.min() < -MAX_INPUT):
        msg = f"hyper-latent symbols are in {z.min()}..{z.max()}, legal range {-MAX_INPUT}..{MAX_INPUT}"
        raise FormatError(msg)
    prior = None if before is None else prior_of(before, FINER * z_shape[1], FINER * z_shape[2])
    scale_index = scale_network(z, row, prior)[:, : y_shape[1], : y_shape[2]]
    if scale_index.shape != y_shape:
        msg = f"scale network gives the shape {scale_index.shape}, the latent has {y_shape}"
        raise InputError(msg)
    found = decoder.decode(scale_index[:live], y_tables, skip_threshold)
    if live == len(scale_index):
        return TileSymbols(z, found, scale_index)
    y = np.zeros_like(scale_index, np.int32)
    y[:live] = found
    return TileSymbols(z, y, scale_index)


def symbols_check(z: IntArray, y_live: IntArray, before: IntArray | None = None) -> int:
    """CRC-32 of z (Cz, hz, wz), then of y's live channels (live, hy, wy), all as little-endian int16 in C order.

    before: symbols that come in front of z's, a frame's motion.
    """
    parts = [z, y_live] if before is None else [before, z, y_live]
    check = 0
    for part in parts:
        check = zlib.crc32(np.ascontiguousarray(part, "<i2").data, check)
    return check


def _shape(shape: tuple[int, ...]) -> Shape:
    if len(shape) != 3:
        msg = f"hyper-latent has the shape {shape}, legal is (channels, height, width)"
        raise InputError(msg)
    return shape


def _z_index(z_shape: Shape, row: int, z_tables: TableSet) -> NDArray[np.uint16]:
    """The table of every symbol of z, uint16 (Cz * hz * wz,)."""
    channels = z_shape[0]
    rows, rest = divmod(len(z_tables), channels) if channels else (0, 1)
    if rest or not 0 <= row < rows:
        msg = f"entropy row is {row} with {channels} channels, legal range 0..{rows - 1} over {len(z_tables)} tables"
        raise InputError(msg)
    first = row * channels
    return np.repeat(np.arange(first, first + channels).astype(np.uint16), z_shape[1] * z_shape[2])
