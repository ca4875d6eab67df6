"""A still picture as a stream of units: header, metadata, tiles in raster order, each with its alpha if any, END."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from nacre.bitstream.errors import FormatError, InputError
from nacre.bitstream.header import NO_ALPHA, PictureHeader
from nacre.bitstream.limits import Limits
from nacre.bitstream.recovery import IntactUnits
from nacre.bitstream.units import (
    METADATA_TYPES,
    PICTURE_TYPES,
    BinaryReader,
    BinaryWriter,
    Part,
    Unit,
    UnitReader,
    UnitType,
    check_belongs,
    check_end,
    check_known,
    pack_varint,
    parse_varint,
    unit_name,
    write_all,
    write_signature,
    write_unit,
)

MAX_LOSSES = 1000
"""Number of losses that a reader tells one by one; of the others it tells the number."""

_CODED_TYPES = frozenset({UnitType.TILE, UnitType.ALPHA})
_CHECK_BYTES = 4
_CHECK_END = 1 << 32
_MAX_FILTER = 2


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


@dataclass(frozen=True, slots=True)
class AlphaUnit:
    """The alpha of one tile's core: the tile's raster number, filter 0..2, zlib stream (see `nacre.entropy.alpha`)."""

    index: int
    filter: int
    data: bytes

    def pack(self) -> bytes:
        """The payload of the ALPHA unit; InputError for a field out of range."""
        if not 0 <= self.filter <= _MAX_FILTER:
            msg = f"alpha filter of tile {self.index} is {self.filter}, must be 0..{_MAX_FILTER}"
            raise InputError(msg)
        return pack_varint(self.index) + bytes((self.filter,)) + self.data

    @classmethod
    def parse(cls, payload: bytes) -> AlphaUnit:
        """The alpha from the payload of an ALPHA unit, not decompressed; FormatError when it is malformed."""
        index, position = parse_varint(payload)
        if len(payload) == position:
            msg = f"the payload of the alpha of tile {index} ends before its filter"
            raise FormatError(msg)
        if payload[position] > _MAX_FILTER:
            msg = f"alpha filter of tile {index} is {payload[position]}, must be 0..{_MAX_FILTER}"
            raise FormatError(msg)
        return cls(index, payload[position], payload[position + 1 :])


@dataclass(slots=True)
class PictureStream:
    """All that a stream holds: header, tiles in raster order, metadata by unit type, the tiles' alpha if there is any.

    version: (major, minor) as read, None for a stream that was not read; it counts neither when streams are compared
    nor when they are written.
    """

    header: PictureHeader
    tiles: list[TileUnit]
    metadata: dict[int, bytes] = field(default_factory=dict)
    alpha: list[AlphaUnit] = field(default_factory=list)
    version: tuple[int, int] | None = field(default=None, compare=False)


class PictureWriter:
    """Writes a stream unit by unit, without seeking: tiles in raster order, behind each its alpha if the header has it.

    Opening writes signature, header and metadata (type of METADATA_TYPES: payload). The version is the lowest that has
    what the header needs. InputError, before anything is written, for a metadata type that is none; of the methods for
    a unit that is not due or has a field out of range, which is then not written.
    """

    def __init__(self, file: BinaryWriter, header: PictureHeader, metadata: Mapping[int, bytes] | None = None) -> None:
        metadata = metadata or {}
        for unit_type in metadata:
            if unit_type not in METADATA_TYPES:
                allowed = ", ".join(f"0x{known:02X}" for known in sorted(METADATA_TYPES))
                msg = f"metadata type is {unit_type:#x}, must be one of {allowed}"
                raise InputError(msg)
        self._file = file
        self._order = _Order(header)
        write_signature(file, header.minor)
        write_unit(file, UnitType.PICTURE_HEADER, header.pack())
        for unit_type, payload in sorted(metadata.items()):
            write_unit(file, unit_type, payload)

    def tile(self, unit: TileUnit) -> None:
        """Write the next tile."""
        self._write(UnitType.TILE, unit)

    def alpha(self, unit: AlphaUnit) -> None:
        """Write the alpha of the tile that was written last."""
        self._write(UnitType.ALPHA, unit)

    def finish(self) -> None:
        """Write END, behind the last tile; nothing can be written after it."""
        self._check(UnitType.END, 0)
        write_unit(self._file, UnitType.END, b"")
        self._order.advance()

    def _write(self, unit_type: UnitType, unit: TileUnit | AlphaUnit) -> None:
        self._check(unit_type, unit.index)
        write_unit(self._file, unit_type, unit.pack())
        self._order.advance()

    def _check(self, unit_type: UnitType, index: int) -> None:
        if not self._order.fits(unit_type, index):
            unit = "END" if unit_type == UnitType.END else f"{unit_type.name} of tile {index}"
            msg = f"the unit to write is {unit}, due is {self._order.due}"
            raise InputError(msg)


class PictureReader:
    """Iterator over the TILE and ALPHA units of a stream, one in memory at a time; opening reads as far as the header.

    Iteration ends where END was read and nothing follows. Raises FormatError and its kinds where the stream is damaged
    or breaks a rule, LimitError where it asks for more than `limits`; the messages name the unit and its byte offset.
    After an error there is nothing more to read.

    With keep_going the iterator gives what is intact, in the order in which it stands, of each tile the first TILE and
    the first ALPHA, and says in `losses` what is wrong; tiles that never come are for the caller to find. Damage up to
    the end of PICTURE_HEADER and a stream longer than the limit stay errors. The stream is then read into memory whole.
    """

    header: PictureHeader
    version: tuple[int, int]
    """(major, minor) of the stream."""
    metadata: dict[int, bytes]
    """Payloads of the metadata units passed so far, by unit type."""
    parts: list[Part]
    """The units passed so far, those of other types included; with keep_going the intact ones."""
    payload_size: int
    """Bytes of the range coder in the tiles given so far."""
    alpha_size: int
    """Bytes of the zlib streams in the alpha given so far."""
    losses: list[str]
    """What was wrong so far, in words that name the place; always empty without keep_going."""

    def __init__(self, file: BinaryReader, limits: Limits | None = None, keep_going: bool = False) -> None:
        self._limits = Limits() if limits is None else limits
        self._reader = UnitReader(file, self._limits)
        self.version = self._reader.version
        self.metadata, self.parts, self.losses = {}, [], []
        self.payload_size = self.alpha_size = self._untold = 0
        unit = next(self._reader)
        if unit.type != UnitType.PICTURE_HEADER:
            msg = f"the first unit is {unit_name(unit.type)}, must be PICTURE_HEADER"
            if unit.type == UnitType.SEQUENCE_HEADER:
                msg += ": the stream is a clip, not a picture"
            raise FormatError(msg)
        self._pass(unit)
        self._header_payload = unit.payload
        self.header = PictureHeader.parse(unit.payload, self.version[1])
        self._limits.check_picture(self.header.width, self.header.height)
        self._units = self._intact() if keep_going else self._strict()

    def __iter__(self) -> Iterator[TileUnit | AlphaUnit]:
        return self

    def __next__(self) -> TileUnit | AlphaUnit:
        unit = next(self._units)
        if isinstance(unit, TileUnit):
            self.payload_size += len(unit.payload)
        else:
            self.alpha_size += len(unit.data)
        return unit

    def _pass(self, unit: Unit) -> None:
        self.parts.append(Part(unit_name(unit.type), unit.offset, unit.size))

    def _strict(self) -> Iterator[TileUnit | AlphaUnit]:
        order = _Order(self.header)
        for unit in self._reader:
            check_belongs(unit.type, PICTURE_TYPES, "a picture", _place(unit))
            self._pass(unit)
            if unit.type in _CODED_TYPES:
                coded = _parse_coded(unit)
                if not order.fits(unit.type, coded.index):
                    msg = f"{_place(unit)} is of tile {coded.index}, due is {order.due}"
                    raise FormatError(msg)
                order.advance()
                yield coded
            elif unit.type == UnitType.PICTURE_HEADER or unit.type in self.metadata:
                msg = f"{_place(unit)} is the second of its type, must be the only one"
                raise FormatError(msg)
            elif unit.type in METADATA_TYPES:
                self.metadata[unit.type] = unit.payload
            elif unit.type == UnitType.END and not order.fits(UnitType.END, 0):
                msg = f"{_place(unit)} comes too early, due is {order.due}"
                raise FormatError(msg)

    def _intact(self) -> Iterator[TileUnit | AlphaUnit]:
        start, data = self.parts[0].offset + self.parts[0].size, self._reader.rest()
        given: set[tuple[int, int]] = set()
        highest = (0, 0)
        ended = foreign = False
        for unit in IntactUnits(data, start, 1, self.header.tile_count, self._limits, self._lose):
            if unit.type == UnitType.PICTURE_HEADER and unit.payload != self._header_payload:
                self._lose(f"{_place(unit)} is that of another picture: it is passed over, up to its END unit")
                foreign = True
            if foreign:
                foreign = unit.type != UnitType.END
                continue
            if ended:
                self._lose(f"{_place(unit)} stands behind the END unit")
            self._pass(unit)
            ended = ended or unit.type == UnitType.END
            try:
                coded = self._accept(unit, given)
            except FormatError as error:
                self._lose(str(error))
                continue
            if coded is not None:
                key = coded.index, unit.type
                given.add(key)
                if key < highest:
                    self._lose(f"{_place(unit)}, of tile {coded.index}, comes too late")
                highest = max(highest, key)
                yield coded
        if not ended:
            self._lose(f"the stream ends at byte {start + len(data)} without its END unit")
        if self._untold:
            self.losses.append(f"and {self._untold} more")

    def _accept(self, unit: Unit, given: set[tuple[int, int]]) -> TileUnit | AlphaUnit | None:
        """The TILE or ALPHA of an intact unit, None for others; FormatError where it breaks a rule but that of order.

        given: (index, type) of those that came before.
        """
        if unit.type in _CODED_TYPES:
            coded = _parse_coded(unit)
            if coded.index >= self.header.tile_count:
                msg = f"{_place(unit)} is of tile {coded.index}, the picture has {self.header.tile_count} tiles"
                raise FormatError(msg)
            if unit.type == UnitType.ALPHA and self.header.alpha == NO_ALPHA:
                msg = f"{_place(unit)} is in a picture without alpha"
                raise FormatError(msg)
            if (coded.index, unit.type) in given:
                msg = f"{_place(unit)} is the second of tile {coded.index}"
                raise FormatError(msg)
            return coded
        if unit.type == UnitType.PICTURE_HEADER or unit.type in self.metadata:
            msg = f"{_place(unit)} is the second of its type"
            raise FormatError(msg)
        if unit.type in METADATA_TYPES:
            self.metadata[unit.type] = unit.payload
        elif unit.type == UnitType.END:
            check_end(unit.payload, _place(unit))
        else:
            check_known(unit.type, _place(unit))
            check_belongs(unit.type, PICTURE_TYPES, "a picture", _place(unit))
        return None

    def _lose(self, text: str) -> None:
        if len(self.losses) < MAX_LOSSES:
            self.losses.append(text)
        else:
            self._untold += 1


class _Order:
    """The rule of order: which of TILE, ALPHA and END comes next."""

    def __init__(self, header: PictureHeader) -> None:
        self._count = header.tile_count
        self._coded = [UnitType.TILE] if header.alpha == NO_ALPHA else [UnitType.TILE, UnitType.ALPHA]
        self._passed = 0

    def fits(self, unit_type: int, index: int) -> bool:
        """Whether a unit of this type, of this tile (0 for END), is the one that is due."""
        tile, place = divmod(self._passed, len(self._coded))
        if tile < self._count:
            return (unit_type, index) == (self._coded[place], tile)
        return unit_type == UnitType.END and self._passed == self._count * len(self._coded)

    def advance(self) -> None:
        """The unit that was due is passed."""
        self._passed += 1

    @property
    def due(self) -> str:
        """What comes next, for messages."""
        tile, place = divmod(self._passed, len(self._coded))
        if tile < self._count:
            return f"{self._coded[place].name} of tile {tile} of {self._count}"
        end = self._passed == self._count * len(self._coded)
        return f"END, the picture has {self._count} tiles" if end else "nothing, the stream is finished"


def write_picture(file: BinaryWriter, picture: PictureStream) -> None:
    """Write a whole stream without seeking.

    Raises InputError, before anything is written, when tiles and alpha are not those of the header's picture in raster
    order or when a metadata type is none of METADATA_TYPES.
    """
    buffer = io.BytesIO()
    writer = PictureWriter(buffer, picture.header, picture.metadata)
    for tile, alpha in zip_longest(picture.tiles, picture.alpha):
        if tile is not None:
            writer.tile(tile)
        if alpha is not None:
            writer.alpha(alpha)
    writer.finish()
    write_all(file, buffer.getvalue())


def read_picture(file: BinaryReader, limits: Limits | None = None) -> PictureStream:
    """Read a whole stream, to its last byte; raises as PictureReader."""
    reader = PictureReader(file, limits)
    picture = PictureStream(reader.header, [], reader.metadata, version=reader.version)
    for unit in reader:
        if isinstance(unit, TileUnit):
            picture.tiles.append(unit)
        else:
            picture.alpha.append(unit)
    return picture


def read_header(file: BinaryReader, limits: Limits | None = None) -> PictureHeader:
    """Read signature, version and picture header, and nothing behind them; raises as PictureReader."""
    return PictureReader(file, limits).header


def _parse_coded(unit: Unit) -> TileUnit | AlphaUnit:
    try:
        return TileUnit.parse(unit.payload) if unit.type == UnitType.TILE else AlphaUnit.parse(unit.payload)
    except FormatError as error:
        msg = f"{_place(unit)}: {error}"
        raise FormatError(msg) from error


def _place(unit: Unit) -> str:
    return f"{unit_name(unit.type)} at byte {unit.offset}"
