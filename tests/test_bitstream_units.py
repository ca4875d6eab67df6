"""Signature, units, variable-length integers: what is written comes back, what is damaged is named."""

from __future__ import annotations

import io
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.bitstream import (
    RESERVED,
    SIGNATURE,
    BinaryReader,
    ChecksumError,
    FormatError,
    InputError,
    LimitError,
    Limits,
    TruncatedError,
    Unit,
    UnitReader,
    UnitType,
    UnsupportedVersionError,
    unit_name,
    write_signature,
    write_unit,
)
from nacre.bitstream.units import pack_varint, parse_varint

VERSION = bytes((0, 1))


class Dribble:
    """A non-seekable stream whose reads come short: at most 1, 2, 3, 1, ... bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._turn = 0

    def read(self, size: int, /) -> bytes:
        self._turn += 1
        chunk = self._data[self._position : self._position + min(size, self._turn % 3 + 1)]
        self._position += len(chunk)
        return chunk


class ShortWriter:
    """A raw file that takes at most three bytes a call and cannot seek."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> int:
        self.data += data[:3]
        return len(data[:3])


def stream(*units: tuple[int, bytes]) -> bytes:
    file = io.BytesIO()
    write_signature(file)
    for unit_type, payload in units:
        write_unit(file, unit_type, payload)
    return file.getvalue()


def read(file: BinaryReader | bytes, limits: Limits | None = None) -> list[Unit]:
    return list(UnitReader(io.BytesIO(file) if isinstance(file, bytes) else file, limits))


legal_units = st.lists(
    st.tuples(st.sampled_from((0x01, 0x02, 0x80, 0x90, 0x93, 0xFF)), st.binary(max_size=300)), max_size=6
)


@given(legal_units)
def test_units_come_back_through_any_reads(units: list[tuple[int, bytes]]) -> None:
    units.append((UnitType.END, b""))
    data = stream(*units)
    for file in (io.BytesIO(data), Dribble(data)):
        result = read(file)
        assert [(unit.type, unit.payload) for unit in result] == units
        assert [data[unit.offset] for unit in result] == [unit_type for unit_type, _ in units]
        assert sum(unit.size for unit in result) + len(SIGNATURE) + 2 == len(data)


def test_bytes_of_a_unit() -> None:
    covered = bytes((0x02, 0xC8, 0x01)) + b"a" * 200
    expected = SIGNATURE + VERSION + covered + zlib.crc32(covered).to_bytes(4, "little")
    assert stream((UnitType.TILE, b"a" * 200)) == expected


def test_writer_takes_files_that_write_short() -> None:
    file = ShortWriter()
    write_signature(file)
    write_unit(file, UnitType.END, b"")
    assert file.data == stream((UnitType.END, b""))


