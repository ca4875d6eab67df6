"""The outer layer of a stream: signature, version, and units of type, length, payload and CRC-32 (see SPEC.md).

Reading works on anything with read(size), of any shortness of reads, seekable or not; writing never seeks.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from nacre.bitstream.errors import (
    ChecksumError,
    FormatError,
    InputError,
    TruncatedError,
    UnsupportedVersionError,
)
from nacre.bitstream.limits import Limits

SIGNATURE = b"\x8bNCR\r\n\x1a\n"
VERSION_MAJOR = 0
VERSION_MINOR = 4
"""The latest minor version that this package knows."""
FIRST_MINOR = 1
"""The minor version of streams that need nothing of a later one."""

_OPTIONAL_BIT = 0x80
_CHUNK_BYTES = 1 << 20
_LENGTH_BYTES = 5  # of the longest length


class UnitType(IntEnum):
    """The unit types of this version. Types with bit 7 set are optional."""

    PICTURE_HEADER = 0x01
    TILE = 0x02
    ALPHA = 0x03
    END = 0x0F
    SEQUENCE_HEADER = 0x10
    INTRA_FRAME = 0x11
    PREDICTED_FRAME = 0x12
    SEEK_INDEX = 0x13
    ICC_PROFILE = 0x90
    EXIF = 0x91
    XMP = 0x92
    PACKET = 0x95
    TRACK = 0x96
    HDR = 0x97


RESERVED: Mapping[int, str] = MappingProxyType(
    {
        0x04: "region-of-interest map",
        0x05: "layer",
        0x06: "lossless residual",
        0x93: "gain map",
        0x94: "thumbnail",
    }
)
"""Type numbers set aside for later versions."""

KNOWN_TYPES = frozenset(UnitType)
METADATA_TYPES = frozenset({UnitType.ICC_PROFILE, UnitType.EXIF, UnitType.XMP})
"""Unit types whose payload is carried as it is, at most one of each."""
PICTURE_TYPES = METADATA_TYPES | {UnitType.PICTURE_HEADER, UnitType.TILE, UnitType.ALPHA, UnitType.END}
"""The unit types of a still picture."""
FRAME_TYPES = frozenset({UnitType.INTRA_FRAME, UnitType.PREDICTED_FRAME})
SEQUENCE_TYPES = (
    METADATA_TYPES
    | FRAME_TYPES
    | {UnitType.SEQUENCE_HEADER, UnitType.SEEK_INDEX, UnitType.PACKET, UnitType.TRACK, UnitType.HDR, UnitType.END}
)
"""The unit types of a sequence."""


class BinaryReader(Protocol):
    """What is read from: read(size) gives at most `size` bytes, none only at the end of the stream."""

    def read(self, size: int, /) -> bytes | None: ...


class SeekableReader(BinaryReader, Protocol):
    """A file that is read at any place."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class BinaryWriter(Protocol):
    """What is written to: write(data) gives the number of bytes taken, or None when it took all."""

    def write(self, data: bytes, /) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit as read: type 0..255, payload, offset of its type byte in the stream, size with framing (bytes)."""

    type: int
    payload: bytes
    offset: int
    size: int


class Part(NamedTuple):
    """A stretch of the stream: name, offset of its first byte, bytes with framing."""

    name: str
    offset: int
    size: int


def is_optional(unit_type: int) -> bool:
    """Whether a reader that does not know the type 0..255 skips the unit."""
    return bool(unit_type & _OPTIONAL_BIT)


def unit_name(unit_type: int) -> str:
    """Name of a unit type for messages."""
    if unit_type in KNOWN_TYPES:
        return UnitType(unit_type).name
    return f"type 0x{unit_type:02X}"


def check_known(unit_type: int, place: str) -> None:
    """Raise FormatError, naming the place, for a critical type that this version does not know."""
    if is_optional(unit_type) or unit_type in KNOWN_TYPES:
        return
    version = f"{VERSION_MAJOR}.{VERSION_MINOR}"
    if unit_type in RESERVED:
        msg = f"{place} is reserved for {RESERVED[unit_type]}, not in version {version}"
    else:
        msg = f"{place} is of a critical type that version {version} does not know"
    raise FormatError(msg)


def check_belongs(unit_type: int, types: AbstractSet[int], kind: str, place: str) -> None:
    """Raise FormatError, naming the place, for a critical type of this version that is none of the `kind`'s types."""
    if unit_type not in types and not is_optional(unit_type):
        msg = f"{place} is of a type that {kind} does not have"
        raise FormatError(msg)


