"""Damaged streams read with keep_going: what is intact comes out as it was, and nothing else; all damage is told."""

from __future__ import annotations

import io
import random
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.bitstream import (
    AlphaUnit,
    FormatError,
    LimitError,
    Limits,
    NacreError,
    Part,
    PictureHeader,
    PictureReader,
    PictureStream,
    TileUnit,
    TruncatedError,
    UnitType,
    UnsupportedVersionError,
    recovery,
    write_picture,
    write_signature,
    write_unit,
)
from nacre.bitstream.picture import MAX_LOSSES
from nacre.bitstream.recovery import IntactUnits

GOLDEN = Path(__file__).parent / "data" / "golden"
Coded = TileUnit | AlphaUnit
HEADER_END = 53

HEADER = PictureHeader(
    width=150,
    height=120,
    chroma=1,
    quality=12800,
    profile="test",
    digest=b"\0\1\2\3\xfc\xfd\xfe\xff",
    live_channels=1,
    skip_threshold=0,
    tile_size=64,
    tile_margin=16,
    alpha=1,
)


def made(seed: int = 1) -> PictureStream:
    """Six tiles with alpha, of payloads from nothing to some hundred bytes, so that lengths have one byte and two."""
    source = random.Random(seed)
    sizes = (0, 5, 90, 130, 17, 300)
    tiles = [
        TileUnit(number, source.getrandbits(32), source.randbytes(size) + b"x") for number, size in enumerate(sizes)
    ]
    alpha = [AlphaUnit(number, number % 3, source.randbytes(sizes[-number] // 3)) for number in range(6)]
    return PictureStream(HEADER, tiles, {UnitType.EXIF: b"II*\0" + bytes(20), UnitType.XMP: b"<x/>"}, alpha)


def packed(picture: PictureStream) -> bytes:
    file = io.BytesIO()
    write_picture(file, picture)
    return file.getvalue()


def stream(units: Sequence[tuple[int, bytes]]) -> bytes:
    file = io.BytesIO()
    write_signature(file, 3)
    for unit_type, payload in units:
        write_unit(file, unit_type, payload)
    return file.getvalue()


def keep_going(data: bytes, limits: Limits | None = None) -> tuple[list[Coded], PictureReader]:
    reader = PictureReader(io.BytesIO(data), limits, keep_going=True)
    return list(reader), reader


class Whole:
    """An intact stream, its units with the stretches that they take up."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        reader = PictureReader(io.BytesIO(data))
        self.coded = list(reader)
        self.metadata = reader.metadata
        self.parts = reader.parts
        self.header_end = reader.parts[1].offset
        coded = iter(self.coded)
        self.units = [(part, next(coded) if part.name in ("TILE", "ALPHA") else None) for part in reader.parts]

    def outside(self, start: int, stop: int) -> list[Coded]:
        """TILE and ALPHA units that have no byte in start..stop-1, and none of them inside of their own."""
        return [
            unit
            for part, unit in self.units
            if unit is not None and (part.offset + part.size <= start or part.offset >= stop)
        ]


MADE = Whole(packed(made()))
TILES = Whole((GOLDEN / "tiles.ncr").read_bytes())
WHOLE = [MADE, TILES]
ids = ["made", "coded"]


# Intact streams


@pytest.mark.parametrize("whole", WHOLE, ids=ids)
def test_an_intact_stream_is_read_as_ever(whole: Whole) -> None:
    coded, reader = keep_going(whole.data)
    assert coded == whole.coded
    assert reader.losses == []
    assert (reader.metadata, reader.parts) == (whole.metadata, whole.parts)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.ncr")), ids=lambda path: path.stem)
def test_every_golden_stream_is_read_as_ever(path: Path) -> None:
    whole = Whole(path.read_bytes())
    coded, reader = keep_going(whole.data)
    assert (coded, reader.losses, reader.metadata, reader.parts) == (whole.coded, [], whole.metadata, whole.parts)


# One byte


def changes(part: Part, place: int) -> Iterable[int]:
    """All changes of a byte of the framing, some of a byte of the payload."""
    framing = place < part.offset + 4 or place >= part.offset + part.size - 4
    return range(1, 256) if framing and part.size < 40 else (0x01, 0x80, 0xFF, 0x25)


@pytest.mark.parametrize("whole", WHOLE, ids=ids)
def test_every_changed_byte(whole: Whole) -> None:
    """Only the unit with the byte is lost: not one more tile, whether it is in a payload, a length, a type or a CRC."""
    for part, unit in whole.units[1:]:
        expected = [other for other in whole.coded if other is not unit]
        for place in range(part.offset, part.offset + part.size):
            for change in changes(part, place):
                data = bytearray(whole.data)
                data[place] ^= change
                coded, reader = keep_going(bytes(data))
                assert coded == expected, (part, place, change)
                assert f"at byte {part.offset} is damaged" in reader.losses[0]


@pytest.mark.parametrize("whole", WHOLE, ids=ids)
def test_every_changed_byte_without_keep_going(whole: Whole) -> None:
    for place in range(whole.header_end, len(whole.data)):
        for change in (0x01, 0x80, 0xFF, 0x25):
            data = bytearray(whole.data)
            data[place] ^= change
            reader = PictureReader(io.BytesIO(data))
            given_out: list[Coded] = []
            with pytest.raises(NacreError):
                given_out.extend(reader)
            assert given_out == whole.coded[: len(given_out)]


def test_changes_up_to_the_header_stay_errors() -> None:
    for place in range(MADE.header_end):
        for change in range(1, 256):
            data = bytearray(MADE.data)
            data[place] ^= change
            if place == 9 and data[9] >= 2:  # minor versions that this stream is of as well, or has no alpha in
                coded, reader = keep_going(bytes(data))
                expected = MADE.coded if data[9] > 2 else [unit for unit in MADE.coded if isinstance(unit, TileUnit)]
                assert coded == expected
                assert len(reader.losses) == len(MADE.coded) - len(expected)
                continue
            with pytest.raises(FormatError):
                keep_going(bytes(data))
    with pytest.raises(UnsupportedVersionError):
        keep_going(MADE.data[:8] + b"\1" + MADE.data[9:])


# Cuts


@pytest.mark.parametrize("whole", WHOLE, ids=ids)
def test_every_cut(whole: Whole) -> None:
    for length in range(len(whole.data)):
        data = whole.data[:length]
        if length < whole.header_end:
            with pytest.raises(TruncatedError):
                keep_going(data)
            continue
        coded, reader = keep_going(data)
        assert coded == whole.outside(length, len(whole.data))
        assert reader.losses[-1] == f"the stream ends at byte {length} without its END unit"
        at_a_border = any(part.offset + part.size == length for part in whole.parts)
        assert len(reader.losses) == (1 if at_a_border else 2)
        assert at_a_border or "is cut off" in reader.losses[0]


@pytest.mark.parametrize("whole", WHOLE, ids=ids)
def test_every_missing_start_behind_the_header(whole: Whole) -> None:
    """Any number of bytes behind the header lost: the other cut."""
    for start in range(whole.header_end + 1, len(whole.data)):
        coded, reader = keep_going(whole.data[: whole.header_end] + whole.data[start:])
        assert coded == whole.outside(whole.header_end, start)
        at_a_border = any(part.offset == start for part in whole.parts)
        assert bool(reader.losses) != at_a_border


# Stretches


@settings(max_examples=400)
@given(st.sampled_from(WHOLE), st.data())
def test_any_stretch_replaced_by_any_bytes(whole: Whole, data: st.DataObject) -> None:
    """Lost, put in, or overwritten: all units outside come out, and only they."""
    start = data.draw(st.integers(whole.header_end, len(whole.data)))
    stop = data.draw(st.integers(start, min(len(whole.data), start + 300)))
    put_in = data.draw(st.binary(max_size=80) | st.sampled_from((b"\x02\x80\x01" * 20, b"\x0f\0" * 9, bytes(64))))
    changed = whole.data[:start] + put_in + whole.data[stop:]
    coded, reader = keep_going(changed)
    expected = whole.outside(start, stop)
    inside = [unit for unit in whole.coded if unit not in expected]
    assert [unit for unit in coded if unit not in inside] == expected
    if changed != whole.data and whole.data[:start] + whole.data[stop:] != changed:
        assert reader.losses or coded == whole.coded


@settings(max_examples=200)
@given(st.sampled_from(WHOLE), st.integers(2, 12), st.randoms(use_true_random=False))
def test_many_damaged_bytes(whole: Whole, count: int, source: random.Random) -> None:
    """Whatever is given was there; with damage to payloads alone, exactly what is whole is given."""
    data = bytearray(whole.data)
    hit = set()
    for _ in range(count):
        number, (part, _) = source.choice(list(enumerate(whole.units[1:])))
        place = source.randrange(part.offset + 4, part.offset + part.size)
        data[place] ^= source.randrange(1, 256)
        hit.add(number)
    coded, _ = keep_going(bytes(data))
    untouched = [unit for number, (_, unit) in enumerate(whole.units[1:]) if unit and number not in hit]
    assert [unit for unit in coded if unit in untouched] == untouched
    assert all(unit in whole.coded for unit in coded)


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from((HEADER_END, 89, len(MADE.data) - 6)))
def test_any_bytes(rest: bytes, start: int) -> None:
    coded, reader = keep_going(MADE.data[:start] + rest)
    assert all(unit in MADE.coded for unit in coded)
    assert reader.losses


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from((0x01, 0x02, 0x03, 0x05, 0x0F, 0x40, 0x90, 0x91, 0xEE)), st.binary(max_size=30)),
        max_size=9,
    )
)
def test_any_units_with_right_checksums(units: list[tuple[int, bytes]]) -> None:
    coded, reader = keep_going(stream([(0x01, HEADER.pack()), *units]))
    assert len({(type(unit), unit.index) for unit in coded}) == len(coded)
    assert all(unit.index < HEADER.tile_count for unit in coded)
    assert reader.losses or units[-1] == (0x0F, b"")


# Whole units lost, moved, repeated

UNITS: list[tuple[int, bytes]] = [
    (int(UnitType.EXIF), MADE.metadata[UnitType.EXIF]),
    (int(UnitType.XMP), MADE.metadata[UnitType.XMP]),
    *((int(UnitType.TILE if isinstance(unit, TileUnit) else UnitType.ALPHA), unit.pack()) for unit in MADE.coded),
]
HEAD = (int(UnitType.PICTURE_HEADER), HEADER.pack())
END = (int(UnitType.END), b"")


def coded_of(units: Sequence[tuple[int, bytes]]) -> list[Coded]:
    kinds: dict[int, type[TileUnit | AlphaUnit]] = {0x02: TileUnit, 0x03: AlphaUnit}
    return [kinds[unit_type].parse(payload) for unit_type, payload in units if unit_type in kinds]


def test_the_units_make_the_stream() -> None:
    assert stream([HEAD, *UNITS, END]) == MADE.data


@given(st.sets(st.sampled_from(range(len(UNITS)))))
def test_lost_units(lost: set[int]) -> None:
    left = [unit for number, unit in enumerate(UNITS) if number not in lost]
    coded, reader = keep_going(stream([HEAD, *left, END]))
    assert coded == coded_of(left)
    assert reader.losses == []  # which tiles are missing is for the caller to say


@given(st.permutations([*UNITS, END]))
def test_reordered_units(units: list[tuple[int, bytes]]) -> None:
    coded, reader = keep_going(stream([HEAD, *units]))
    assert coded == coded_of(units)
    assert reader.metadata == MADE.metadata
    in_order = [unit for unit in units if unit[0] in (0x02, 0x03)] == UNITS[2:] and units[-1] == END
    assert bool(reader.losses) != in_order


@given(st.lists(st.sampled_from(UNITS), max_size=30))
def test_repeated_units(units: list[tuple[int, bytes]]) -> None:
    coded, reader = keep_going(stream([HEAD, *units, END]))
    assert coded == coded_of(list(dict.fromkeys(units)))
    repeated = len(units) - len(set(units))
    assert sum("the second of" in loss for loss in reader.losses) == repeated


@pytest.mark.parametrize(
    ("units", "losses"),
    [
        ([UNITS[4], UNITS[2]], [r"TILE at byte \d+, of tile 0, comes too late"]),
        ([UNITS[2], UNITS[2]], ["TILE at byte 65 is the second of tile 0"]),
        ([UNITS[0], UNITS[0]], ["EXIF at byte 83 is the second of its type"]),
        ([HEAD, UNITS[2]], ["PICTURE_HEADER at byte 53 is the second of its type"]),
        ([(0x02, b"\6\0\0\0\0")], ["TILE at byte 53 is of tile 6, the picture has 6 tiles"]),
        ([(0x02, b"\0\0\0\0\0\0")], ["TILE at byte 53: the range coder's bytes of tile 0 end with a zero byte, .*"]),
        ([(0x03, b"\0\7")], [r"ALPHA at byte 53: alpha filter of tile 0 is 7, must be 0\.\.2"]),
        ([(0x05, b"")], [r"type 0x05 at byte 53 is reserved for layer, not in version 0\.4"]),
        ([(0x44, b"new")], [r"type 0x44 at byte 53 is of a critical type that version 0\.4 does not know"]),
        ([(0x0F, b"x")], ["END at byte 53 has 1 bytes of payload, must be empty", "END at byte 60 stands behind .*"]),
        ([END, UNITS[2]], ["TILE at byte 59 stands behind the END unit", "END at byte 71 stands behind the END unit"]),
        ([(0xEE, b"new")], []),
    ],
)
def test_what_is_told(units: list[tuple[int, bytes]], losses: list[str]) -> None:
    _, reader = keep_going(stream([HEAD, *units, END]))
    assert len(reader.losses) == len(losses)
    for loss, pattern in zip(reader.losses, losses, strict=True):
        assert re.fullmatch(pattern, loss)


def test_alpha_in_a_picture_without() -> None:
    whole = TILES
    alpha = io.BytesIO()
    write_unit(alpha, UnitType.ALPHA, b"\0\0zlib")
    coded, reader = keep_going(whole.data[:-6] + alpha.getvalue() + whole.data[-6:])
    assert coded == whole.coded
    assert reader.losses == [f"ALPHA at byte {len(whole.data) - 6} is in a picture without alpha"]


def test_bytes_behind_the_end() -> None:
    coded, reader = keep_going(MADE.data + b"what is this")
    assert coded == MADE.coded
    assert len(reader.losses) == 1
    assert f"at byte {len(MADE.data)} is damaged" in reader.losses[0]


def test_words_of_damage() -> None:
    data = bytearray(TILES.data)
    part, _ = TILES.units[3]
    data[part.offset + 20] ^= 1
    coded, reader = keep_going(bytes(data))
    assert [unit.index for unit in coded] == [0, 1, 3, 4, 5]
    (loss,) = reader.losses
    assert loss.startswith(f"unit 3 (TILE) at byte {part.offset} is damaged: its checksum is 0x")
    assert loss.endswith(f"; {part.size} bytes are lost")


# Streams inside of streams


def foreign() -> bytes:
    """Another stream, whose units would all be legal in the one that it is put into."""
    picture = made(seed=2)
    picture.header = PictureHeader(
        **{name: getattr(HEADER, name) for name in HEADER.__slots__ if name != "quality"}, quality=99
    )
    return packed(picture)


def with_foreign_exif() -> Whole:
    picture = made()
    picture.metadata[UnitType.EXIF] = foreign()
    return Whole(packed(picture))


def test_a_stream_inside_of_damaged_metadata() -> None:
    """Its tiles are not taken for the picture's."""
    whole = with_foreign_exif()
    part = whole.parts[1]
    assert part.name == "EXIF"
    head = 3  # type and length
    for place in (part.offset, part.offset + head, part.offset + head + 60, part.offset + part.size - 1):
        data = bytearray(whole.data)
        data[place] ^= 0xFF
        coded, reader = keep_going(bytes(data))
        assert coded == whole.coded
        assert len(reader.losses) == 1


def test_a_stream_inside_of_metadata_whose_length_is_damaged() -> None:
    whole = with_foreign_exif()
    part = whole.parts[1]
    for place, change in ((1, 0x01), (1, 0x40), (2, 0x01), (2, 0x08), (2, 0x70)):
        data = bytearray(whole.data)
        data[part.offset + place] ^= change
        coded, reader = keep_going(bytes(data))
        assert coded == whole.coded
        assert any("that of another picture" in loss for loss in reader.losses)


def test_two_streams_in_one_file() -> None:
    for first, second in ((MADE.data, foreign()), (MADE.data, MADE.data)):
        coded, reader = keep_going(first + second)
        assert coded == MADE.coded
        assert reader.losses
    lost = MADE.parts[3]
    cut = MADE.data[: lost.offset] + MADE.data[lost.offset + lost.size :]
    coded, _ = keep_going(cut + foreign())
    assert coded == [unit for unit in MADE.coded if unit is not MADE.units[3][1]]


# Limits and work


def test_limits() -> None:
    size = len(MADE.data)
    assert keep_going(MADE.data, Limits(max_stream_bytes=size))[0] == MADE.coded
    with pytest.raises(LimitError, match="max_stream_bytes"):
        keep_going(MADE.data, Limits(max_stream_bytes=size - 1))
    with pytest.raises(LimitError, match="max_pixels"):
        keep_going(MADE.data, Limits(max_pixels=149 * 120))
    coded, reader = keep_going(MADE.data, Limits(max_unit_bytes=150))
    assert coded == [unit for unit in MADE.coded if len(unit.pack()) <= 150]
    assert len(reader.losses) == 1
    assert "the limit max_unit_bytes is 150" in reader.losses[0]


def test_more_units_than_the_limit() -> None:
    data = stream([HEAD, *[(0xEE, b"")] * 30, END])
    assert keep_going(data, Limits(max_units=32))[1].losses == []
    for tolerant in (True, False):
        with pytest.raises(LimitError, match="at least 32 units, the limit max_units is 31"):
            list(PictureReader(io.BytesIO(data), Limits(max_units=31), tolerant))


def test_losses_do_not_grow_without_end() -> None:
    _, reader = keep_going(stream([HEAD, *[UNITS[2]] * (MAX_LOSSES + 31), END]))
    assert len(reader.losses) == MAX_LOSSES + 1
    assert reader.losses[-1] == "and 30 more"


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (5, 400_000), (8191, 399_999), (8192, 40_960), (3, 16_388)])
def test_checksum_of_any_stretch(start: int, end: int) -> None:
    data = random.Random(3).randbytes(400_000)
    assert recovery._Checksums(data).between(start, end) == zlib.crc32(data[start:end])


@given(st.integers(0, 70_000), st.integers(0, 70_000))
def test_checksums_of_stretches(start: int, size: int) -> None:
    assert CHECKSUMS.between(start, start + size) == zlib.crc32(LONG[start : start + size])


LONG = random.Random(4).randbytes(140_000)
CHECKSUMS = recovery._Checksums(LONG)


class Count:
    """zlib, with a count of the bytes that went through its CRC."""

    def __init__(self) -> None:
        self.crc_bytes = 0

    def crc32(self, data: bytes | memoryview, start: int = 0) -> int:
        self.crc_bytes += len(data)
        return zlib.crc32(data, start)


def claims(pattern: bytes, size: int) -> bytes:
    """The stream with a damaged tile of `size` bytes full of beginnings of units, in place of its first."""
    payload = bytearray(b"\0" + bytes(4) + pattern * (size // len(pattern)))
    file = io.BytesIO()
    write_unit(file, UnitType.TILE, bytes(payload))
    unit = bytearray(file.getvalue())
    unit[-1] ^= 1
    start = MADE.units[3][0].offset
    return MADE.data[:start] + bytes(unit) + MADE.data[start:]


@pytest.mark.parametrize(
    "claim",
    [
        b"\x02\xff\xff\x03\0",  # a tile of 64 KiB
        b"\x91\x80\x80\x10",  # metadata of 256 KiB
        b"\x02\x80\x80\x80\x01\1",  # a tile that goes beyond the end
        b"\x0f\0",
    ],
)
def test_work_does_not_grow_with_what_units_claim(monkeypatch: pytest.MonkeyPatch, claim: bytes) -> None:
    """Looking at the beginning of a unit costs 16 KiB of checksums at most, not the length that it claims."""
    claims_made = 8192
    data = claims(claim.ljust(64, b"\0"), 64 * claims_made)
    count = Count()
    monkeypatch.setattr(recovery, "zlib", count)
    coded, reader = keep_going(data)
    assert coded == MADE.coded
    assert len(reader.losses) == 1
    assert count.crc_bytes <= 3 * len(data) + (16 << 10) * claims_made


def test_a_unit_of_nothing_but_possible_beginnings() -> None:
    data = claims(b"\x02", 1 << 15)
    coded, reader = keep_going(data)
    assert coded == MADE.coded
    assert len(reader.losses) == 1


def test_search_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of nothing but possible beginnings: looking at them stops; units in a row are still read."""
    monkeypatch.setattr(recovery, "MAX_WORK", 5 << 20)
    data = claims(b"\x02", 1 << 14)
    coded, reader = keep_going(data)
    assert coded == MADE.coded  # the damaged unit's length leads to the next one
    assert "the search for units ends at byte" in reader.losses[0]
    behind = bytearray(data)
    behind[MADE.units[3][0].offset + 2] ^= 0x7F  # now it does not
    coded, reader = keep_going(bytes(behind))
    assert coded == [unit for part, unit in MADE.units[:3] if unit is not None]
    assert "the search for units ends at byte" in reader.losses[0]
    assert reader.losses[-1].endswith("without its END unit")


@pytest.mark.parametrize(
    "pattern",
    [
        b"\x02\2",  # tiles of 2 bytes
        b"\x03\3\x7f\0",  # alpha of a tile that there is not
        b"\x02\xff\xff\x03\0\0\0\0",  # tiles of 64 KiB
        b"\x91\xff\x7f",  # metadata of 16 KiB
        b"\x91\x91\x91\x7f",  # metadata of 2 MiB at every byte
        b"\x0f\0",
        b"\x91\0" + zlib.crc32(b"\x91\0").to_bytes(4, "little") + b"\x91\1",  # intact units, none of them in a row
    ],
)
def test_work_is_bounded_however_many_beginnings_there_are(monkeypatch: pytest.MonkeyPatch, pattern: bytes) -> None:
    """Checksums and looks of a hostile megabyte stay below MAX_WORK, but for two passes over the data."""
    monkeypatch.setattr(recovery, "MAX_WORK", 1 << 25)
    looks = 0
    plausible = IntactUnits._is_plausible

    def counted(self: IntactUnits, at: int) -> bool:
        nonlocal looks
        looks += 1
        return plausible(self, at)

    monkeypatch.setattr(IntactUnits, "_is_plausible", counted)
    count = Count()
    monkeypatch.setattr(recovery, "zlib", count)
    data = claims(pattern, 1 << 20)
    coded, _ = keep_going(data)
    assert coded == MADE.coded
    assert looks <= 1 << 15
    assert count.crc_bytes <= (1 << 25) + 3 * len(data)


@pytest.mark.slow
def test_a_beginning_is_found_among_random_bytes() -> None:
    """The largest metadata there may be is searched to its end."""
    payload = random.Random(2).randbytes(16 << 20)
    data = bytearray(claims(payload, len(payload)))
    data[MADE.units[3][0].offset + 4] ^= 0x7F  # the length leads nowhere
    coded, reader = keep_going(bytes(data))
    assert coded == MADE.coded
    assert not any("the search for units ends" in loss for loss in reader.losses)


def test_rows_of_units_inside_of_a_damaged_one_are_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload of many intact units that lead nowhere does not cost the square of their number."""
    inside = io.BytesIO()
    for _ in range(2000):
        write_unit(inside, UnitType.XMP, b"")
    checked = 0
    trouble = IntactUnits._trouble

    def counted(self: IntactUnits, at: int) -> str | None:
        nonlocal checked
        checked += 1
        return trouble(self, at)

    monkeypatch.setattr(IntactUnits, "_trouble", counted)
    data = claims(inside.getvalue(), len(inside.getvalue()))
    coded, reader = keep_going(data)
    assert coded == MADE.coded
    assert len(reader.losses) == 1
    assert checked < 3 * 2000 + 100