@given(st.integers(0, 2**32 - 1), st.binary(max_size=8))
def test_varint_round_trip(value: int, rest: bytes) -> None:
    packed = pack_varint(value)
    assert len(packed) == max(1, -(-value.bit_length() // 7))
    assert parse_varint(packed + rest) == (value, len(packed))


@given(st.integers(0, 2**64 - 1), st.binary(max_size=8))
def test_wide_varint_round_trip(value: int, rest: bytes) -> None:
    packed = pack_varint(value, 64)
    assert len(packed) == max(1, -(-value.bit_length() // 7))
    assert parse_varint(packed + rest, 64) == (value, len(packed))


@pytest.mark.parametrize("data", ["ff" * 9, "8000", "ff" * 9 + "02", "80" * 9 + "00", "ff" * 10])
def test_wide_varint_refuses_other_forms(data: str) -> None:
    with pytest.raises(FormatError, match="variable-length integer"):
        parse_varint(bytes.fromhex(data), 64)


@pytest.mark.parametrize(
    "data", ["", "80", "ffffffff", "8000", "ff00", "ffffffff10", "ffffffffff01", "808080808000", "8080808000"]
)
def test_varint_refuses_other_forms(data: str) -> None:
    with pytest.raises(FormatError, match="variable-length integer"):
        parse_varint(bytes.fromhex(data))


@pytest.mark.parametrize("value", [-1, 2**32])
def test_varint_refuses_other_values(value: int) -> None:
    with pytest.raises(InputError, match=r"must be 0\.\.4294967295"):
        pack_varint(value)


@pytest.mark.parametrize("unit_type", [-1, 256])
def test_writer_refuses_other_types(unit_type: int) -> None:
    with pytest.raises(InputError, match=r"must be 0\.\.255"):
        write_unit(io.BytesIO(), unit_type, b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\0", "no nacre stream"),
        (b"hello", "no nacre stream"),
        (SIGNATURE.replace(b"\r\n", b"\n") + VERSION, "text mode"),
    ],
)
def test_foreign_files(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        UnitReader(io.BytesIO(data))


@pytest.mark.parametrize("length", range(10))
def test_truncated_signature(length: int) -> None:
    with pytest.raises(TruncatedError, match=f"at byte {length}"):
        UnitReader(io.BytesIO((SIGNATURE + VERSION)[:length]))


@pytest.mark.parametrize("version", [(1, 0), (1, 1), (255, 0), (0, 0)])
def test_unknown_versions_are_refused(version: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedVersionError, match=f"version {version[0]}.{version[1]}"):
        UnitReader(io.BytesIO(SIGNATURE + bytes(version)))


def test_the_message_names_the_versions_that_are_known() -> None:
    with pytest.raises(UnsupportedVersionError, match=r"this reader knows 0\.1 to 0\.255"):
        UnitReader(io.BytesIO(SIGNATURE + b"\1\0"))


def test_signature_of_a_minor_version() -> None:
    file = io.BytesIO()
    write_signature(file, 3)
    assert file.getvalue() == SIGNATURE + b"\0\3"


def test_later_minor_version_is_read() -> None:
    data = bytearray(stream((UnitType.END, b"")))
    data[9] = 7
    reader = UnitReader(io.BytesIO(data))
    assert reader.version == (0, 7)
    assert [unit.type for unit in reader] == [UnitType.END]


def test_checksum_error_names_the_place_and_reading_goes_on() -> None:
    data = bytearray(stream((UnitType.PICTURE_HEADER, b"head"), (UnitType.TILE, b"tile"), (UnitType.END, b"")))
    data[23] ^= 1
    reader = UnitReader(io.BytesIO(data))
    assert next(reader).payload == b"head"
    with pytest.raises(ChecksumError, match=r"unit 1 \(TILE\) at byte 20 is damaged"):
        next(reader)
    assert [unit.type for unit in reader] == [UnitType.END]


def test_truncation_names_the_place() -> None:
    data = stream((UnitType.PICTURE_HEADER, b"head"), (UnitType.TILE, b"tile"))
    with pytest.raises(TruncatedError, match=r"unit 1 \(TILE\) at byte 20 is cut off: 4 bytes are due .* 3 are left"):
        read(data[:-5])
    with pytest.raises(TruncatedError, match="without its END"):
        read(data)


def test_bytes_behind_end() -> None:
    data = stream((UnitType.END, b""))
    with pytest.raises(FormatError, match=f"at byte {len(data)}, behind its END"):
        read(data + b"\0")


def test_end_with_payload() -> None:
    with pytest.raises(FormatError, match="must be empty"):
        read(stream((UnitType.END, b"x")))


@pytest.mark.parametrize("unit_type", [0x00, 0x07, 0x14, 0x7F, *(t for t in RESERVED if t < 0x80)])
def test_unknown_critical_units_are_refused(unit_type: int) -> None:
    message = f"reserved for {RESERVED[unit_type]}, not in version 0.4" if unit_type in RESERVED else "does not know"
    with pytest.raises(FormatError, match=message):
        read(stream((unit_type, b"x"), (UnitType.END, b"")))


def test_malformed_length() -> None:
    for length in (b"\x80\x00", b"\xff\xff\xff\xff\x1f"):
        with pytest.raises(FormatError, match="length is malformed"):
            read(SIGNATURE + VERSION + b"\x02" + length)


@pytest.mark.parametrize("limits", [Limits(), Limits(max_unit_bytes=2**32, max_stream_bytes=2**40)])
def test_lying_length_allocates_nothing_large(limits: Limits) -> None:
    data = SIGNATURE + VERSION + b"\x02\xff\xff\xff\xff\x0f" + b"x" * 100
    tracemalloc.start()
    try:
        with pytest.raises((TruncatedError, LimitError)):
            read(data, limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_limits_of_unit_and_stream() -> None:
    data = stream((UnitType.TILE, b"x" * 100), (UnitType.END, b""))
    assert len(read(data, Limits(max_unit_bytes=100, max_stream_bytes=len(data)))) == 2
    with pytest.raises(LimitError, match="announces 100 bytes, the limit max_unit_bytes is 99"):
        read(data, Limits(max_unit_bytes=99))
    with pytest.raises(LimitError, match="limit max_stream_bytes is"):
        read(data, Limits(max_stream_bytes=len(data) - 1))


def test_reader_takes_no_byte_too_many() -> None:
    data = stream((UnitType.PICTURE_HEADER, b"head"), (UnitType.TILE, b"tile"))
    file = io.BytesIO(data)
    assert next(UnitReader(file)).payload == b"head"
    assert file.tell() == 20


def test_non_blocking_file() -> None:
    class Empty:
        def read(self, size: int, /) -> None:
            del size

    with pytest.raises(InputError, match="non-blocking"):
        UnitReader(Empty())


def test_names() -> None:
    assert unit_name(0x02) == "TILE"
    assert unit_name(0x7A) == "type 0x7A"
    assert not RESERVED.keys() & set(UnitType)


def test_the_rest_of_a_stream() -> None:
    data = stream((UnitType.PICTURE_HEADER, b"head"), (UnitType.TILE, b"tile")) + b"anything"
    for file in (io.BytesIO(data), Dribble(data)):
        reader = UnitReader(file, Limits(max_stream_bytes=len(data)))
        next(reader)
        assert reader.rest() == data[20:]
    reader = UnitReader(io.BytesIO(data), Limits(max_stream_bytes=len(data) - 1))
    next(reader)
    with pytest.raises(LimitError, match=f"at least {len(data)} bytes, the limit max_stream_bytes is"):
        reader.rest()