def check_end(payload: bytes, place: str) -> None:
    """Raise FormatError, naming the place, unless the payload of an END unit is empty."""
    if payload:
        msg = f"{place} has {len(payload)} bytes of payload, must be empty"
        raise FormatError(msg)


def pack_varint(value: int, bits: int = 32) -> bytes:
    """LEB128, least significant seven bits first, in its shortest form; InputError unless 0 <= value < 2^bits."""
    if not 0 <= value < 1 << bits:
        msg = f"variable-length integer is {value}, must be 0..{(1 << bits) - 1}"
        raise InputError(msg)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def parse_varint(data: bytes, bits: int = 32) -> tuple[int, int]:
    """(value, bytes used) of the LEB128 integer at the start of `data`.

    Raises FormatError when `data` ends inside it, when it is not in its shortest form, or when it is 2^bits or more.
    """
    longest = -(-bits // 7)
    value = 0
    for position, byte in enumerate(data[:longest]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            if byte == 0 and position > 0:
                msg = f"variable-length integer {data[: position + 1].hex()} is not in its shortest form"
                raise FormatError(msg)
            if value >= 1 << bits:
                break
            return value, position + 1
    if len(data) < longest:
        msg = f"variable-length integer {data.hex()} is cut off"
        raise FormatError(msg)
    msg = f"variable-length integer {data[:longest].hex()} is longer than {bits} bits"
    raise FormatError(msg)


def write_signature(file: BinaryWriter, minor: int = FIRST_MINOR) -> None:
    """Write the signature and the version of the stream; minor: 1..255, the lowest one that has all it needs."""
    write_all(file, SIGNATURE + bytes((VERSION_MAJOR, minor)))


def write_unit(file: BinaryWriter, unit_type: int, payload: bytes) -> None:
    """Write one unit; unit_type 0..255, payload shorter than 2^32 bytes (InputError otherwise)."""
    if not 0 <= unit_type <= 0xFF:
        msg = f"unit type is {unit_type}, must be 0..255"
        raise InputError(msg)
    head = bytes((unit_type,)) + pack_varint(len(payload))
    crc = zlib.crc32(payload, zlib.crc32(head))
    write_all(file, head)
    write_all(file, payload)
    write_all(file, crc.to_bytes(4, "little"))


def write_all(file: BinaryWriter, data: bytes) -> None:
    """Write all of `data`, also to files that take less at a time."""
    written = file.write(data)
    while written is not None and written < len(data):
        data = data[written:]
        written = file.write(data)


class UnitReader:
    """Iterator over the units of a stream, END included.

    Opening reads signature and version. Each step reads one unit and nothing behind it, checks its CRC and refuses
    critical types that this version does not know; behind END it makes sure that the stream ends. Memory grows with
    the bytes that really come, in steps of at most 1 MiB, whatever a length says.

    Raises FormatError (not a stream of this format, unknown critical unit, bytes behind END), UnsupportedVersionError,
    TruncatedError, ChecksumError, LimitError, and InputError for a file in non-blocking mode; errors of the file itself
    pass through. After a ChecksumError the reader stands behind the damaged unit, and iteration may go on.
    """

    def __init__(self, file: BinaryReader, limits: Limits | None = None) -> None:
        self._file = file
        self._limits = Limits() if limits is None else limits
        self._offset = 0
        self._count = 0
        self._ended = False
        self.version = self._read_signature()
        """(major, minor) of the stream."""

    def __iter__(self) -> Iterator[Unit]:
        return self

    def __next__(self) -> Unit:
        if self._ended:
            if self._take(1):
                msg = f"the stream goes on at byte {self._offset - 1}, behind its END unit"
                raise FormatError(msg)
            raise StopIteration
        offset = self._offset
        number = self._count
        first = self._take(1)
        if not first:
            msg = f"the stream ends at byte {offset} after {number} units, without its END unit"
            raise TruncatedError(msg)
        unit_type = first[0]
        place = f"unit {number} ({unit_name(unit_type)}) at byte {offset}"
        head, length = self._read_length(first, place)
        self._limits.check_unit(length, place)
        payload = self._take_exactly(length, place)
        stored = int.from_bytes(self._take_exactly(4, place), "little")
        self._count += 1
        self._limits.check_units(self._count)
        computed = zlib.crc32(payload, zlib.crc32(head))
        if stored != computed:
            msg = f"{place} is damaged: its checksum is 0x{stored:08X}, its bytes give 0x{computed:08X}"
            raise ChecksumError(msg)
        check_known(unit_type, place)
        self._ended = unit_type == UnitType.END
        if self._ended:
            check_end(payload, place)
        return Unit(unit_type, payload, offset, self._offset - offset)

    def rest(self) -> bytes:
        """All bytes behind the units that were read; LimitError where the stream is longer than the limits allow."""
        data = self._take(self._limits.max_stream_bytes - self._offset + 1)
        self._limits.check_stream(self._offset)
        return data

    def _read_signature(self) -> tuple[int, int]:
        data = self._take(len(SIGNATURE) + 2)
        start = data[: len(SIGNATURE)]
        if not SIGNATURE.startswith(start):
            msg = f"this is no nacre stream: it starts with {start.hex(' ')}, not with {SIGNATURE.hex(' ')}"
            if start.startswith(SIGNATURE[:4]):
                msg += " (the difference is that of a transfer in text mode)"
            raise FormatError(msg)
        if len(data) < len(SIGNATURE) + 2:
            msg = f"the stream ends at byte {len(data)}, inside signature and version"
            raise TruncatedError(msg)
        major, minor = data[-2:]
        if major != VERSION_MAJOR or minor == 0:
            msg = (
                f"the stream is of version {major}.{minor}, this reader knows"
                f" {VERSION_MAJOR}.{FIRST_MINOR} to {VERSION_MAJOR}.255"
            )
            raise UnsupportedVersionError(msg)
        return major, minor

    def _read_length(self, head: bytes, place: str) -> tuple[bytes, int]:
        """Read the length behind the type byte `head`: (type and length bytes, length)."""
        while len(head) <= _LENGTH_BYTES and (len(head) == 1 or head[-1] >= 0x80):
            head += self._take_exactly(1, place)
        try:
            length, _ = parse_varint(head[1:])
        except FormatError as error:
            msg = f"{place}: the length is malformed: {error}"
            raise FormatError(msg) from error
        return head, length

    def _take_exactly(self, size: int, place: str) -> bytes:
        start = self._offset
        self._limits.check_stream(start + size)
        data = self._take(size)
        if len(data) < size:
            msg = f"{place} is cut off: {size} bytes are due from byte {start} on, {len(data)} are left"
            raise TruncatedError(msg)
        return data

    def _take(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the stream."""
        buffer = io.BytesIO()
        missing = size
        while missing > 0:
            chunk = self._file.read(min(missing, _CHUNK_BYTES))
            if chunk is None:
                msg = "the file to read is in non-blocking mode and has no data, must be in blocking mode"
                raise InputError(msg)
            if not chunk:
                break
            missing -= buffer.write(chunk)
        self._offset += size - missing
        return buffer.getvalue()
