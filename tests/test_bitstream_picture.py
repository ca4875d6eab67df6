"""Whole streams: round trips, golden bytes, every cut and every changed byte, lost and moved units."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.bitstream import (
    FormatError,
    InputError,
    LimitError,
    Limits,
    NacreError,
    PictureHeader,
    PictureStream,
    TileUnit,
    TruncatedError,
    UnitType,
    read_header,
    read_picture,
    write_picture,
    write_signature,
    write_unit,
)

HEADER = PictureHeader(
    width=150,
    height=70,
    chroma=0,
    quality=25600,
    profile="test",
    digest=b"\0\1\2\3\xfc\xfd\xfe\xff",
    live_channels=1,
    skip_threshold=0,
    tile_size=128,
    tile_margin=32,
)
PICTURE = PictureStream(
    HEADER, [TileUnit(0, 0x01020304, b"first"), TileUnit(1, 0xFFFFFFFF, b"")], {UnitType.EXIF: b"II*\0"}
)
GOLDEN = (
    "8b4e43520d0a1a0a 00 01"
    "01 24 96000000 46000000 08 00 010d0001 04 74657374 00010203fcfdfeff 0064 0100 00 8000 2000 5459f124"
    "91 04 49492a00 55af4464"
    "02 0a 00 04030201 6669727374 5d8db2ae"
    "02 05 01 ffffffff b756e5b9"
    "0f 00 300e41c6"
)

payloads = st.binary(max_size=60).map(lambda data: data.rstrip(b"\0"))


class Pipe:
    """A stream that only reads, by single bytes, and counts them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        chunk = self._data[self.taken : self.taken + min(size, 1)]
        self.taken += len(chunk)
        return chunk


