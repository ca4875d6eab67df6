"""Whole streams: round trips, golden bytes, every cut and every changed byte, lost and moved units."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.bitstream import (
    AlphaUnit,
    FormatError,
    InputError,
    LimitError,
    Limits,
    NacreError,
    Part,
    PictureHeader,
    PictureReader,
    PictureStream,
    PictureWriter,
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
WITH_ALPHA = PictureStream(
    replace(HEADER, alpha=1), PICTURE.tiles, PICTURE.metadata, [AlphaUnit(0, 2, b"zlib"), AlphaUnit(1, 0, b"")]
)
GOLDEN = (
    "8b4e43520d0a1a0a 00 01"
    "01 24 96000000 46000000 08 00 010d0001 04 74657374 00010203fcfdfeff 0064 0100 00 8000 2000 5459f124"
    "91 04 49492a00 55af4464"
    "02 0a 00 04030201 6669727374 5d8db2ae"
    "02 05 01 ffffffff b756e5b9"
    "0f 00 300e41c6"
)

GOLDEN_WITH_ALPHA = (
    "8b4e43520d0a1a0a 00 03"
    "01 25 96000000 46000000 08 00 010d0001 04 74657374 00010203fcfdfeff 0064 0100 00 8000 2000 01 4d46af44"
    "91 04 49492a00 55af4464"
    "02 0a 00 04030201 6669727374 5d8db2ae"
    "03 06 00 02 7a6c6962 f61c71a0"
    "02 05 01 ffffffff b756e5b9"
    "03 02 01 00 dd956e29"
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


def stream(units: Sequence[tuple[int, bytes]], minor: int = 1) -> bytes:
    file = io.BytesIO()
    write_signature(file, minor)
    for unit_type, payload in units:
        write_unit(file, unit_type, payload)
    return file.getvalue()


def parse(data: bytes) -> PictureStream:
    return read_picture(io.BytesIO(data))


HEAD = (int(UnitType.PICTURE_HEADER), HEADER.pack())
TILES = [(int(UnitType.TILE), tile.pack()) for tile in PICTURE.tiles]
END = (int(UnitType.END), b"")
DATA = packed(PICTURE)
HEAD_WITH_ALPHA = (int(UnitType.PICTURE_HEADER), WITH_ALPHA.header.pack())
ALPHA = [(int(UnitType.ALPHA), alpha.pack()) for alpha in WITH_ALPHA.alpha]
DATA_WITH_ALPHA = packed(WITH_ALPHA)


@given(
    st.integers(1, 500),
    st.integers(1, 500),
    st.integers(0, 4),
    st.dictionaries(st.sampled_from((0x90, 0x91, 0x92)), st.binary(max_size=40)),
    st.integers(0, 1),
    st.data(),
)
def test_round_trip(
    width: int, height: int, size: int, metadata: dict[int, bytes], has_alpha: int, data: st.DataObject
) -> None:
    header = replace(HEADER, width=width, height=height, tile_size=64 * size, tile_margin=0, alpha=has_alpha)
    checks = st.integers(0, 2**32 - 1)
    tiles = [TileUnit(index, data.draw(checks), data.draw(payloads)) for index in range(header.tile_count)]
    alpha = [AlphaUnit(tile.index, tile.check % 3, data.draw(st.binary(max_size=20))) for tile in tiles if has_alpha]
    picture = PictureStream(header, tiles, metadata, alpha)
    stored = packed(picture)
    assert parse(stored) == picture
    assert parse(stored).version == (0, 3 if has_alpha else 1)
    assert read_picture(Pipe(stored)) == picture
    tolerant = PictureReader(Pipe(stored), keep_going=True)
    assert list(tolerant) == list(PictureReader(Pipe(stored)))
    assert (tolerant.metadata, tolerant.losses) == (metadata, [])
    assert read_header(Pipe(stored)) == header


def test_golden_bytes() -> None:
    golden = bytes.fromhex(GOLDEN)
    assert golden == DATA
    assert parse(golden) == PICTURE
    golden = bytes.fromhex(GOLDEN_WITH_ALPHA)
    assert golden == DATA_WITH_ALPHA
    assert parse(golden) == WITH_ALPHA


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


@pytest.mark.parametrize("data", [DATA, DATA_WITH_ALPHA])
def test_every_cut_is_a_truncation(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(TruncatedError):
            parse(data[:length])


@pytest.mark.parametrize("position", range(len(DATA_WITH_ALPHA)))
def test_every_changed_byte_is_noticed(position: int) -> None:
    """All 255 changes of each byte; only the minor version has values that are as good as its own."""
    for change in range(1, 256):
        for original, picture, same in (
            (DATA, PICTURE, {2}),
            (DATA_WITH_ALPHA, WITH_ALPHA, set(range(4, 256))),
        ):
            if position >= len(original):
                continue
            data = bytearray(original)
            data[position] ^= change
            if position == 9 and data[position] in same:
                assert parse(bytes(data)) == picture
                assert parse(bytes(data)).version == (0, data[position])
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
@given(st.lists(st.sampled_from((HEAD_WITH_ALPHA, *TILES, *ALPHA, (0x91, b""), (0xFF, b""), END)), max_size=8))
def test_any_order_of_units(units: list[tuple[int, bytes]]) -> None:
    """A stream is read if and only if its tiles and alpha are in order, END is last, and nothing comes twice."""
    coded = [unit for unit in units if unit[0] in (0x02, 0x03)]
    legal = coded == [TILES[0], ALPHA[0], TILES[1], ALPHA[1]] and units.count((0x91, b"")) <= 1
    legal = legal and HEAD_WITH_ALPHA not in units and units.index(END) == len(units) - 1 if END in units else False
    data = stream([HEAD_WITH_ALPHA, *units], minor=3)
    if legal:
        assert parse(data).alpha == WITH_ALPHA.alpha
    else:
        with pytest.raises(FormatError):
            parse(data)


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
        ([HEAD, END], "END at byte 52 comes too early, due is TILE of tile 0 of 2"),
        ([HEAD, TILES[0], END], "comes too early, due is TILE of tile 1 of 2"),
        ([HEAD, TILES[1], END], "TILE at byte 52 is of tile 1, due is TILE of tile 0 of 2"),
        ([HEAD, TILES[1], TILES[0], END], "is of tile 1, due is TILE of tile 0 of 2"),
        ([HEAD, TILES[0], TILES[0], END], "is of tile 0, due is TILE of tile 1 of 2"),
        ([HEAD, *TILES, (0x02, b"\2\0\0\0\0"), END], "is of tile 2, due is END, the picture has 2 tiles"),
        ([HEAD, TILES[0], ALPHA[0], TILES[1], END], "ALPHA at byte 68 is of tile 0, due is TILE of tile 1 of 2"),
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


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([*TILES, END], "TILE at byte 69 is of tile 1, due is ALPHA of tile 0 of 2"),
        ([TILES[0], END], "END at byte 69 comes too early, due is ALPHA of tile 0 of 2"),
        ([TILES[0], ALPHA[1], END], "ALPHA at byte 69 is of tile 1, due is ALPHA of tile 0 of 2"),
        ([ALPHA[0], TILES[0], END], "ALPHA at byte 53 is of tile 0, due is TILE of tile 0 of 2"),
        ([TILES[0], ALPHA[0], ALPHA[0], END], "is of tile 0, due is TILE of tile 1 of 2"),
        ([TILES[0], ALPHA[0], TILES[1], END], "due is ALPHA of tile 1 of 2"),
        ([TILES[0], (0x03, b""), END], "ALPHA at byte 69: variable-length integer  is cut off"),
        ([TILES[0], (0x03, b"\0"), END], "ALPHA at byte 69: .* alpha of tile 0 ends before its filter"),
        ([TILES[0], (0x03, b"\0\3"), END], r"ALPHA at byte 69: alpha filter of tile 0 is 3, must be 0\.\.2"),
    ],
)
def test_rules_of_alpha(units: list[tuple[int, bytes]], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse(stream([HEAD_WITH_ALPHA, *units], minor=3))


def test_alpha_is_a_matter_of_the_header() -> None:
    """A header of version 3 that says that there is none, which no writer writes."""
    head = (0x01, HEAD[1] + b"\0")
    assert parse(stream([head, *TILES, (0x91, b"II*\0"), END], minor=3)) == PICTURE
    with pytest.raises(FormatError, match="ALPHA at byte 69 is of tile 0, due is TILE of tile 1"):
        parse(stream([head, TILES[0], ALPHA[0]], minor=3))


def test_unknown_optional_units_are_skipped_anywhere_behind_the_header() -> None:
    units = [HEAD, (0x93, b"map"), TILES[0], (0xFF, b""), (0xFF, b"two"), TILES[1], (0x91, b"II*\0"), END]
    assert parse(stream(units)) == PICTURE


def test_optional_units_between_a_tile_and_its_alpha() -> None:
    units = [
        HEAD_WITH_ALPHA,
        TILES[0],
        (0x93, b"map"),
        ALPHA[0],
        TILES[1],
        (0x91, b"II*\0"),
        ALPHA[1],
        (0xFF, b""),
        END,
    ]
    assert parse(stream(units, minor=3)) == WITH_ALPHA


@pytest.mark.parametrize("unit_type", [0x10, 0x11, 0x12, 0x13])
def test_units_of_sequences_are_refused(unit_type: int) -> None:
    data = stream([HEAD, TILES[0], (unit_type, b"x"), TILES[1], (0x91, b"II*\0"), END])
    with pytest.raises(FormatError, match="at byte 68 is of a type that a picture does not have"):
        parse(data)
    reader = PictureReader(io.BytesIO(data), keep_going=True)
    assert list(reader) == PICTURE.tiles
    assert len(reader.losses) == 1


def test_optional_units_of_sequences_are_skipped() -> None:
    units = [HEAD, (0x96, b""), TILES[0], (0x95, b""), TILES[1], (0x97, b"x"), (0x91, b"II*\0"), END]
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
        (replace(PICTURE, tiles=PICTURE.tiles[:1]), "unit to write is END, due is TILE of tile 1 of 2"),
        (replace(PICTURE, tiles=PICTURE.tiles[::-1]), "unit to write is TILE of tile 1, due is TILE of tile 0 of 2"),
        (
            replace(PICTURE, tiles=[*PICTURE.tiles, TileUnit(2, 0, b"")]),
            "TILE of tile 2, due is END, the picture has 2",
        ),
        (replace(PICTURE, alpha=WITH_ALPHA.alpha), "unit to write is ALPHA of tile 0, due is TILE of tile 1 of 2"),
        (replace(WITH_ALPHA, alpha=[]), "unit to write is TILE of tile 1, due is ALPHA of tile 0 of 2"),
        (replace(WITH_ALPHA, alpha=WITH_ALPHA.alpha[:1]), "unit to write is END, due is ALPHA of tile 1 of 2"),
        (replace(WITH_ALPHA, alpha=[AlphaUnit(0, 3, b"")] * 2), r"alpha filter of tile 0 is 3, must be 0\.\.2"),
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


def test_writer_unit_by_unit() -> None:
    """Each unit is in the file when the call returns; what is refused leaves no trace."""
    file = Appender()
    writer = PictureWriter(file, WITH_ALPHA.header, WITH_ALPHA.metadata)
    assert file.data == DATA_WITH_ALPHA[:63]
    with pytest.raises(InputError, match="due is TILE of tile 0 of 2"):
        writer.alpha(WITH_ALPHA.alpha[0])
    with pytest.raises(InputError, match="end with a zero byte"):
        writer.tile(TileUnit(0, 0, b"\0"))
    with pytest.raises(InputError, match="unit to write is END"):
        writer.finish()
    assert file.data == DATA_WITH_ALPHA[:63]
    for tile, alpha in zip(WITH_ALPHA.tiles, WITH_ALPHA.alpha, strict=True):
        writer.tile(tile)
        with pytest.raises(InputError, match=f"due is ALPHA of tile {tile.index} of 2"):
            writer.tile(tile)
        writer.alpha(alpha)
    assert file.data == DATA_WITH_ALPHA[:-6]
    writer.finish()
    for refused in (writer.finish, lambda: writer.tile(PICTURE.tiles[0])):
        with pytest.raises(InputError, match="due is nothing, the stream is finished"):
            refused()
    assert file.data == DATA_WITH_ALPHA


def test_writer_refuses_foreign_metadata_before_it_writes() -> None:
    file = Appender()
    with pytest.raises(InputError, match="metadata type is 0xf, must be one of 0x90, 0x91, 0x92"):
        PictureWriter(file, HEADER, {0x0F: b""})
    assert file.data == b""


def test_reader_unit_by_unit() -> None:
    """Nothing is taken from the stream before it is due, and what was passed is told as it goes."""
    pipe = Pipe(DATA_WITH_ALPHA)
    reader = PictureReader(pipe)
    assert (reader.header, reader.version, reader.metadata) == (WITH_ALPHA.header, (0, 3), {})
    assert pipe.taken == 53
    ends = [79, 91, 102, 110]
    for unit, end in zip(
        (PICTURE.tiles[0], WITH_ALPHA.alpha[0], PICTURE.tiles[1], WITH_ALPHA.alpha[1]), ends, strict=True
    ):
        assert next(reader) == unit
        assert pipe.taken == end
        assert reader.metadata == {UnitType.EXIF: b"II*\0"}
    assert list(reader) == []
    assert pipe.taken == len(DATA_WITH_ALPHA)
    names = ["PICTURE_HEADER", "EXIF", "TILE", "ALPHA", "TILE", "ALPHA", "END"]
    starts = [10, 53, 63, *ends]
    sizes = [end - start for start, end in zip(starts, [*starts[1:], len(DATA_WITH_ALPHA)], strict=True)]
    assert reader.parts == [Part(*part) for part in zip(names, starts, sizes, strict=True)]
    assert (reader.payload_size, reader.alpha_size, reader.losses) == (5, 4, [])


def test_reader_is_done_after_an_error() -> None:
    reader = PictureReader(io.BytesIO(stream([HEAD, TILES[1], TILES[0], END])))
    with pytest.raises(FormatError, match="due is TILE of tile 0"):
        next(reader)
    assert list(reader) == []
