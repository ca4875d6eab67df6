"""A still picture as a stream of units: header, metadata, tiles in raster order, END."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nacre.bitstream.errors import FormatError, InputError
from nacre.bitstream.header import PictureHeader
from nacre.bitstream.limits import Limits
from nacre.bitstream.units import (
    VERSION_MAJOR,
    VERSION_MINOR,
    BinaryReader,
    BinaryWriter,
    Unit,
    UnitReader,
    UnitType,
    pack_varint,
    parse_varint,
    unit_name,
    write_signature,
    write_unit,
)

METADATA_TYPES = frozenset({UnitType.ICC_PROFILE, UnitType.EXIF, UnitType.XMP})
"""Unit types whose payload is carried as it is, at most one of each."""

_CHECK_BYTES = 4
_CHECK_END = 1 << 32


@dataclass(frozen=True, slots=True)
class TileUnit:
    """One coded tile: raster number, CRC-32 of its symbols, the range coder's bytes without zeros at their end."""

    index: int
    check: int
    payload: bytes

    def pack(self) -> bytes:
        """The payload of the TILE unit; InputError for a field out of range."""
        if not 0 <= self.check < _CHECK_END:
            msg = f"symbols check of tile {self.index} is {self.check}, must be 0..{_CHECK_END - 1}"
            raise InputError(msg)
        if self.payload.endswith(b"\0"):
            msg = f"the range coder's bytes of tile {self.index} end with a zero byte, must be cut before it"
            raise InputError(msg)
        return pack_varint(self.index) + self.check.to_bytes(_CHECK_BYTES, "little") + self.payload

    @classmethod
    def parse(cls, payload: bytes) -> TileUnit:
        """The tile from the payload of a TILE unit; FormatError when it is malformed."""
        index, position = parse_varint(payload)
        start = position + _CHECK_BYTES
        if len(payload) < start:
            msg = f"the payload of tile {index} has {len(payload)} bytes, must have at least {start}"
            raise FormatError(msg)
        if len(payload) > start and payload.endswith(b"\0"):
            msg = f"the range coder's bytes of tile {index} end with a zero byte, must be cut before it"
            raise FormatError(msg)
        return cls(index, int.from_bytes(payload[position:start], "little"), payload[start:])


@dataclass(slots=True)
class PictureStream:
    """All that a stream holds: header, tiles in raster order, metadata by unit type, (major, minor) as read."""

    header: PictureHeader
    tiles: list[TileUnit]
    metadata: dict[int, bytes] = field(default_factory=dict)
    version: tuple[int, int] = (VERSION_MAJOR, VERSION_MINOR)


def write_picture(file: BinaryWriter, picture: PictureStream) -> None:
    """Write a whole stream, in this package's version, without seeking.

    Raises InputError, before anything is written, when the tiles are not those of the header's picture in raster order
    or when a metadata type is none of METADATA_TYPES.
    """
    units = [(int(UnitType.PICTURE_HEADER), picture.header.pack())]
    units += _metadata_units(picture.metadata)
    units += _tile_units(picture.header, picture.tiles)
    units.append((UnitType.END, b""))
    write_signature(file)
    for unit_type, payload in units:
        write_unit(file, unit_type, payload)


def read_picture(file: BinaryReader, limits: Limits | None = None) -> PictureStream:
    """Read a whole stream, to its last byte.

    Raises FormatError and its kinds when the stream is damaged or breaks a rule, LimitError when it asks for more than
    `limits`; the messages name the unit and its byte offset.
    """
    reader, header = _open(file, limits)
    tiles: list[TileUnit] = []
    metadata: dict[int, bytes] = {}
    count = header.tile_count
    for unit in reader:
        if unit.type == UnitType.TILE:
            tiles.append(_next_tile(unit, len(tiles), count))
        elif unit.type in METADATA_TYPES:
            if unit.type in metadata:
                msg = f"{unit_name(unit.type)} at byte {unit.offset} is the second of its type, must be the only one"
                raise FormatError(msg)
            metadata[unit.type] = unit.payload
        elif unit.type == UnitType.PICTURE_HEADER:
            msg = f"PICTURE_HEADER at byte {unit.offset} is the second of its type, must be the only one"
            raise FormatError(msg)
        elif unit.type == UnitType.END and len(tiles) < count:
            msg = f"END at byte {unit.offset} comes after {len(tiles)} tiles, the picture has {count}"
            raise FormatError(msg)
    return PictureStream(header, tiles, metadata, reader.version)


def read_header(file: BinaryReader, limits: Limits | None = None) -> PictureHeader:
    """Read signature, version and picture header, and nothing behind them; raises as read_picture."""
    return _open(file, limits)[1]


def _open(file: BinaryReader, limits: Limits | None) -> tuple[UnitReader, PictureHeader]:
    limits = Limits() if limits is None else limits
    reader = UnitReader(file, limits)
    unit = next(reader)
    if unit.type != UnitType.PICTURE_HEADER:
        msg = f"the first unit is {unit_name(unit.type)}, must be PICTURE_HEADER"
        raise FormatError(msg)
    header = PictureHeader.parse(unit.payload, minor=reader.version[1])
    limits.check_picture(header.width, header.height)
    return reader, header


def _next_tile(unit: Unit, expected: int, count: int) -> TileUnit:
    """The tile of a TILE unit, which must be number `expected` of `count`."""
    try:
        tile = TileUnit.parse(unit.payload)
    except FormatError as error:
        msg = f"TILE at byte {unit.offset}: {error}"
        raise FormatError(msg) from error
    if tile.index != expected or expected >= count:
        due = f"tile {expected} of {count}" if expected < count else f"END, the picture has {count} tiles"
        msg = f"TILE at byte {unit.offset} is tile {tile.index}, due is {due}"
        raise FormatError(msg)
    return tile


def _metadata_units(metadata: Mapping[int, bytes]) -> list[tuple[int, bytes]]:
    for unit_type in metadata:
        if unit_type not in METADATA_TYPES:
            allowed = ", ".join(f"0x{known:02X}" for known in sorted(METADATA_TYPES))
            msg = f"metadata type is {unit_type:#x}, must be one of {allowed}"
            raise InputError(msg)
    return sorted(metadata.items())


def _tile_units(header: PictureHeader, tiles: Sequence[TileUnit]) -> list[tuple[int, bytes]]:
    count = header.tile_count
    if len(tiles) != count:
        msg = f"the number of tiles is {len(tiles)}, must be {count} for this picture"
        raise InputError(msg)
    for position, tile in enumerate(tiles):
        if tile.index != position:
            msg = f"the index of tile {position} is {tile.index}, must be its raster number"
            raise InputError(msg)
    return [(int(UnitType.TILE), tile.pack()) for tile in tiles]