class Appender:
    """A file that only writes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> None:
        self.data += data


def packed(picture: PictureStream) -> bytes:
    file = Appender()
    write_picture(file, picture)
    return file.data


def stream(units: Sequence[tuple[int, bytes]]) -> bytes:
    file = io.BytesIO()
    write_signature(file)
    for unit_type, payload in units:
        write_unit(file, unit_type, payload)
    return file.getvalue()


def parse(data: bytes) -> PictureStream:
    return read_picture(io.BytesIO(data))


HEAD = (int(UnitType.PICTURE_HEADER), HEADER.pack())
TILES = [(int(UnitType.TILE), tile.pack()) for tile in PICTURE.tiles]
END = (int(UnitType.END), b"")
DATA = packed(PICTURE)


@given(
    st.integers(1, 500),
    st.integers(1, 500),
    st.integers(0, 4),
    st.dictionaries(st.sampled_from((0x90, 0x91, 0x92)), st.binary(max_size=40)),
    st.data(),
)
def test_round_trip(width: int, height: int, size: int, metadata: dict[int, bytes], data: st.DataObject) -> None:
    header = replace(HEADER, width=width, height=height, tile_size=64 * size, tile_margin=0)
    checks = st.integers(0, 2**32 - 1)
    tiles = [TileUnit(index, data.draw(checks), data.draw(payloads)) for index in range(header.tile_count)]
    picture = PictureStream(header, tiles, metadata)
    stored = packed(picture)
    assert parse(stored) == picture
    assert read_picture(Pipe(stored)) == picture
    assert read_header(Pipe(stored)) == header


def test_golden_bytes() -> None:
    golden = bytes.fromhex(GOLDEN)
    assert golden == DATA
    assert parse(golden) == PICTURE


def test_header_reader_stops_behind_the_header() -> None:
    pipe = Pipe(DATA)
    assert read_header(pipe) == HEADER
    assert pipe.taken == 10 + 38 + 4


def test_overhead() -> None:
    header = replace(
        HEADER, width=65535, height=65535, profile="a" * 16, tile_size=0, tile_margin=0, live_channels=1024
    )
    payload = b"\1" * (1 << 21)
    assert len(packed(PictureStream(header, [TileUnit(0, 2**32 - 1, payload)]))) - len(payload) <= 96


@pytest.mark.parametrize("length", range(len(DATA)))
def test_every_cut_is_a_truncation(length: int) -> None:
    with pytest.raises(TruncatedError):
        parse(DATA[:length])


@pytest.mark.parametrize("position", range(len(DATA)))
def test_every_changed_byte_is_noticed(position: int) -> None:
    """All 255 changes of each byte; only the minor version has values that are as good as its own."""
    for change in range(1, 256):
        data = bytearray(DATA)
        data[position] ^= change
        if position == 9 and data[position] != 0:
            assert parse(bytes(data)) == replace(PICTURE, version=(0, data[position]))
            continue
        with pytest.raises(FormatError):
            parse(bytes(data))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=5), st.booleans())
def test_any_units_with_right_checksums(units: list[tuple[int, bytes]], with_header: bool) -> None:
    try:
        picture = parse(stream([HEAD, *units, END] if with_header else units))
    except NacreError:
        return
    assert parse(packed(picture)) == picture


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for start in (b"", DATA[:10], DATA[:52]):
        with pytest.raises(NacreError):
            parse(start + data)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([END], "first unit is END, must be PICTURE_HEADER"),
        ([(0x91, b""), HEAD, *TILES, END], "first unit is EXIF, must be PICTURE_HEADER"),
        ([HEAD, HEAD, *TILES, END], "PICTURE_HEADER at byte 52 is the second"),
        ([HEAD, (0x90, b"a"), (0x90, b"a"), *TILES, END], "ICC_PROFILE at byte 59 is the second"),
        ([HEAD, END], "END at byte 52 comes after 0 tiles, the picture has 2"),
        ([HEAD, TILES[0], END], "comes after 1 tiles, the picture has 2"),
        ([HEAD, TILES[1], END], "TILE at byte 52 is tile 1, due is tile 0 of 2"),
        ([HEAD, TILES[1], TILES[0], END], "is tile 1, due is tile 0 of 2"),
        ([HEAD, TILES[0], TILES[0], END], "is tile 0, due is tile 1 of 2"),
        ([HEAD, *TILES, (0x02, b"\2\0\0\0\0"), END], "is tile 2, due is END, the picture has 2 tiles"),
        ([HEAD, (0x02, b""), END], "TILE at byte 52: variable-length integer  is cut off"),
        ([HEAD, (0x02, b"\0\1\2\3"), END], "tile 0 has 4 bytes, must have at least 5"),
        ([HEAD, (0x02, b"\0\1\2\3\4a\0"), END], "tile 0 end with a zero byte"),
        ([HEAD, (0x02, b"\x80\0\1\2\3\4"), END], "not in its shortest form"),
        ([(0x01, HEAD[1] + b"\0"), *TILES, END], "1 bytes behind its last field"),
    ],
)
def test_rules_of_order_and_form(units: list[tuple[int, bytes]], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse(stream(units))


def test_unknown_optional_units_are_skipped_anywhere_behind_the_header() -> None:
    units = [HEAD, (0x93, b"map"), TILES[0], (0xFF, b""), (0xFF, b"two"), TILES[1], (0x91, b"II*\0"), END]
    assert parse(stream(units)) == PICTURE


def test_check_with_a_zero_at_its_end_is_no_trailing_zero() -> None:
    tile = TileUnit(0, 5, b"")
    assert TileUnit.parse(tile.pack()) == tile


def test_limits_come_before_tiles() -> None:
    assert read_header(io.BytesIO(DATA), Limits(max_pixels=150 * 70, max_dimension=150)) == HEADER
    with pytest.raises(LimitError, match=r"150 x 70 = 10500 pixels, the limit max_pixels is 10499"):
        read_picture(io.BytesIO(DATA), Limits(max_pixels=10499))
    with pytest.raises(LimitError, match=r"width is 150 pixels, the limit max_dimension is 149"):
        read_header(io.BytesIO(DATA), Limits(max_dimension=149))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (replace(PICTURE, tiles=PICTURE.tiles[:1]), "number of tiles is 1, must be 2"),
        (replace(PICTURE, tiles=PICTURE.tiles[::-1]), "index of tile 0 is 1, must be its raster number"),
        (replace(PICTURE, metadata={0x02: b""}), "metadata type is 0x2, must be one of 0x90, 0x91, 0x92"),
        (replace(PICTURE, tiles=[PICTURE.tiles[0], TileUnit(1, 0, b"\0")]), "tile 1 end with a zero byte"),
        (replace(PICTURE, tiles=[PICTURE.tiles[0], TileUnit(1, 2**32, b"")]), "symbols check of tile 1 is 4294967296"),
    ],
)
def test_writer_refuses_before_it_writes(picture: PictureStream, message: str) -> None:
    file = io.BytesIO()
    with pytest.raises(InputError, match=message):
        write_picture(file, picture)
    assert file.getvalue() == b""
