"""Sequences: round trips through any reads, growing files, cuts, every changed byte, rules, limits, refusals."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sequences import HDR, HEADER, METADATA, TRACKS, Item, make_items, packed, shortened, stream, units_of

from nacre.bitstream import (
    SNIFF_BYTES,
    ChecksumError,
    Colour,
    FormatError,
    FrameUnit,
    HdrUnit,
    InputError,
    LimitError,
    Limits,
    NacreError,
    PacketUnit,
    PictureReader,
    SequenceHeader,
    SequenceReader,
    SequenceWriter,
    TrackUnit,
    TruncatedError,
    UnitType,
    UnsupportedVersionError,
    is_sequence,
)
from nacre.bitstream.fields import MAX_TIME, FieldReader, pack_time
from nacre.bitstream.frames import MAX_START, Due

ITEMS = make_items()
DATA = packed(ITEMS)
FRAMES = [item for item in ITEMS if isinstance(item, FrameUnit)]
SHORT_ITEMS = shortened(make_items(2, (2, 2)), 20)
SHORT = packed(SHORT_ITEMS)
HEAD = (int(UnitType.SEQUENCE_HEADER), HEADER.pack())
INTRA = (0x11, FRAMES[0].pack(HEADER, Due(0, 0)))
PREDICTED = (0x12, FRAMES[1].pack(HEADER, FRAMES[0].next))
TRACK = (0x96, TRACKS[0].pack())
PACKET = (0x95, b"\0\1\0\0\1data")
END = (0x0F, b"")


class Pipe:
    """A stream that only reads, at most `step` bytes at a time, and counts them."""

    def __init__(self, data: bytes, step: int = 1) -> None:
        self._data, self._step = data, step
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        chunk = self._data[self.taken : self.taken + min(size, self._step)]
        self.taken += len(chunk)
        return chunk


class Growing(Pipe):
    """A file of which only the first `size` bytes are there yet; None instead of none when `non_blocking`."""

    def __init__(self, data: bytes, size: int, non_blocking: bool = False) -> None:
        super().__init__(data[:size], 1 << 20)
        self._whole, self._nothing = data, None if non_blocking else b""

    def grow(self, size: int) -> None:
        self._data = self._whole[:size]

    def read(self, size: int, /) -> Any:
        return super().read(size) or self._nothing


class Appender:
    """A file that only writes, seven bytes at a time."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> int:
        self.data += data[:7]
        return len(data[:7])


def read(data: bytes, limits: Limits | None = None) -> list[Item]:
    found = list(SequenceReader(io.BytesIO(data), limits))
    assert all(isinstance(item, (FrameUnit, PacketUnit)) for item in found)
    return found  # type: ignore[return-value]


def drain(reader: SequenceReader, found: list[Any]) -> None:
    """Append all that the reader gives, also where it ends with an error."""
    for item in reader:
        found.append(item)  # noqa: PERF402


# Round trips

times = st.integers(-MAX_TIME, MAX_TIME)
ratios = st.builds(Fraction, st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
unknown = st.just(Fraction(0))
texts = st.text("aZ09 -_()\u00e9\u4e2d\U0001f3ac", max_size=16)
codes = st.binary(max_size=60).map(lambda data: data.rstrip(b"\0"))
headers = st.builds(
    SequenceHeader,
    width=st.integers(1, 65535),
    height=st.integers(1, 65535),
    time_base=ratios,
    frame_duration=st.integers(1, 2**32 - 1),
    frame_rate=ratios | unknown,
    profile=st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=16),
    digest=st.binary(min_size=8, max_size=8),
    skip_threshold=st.integers(0, 63),
    colour=st.builds(Colour, *[st.integers(0, 255)] * 3, st.integers(0, 1)),
    chroma_location=st.integers(0, 6),
    sample_aspect_ratio=ratios | unknown,
    rotation=st.integers(0, 3),
    first_frame=st.integers(0, 2**32 - 100),
)
tracks = st.builds(
    TrackUnit,
    number=st.just(0),
    kind=st.integers(1, 2),
    codec=st.text("AZaz09_.-", min_size=1, max_size=64),
    time_base=ratios,
    extradata=st.binary(max_size=40),
    language=texts,
    title=texts,
    disposition=st.integers(0, 2**32 - 1),
    sample_rate=st.integers(0, 2**32 - 1),
    channels=st.integers(0, 65535),
    layout=texts,
    frame_size=st.integers(0, 2**32 - 1),
    bit_rate=st.integers(0, 2**32 - 1),
)
packets = st.builds(
    PacketUnit,
    track=st.integers(0, 255),
    pts=st.none() | st.integers(-(2**60), 2**60),
    dts=st.none() | st.integers(-(2**60), 2**60),
    duration=st.integers(0, MAX_TIME),
    data=st.binary(max_size=40),
    key=st.booleans(),
    discard=st.booleans(),
    trim=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)


@given(headers)
def test_header_round_trip(header: SequenceHeader) -> None:
    payload = header.pack()
    assert SequenceHeader.parse(payload, 4) == header
    assert SequenceHeader.parse(payload + b"later", 5) == header
    with pytest.raises(FormatError, match="5 bytes behind its last field"):
        SequenceHeader.parse(payload + b"later", 4)


@given(tracks)
def test_track_round_trip(track: TrackUnit) -> None:
    assert TrackUnit.parse(track.pack(), 4) == track
    assert TrackUnit.parse(track.pack() + b"later", 5) == track
    with pytest.raises(FormatError, match="5 bytes behind its last field"):
        TrackUnit.parse(track.pack() + b"later", 4)


@given(packets)
def test_packet_round_trip(packet: PacketUnit) -> None:
    assert PacketUnit.parse(packet.pack()) == packet


@pytest.mark.parametrize("unit", [HdrUnit(), HDR, replace(HDR, mastering=None), replace(HDR, light=None)])
def test_hdr_round_trip(unit: HdrUnit) -> None:
    assert HdrUnit.parse(unit.pack(), 4) == unit
    assert HdrUnit.parse(unit.pack() + b"later", 5) == unit
    with pytest.raises(FormatError, match="behind its last field"):
        HdrUnit.parse(unit.pack() + b"later", 4)


@given(times)
def test_time_round_trip(value: int) -> None:
    source = FieldReader(pack_time(value) + b"x", "the test")
    assert source.time("time") == value
    assert source.left == 1


def test_times_have_bounds() -> None:
    for value in (MAX_TIME + 1, -MAX_TIME - 1):
        with pytest.raises(InputError, match=f"is {value}, must be -{MAX_TIME}"):
            pack_time(value)
    with pytest.raises(FormatError, match=f"the test: time is {MAX_TIME + 1}, must be -{MAX_TIME}"):
        FieldReader(b"\x80" * 8 + b"\x80\x01", "the test").time("time")


@settings(max_examples=60)
@given(headers, st.data())
def test_frames_round_trip(header: SequenceHeader, data: st.DataObject) -> None:
    items: list[Item] = []
    timestamp = data.draw(st.integers(-(2**61), 2**61))
    for place in range(data.draw(st.integers(1, 6))):
        duration = data.draw(st.integers(1, 2**32 - 1))
        key = place == 0 or data.draw(st.booleans())
        items.append(
            FrameUnit(
                key=key,
                number=header.first_frame + place,
                timestamp=timestamp,
                duration=duration,
                quality=data.draw(st.integers(0, 25600)),
                live_channels=data.draw(st.integers(int(key), 1024)),
                check=data.draw(st.integers(0, 2**32 - 1)),
                payload=data.draw(codes),
            )
        )
        timestamp += data.draw(st.integers(1, 2**40))
    stored = packed(items, header, data.draw(st.booleans()), full=False)
    limits = Limits(max_pixels=2**32)
    assert list(SequenceReader(Pipe(stored), limits)) == items
    tolerant = SequenceReader(Pipe(stored, 5), limits, keep_going=True)
    assert (list(tolerant), tolerant.losses, tolerant.lost_frames) == (items, [], 0)
    assert tolerant.header == header


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 100), st.booleans())
def test_any_byte_boundaries(seed: int, gops: list[int], step: int, index: bool) -> None:
    items = make_items(seed, gops)
    stored = packed(items, index=index)
    for keep_going in (False, True):
        reader = SequenceReader(Pipe(stored, step), keep_going=keep_going)
        assert list(reader) == items
        assert reader.ended
        assert [reader.tracks[number] for number in sorted(reader.tracks)] == list(TRACKS)
        assert (reader.hdr, reader.metadata, reader.losses) == (HDR, METADATA, [])
        assert (reader.index is not None) == index
        assert list(reader) == []


def test_writer_takes_files_that_write_short() -> None:
    file = Appender()
    with SequenceWriter(file, HEADER, METADATA, HDR) as writer:
        for track in TRACKS:
            writer.track(track)
        for item in ITEMS:
            writer.frame(item) if isinstance(item, FrameUnit) else writer.packet(item)
    assert file.data == DATA
    with pytest.raises(InputError, match="closed"):
        writer.close()


def test_a_writer_left_with_an_error_writes_no_end() -> None:
    file = io.BytesIO()
    writer = SequenceWriter(file, HEADER, index=False)
    writer.frame(FRAMES[0])
    with pytest.raises(InputError, match="due is 1"), writer:
        writer.frame(FRAMES[0])
    reader = SequenceReader(io.BytesIO(file.getvalue()))
    assert next(reader) == FRAMES[0]
    with pytest.raises(TruncatedError):
        next(reader)


def test_reader_takes_no_byte_before_it_is_due() -> None:
    pipe = Pipe(DATA)
    reader = SequenceReader(pipe)
    units = units_of(DATA)
    assert pipe.taken == units[1][1]
    coded = [unit for unit in units if unit[0] in (0x11, 0x12, 0x95)]
    for item, (unit_type, offset, size) in zip(ITEMS, coded, strict=True):
        assert next(reader) == item
        assert (pipe.taken, reader.part) == (offset + size, (UnitType(unit_type).name, offset, size))
        assert len(reader.tracks) == 2


def test_memory_does_not_grow_with_the_sequence() -> None:
    frame = FRAMES[1]
    file = io.BytesIO()
    with SequenceWriter(file, HEADER, index=False) as writer:
        writer.frame(replace(FRAMES[0], payload=b"x" * 4000))
        for number in range(1, 600):
            timestamp = FRAMES[0].timestamp + 4000 * number
            writer.frame(replace(frame, number=number, timestamp=timestamp, payload=b"x" * 4000))
    stored = file.getvalue()
    for keep_going in (False, True):
        pipe = Pipe(stored, 1 << 20)
        tracemalloc.start()
        try:
            assert sum(1 for _ in SequenceReader(pipe, keep_going=keep_going)) == 600
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 100_000


# Growing files and cuts


@pytest.mark.parametrize("non_blocking", [False, True])
@pytest.mark.parametrize("keep_going", [False, True])
def test_a_growing_file(non_blocking: bool, keep_going: bool) -> None:
    """What is whole comes at once; None says that there is no more yet, and `ended` that there never will be."""
    start = units_of(SHORT)[1][1]
    file = Growing(SHORT, start, non_blocking)
    reader = SequenceReader(file, keep_going=keep_going)
    found = []
    ends = {offset + size for kind, offset, size in units_of(SHORT) if kind in (0x11, 0x12, 0x95)}
    for size in range(start, len(SHORT) + 1):
        assert not reader.ended
        file.grow(size)
        item = reader.poll()
        assert (item is not None) == (size in ends)
        if item is not None:
            found.append(item)
            assert reader.poll() is None
    assert reader.ended
    assert (found, reader.losses) == (SHORT_ITEMS, [])


def test_reading_goes_on_after_the_end_of_what_there_was() -> None:
    file = Growing(SHORT, units_of(SHORT)[-3][1] + 5)
    reader = SequenceReader(file)
    found: list[Any] = []
    with pytest.raises(TruncatedError, match="is cut off: the stream ends at byte"):
        drain(reader, found)
    file.grow(len(SHORT))
    found += list(reader)
    assert found == SHORT_ITEMS


def test_every_cut() -> None:
    """What is whole is given, then the cut is told; when going on, it is told among the losses."""
    units = units_of(SHORT)
    for length in range(len(SHORT)):
        if length < units[1][1]:
            for keep_going in (False, True):
                with pytest.raises(TruncatedError):
                    SequenceReader(io.BytesIO(SHORT[:length]), keep_going=keep_going)
            continue
        whole = sum(kind in (0x11, 0x12, 0x95) and offset + size <= length for kind, offset, size in units)
        found: list[Any] = []
        with pytest.raises(TruncatedError, match=f"ends at byte {length}"):
            drain(SequenceReader(io.BytesIO(SHORT[:length])), found)
        assert found == SHORT_ITEMS[:whole]
        tolerant = SequenceReader(io.BytesIO(SHORT[:length]), keep_going=True)
        assert list(tolerant) == SHORT_ITEMS[:whole]
        assert tolerant.losses[-1] == f"the stream ends at byte {length} without its END unit"
        assert tolerant.lost_frames == 0


# Every changed byte


@pytest.mark.parametrize(
    "data", [SHORT, packed(shortened(make_items(3, (2, 2), packets=False), 20), index=False, full=False)]
)
def test_every_changed_byte_is_noticed(data: bytes) -> None:
    items = list(SequenceReader(io.BytesIO(data)))
    for place in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[place] ^= change
            found: list[Any] = []
            if place == 9 and damaged[9] > 4:  # later minor versions, which may be read
                assert list(SequenceReader(io.BytesIO(damaged))) == items
                continue
            with pytest.raises((FormatError, LimitError)):
                drain(SequenceReader(io.BytesIO(damaged)), found)
            assert found == items[: len(found)]


def test_nothing_comes_after_an_error() -> None:
    damaged = bytearray(DATA)
    damaged[units_of(DATA)[5][1] + 9] ^= 1
    reader = SequenceReader(io.BytesIO(damaged))
    with pytest.raises(ChecksumError, match=r"at byte \d+ is damaged: its checksum is"):
        list(reader)
    assert reader.ended
    assert reader.poll() is None
    assert list(reader) == []


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for start in (b"", DATA[:10], DATA[: units_of(DATA)[1][1]]):
        with pytest.raises(NacreError):
            list(SequenceReader(io.BytesIO(start + data)))


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=5))
def test_any_units_with_right_checksums(units: list[tuple[int, bytes]]) -> None:
    """They are read, or refused in words; going on, what is read can be written again."""
    data = stream([HEAD, TRACK, INTRA, *units, END])
    try:
        items = list(SequenceReader(io.BytesIO(data)))
    except (FormatError, LimitError):
        tolerant = SequenceReader(io.BytesIO(data), keep_going=True)
        items = [item for item in tolerant if isinstance(item, (FrameUnit, PacketUnit))]
        assert tolerant.losses
    reader = SequenceReader(io.BytesIO(data), keep_going=True)
    list(reader)
    file = io.BytesIO()
    writer = SequenceWriter(file, HEADER)
    for number in range(len(reader.tracks)):
        writer.track(reader.tracks[number]) if number in reader.tracks else None
    for item in items:
        if isinstance(item, FrameUnit):
            writer.frame(item)
        elif isinstance(item, PacketUnit):
            writer.packet(item)
    writer.close()
    assert list(SequenceReader(io.BytesIO(file.getvalue()))) == items


# Rules

SECOND_INTRA = (0x11, replace(FRAMES[0], number=1, timestamp=0).pack(HEADER, Due(0, 0)))
HDR_UNIT = (0x97, HDR.pack())
XMP = (0x92, b"<x/>")


def index_of(items: Sequence[Item]) -> bytes:
    stored = packed(items, full=False)
    kind, offset, size = units_of(stored)[-2]
    assert kind == 0x13
    return stored[offset + 2 : offset + size - 4]


INDEX = (0x13, index_of(FRAMES[:2]))


@pytest.mark.parametrize(
    "units",
    [
        [HEAD, INTRA, END],
        [HEAD, INTRA, PREDICTED, INDEX, END],
        [HEAD, XMP, TRACK, HDR_UNIT, (0x91, b""), (0xA0, b"new"), PACKET, INTRA, PACKET, (0xFF, b""), PREDICTED, END],
    ],
)
def test_legal_orders(units: list[tuple[int, bytes]]) -> None:
    frames = [item for item in read(stream(units)) if isinstance(item, FrameUnit)]
    assert frames == FRAMES[: len(frames)]
    assert len(frames) == sum(unit in (INTRA, PREDICTED) for unit in units)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([END], "first unit is END, must be SEQUENCE_HEADER"),
        ([(0x01, b""), END], "first unit is PICTURE_HEADER, must be SEQUENCE_HEADER"),
        ([HEAD, END], r"END at byte \d+: the sequence ends without a frame"),
        ([HEAD, HEAD, INTRA, END], "SEQUENCE_HEADER at byte .* second of its type"),
        ([HEAD, PREDICTED], "the frame has number 1, due is 0"),
        ([HEAD, (0x12, b"\0\0" + PREDICTED[1][2:])], "the first frame is a predicted frame, must be an intra frame"),
        ([HEAD, INTRA, INTRA], "the frame has number 0, due is 1"),
        ([HEAD, INTRA, PREDICTED, PREDICTED], "the frame has number 65537, due is 2"),
        ([HEAD, SECOND_INTRA], "the frame has number 1, due is 0"),
        ([HEAD, INTRA, (0x12, b"\1\0" + pack_time(-FRAMES[0].duration) + PREDICTED[1][3:])], "must be above that of"),
        ([HEAD, PACKET], "the packet is of track 0, which the sequence does not have"),
        ([HEAD, TRACK, TRACK], "the track has number 0, due is 1"),
        ([HEAD, INTRA, TRACK], "TRACK at byte .* stands behind a frame or a packet"),
        ([HEAD, TRACK, PACKET, HDR_UNIT], "HDR at byte .* stands behind a frame or a packet"),
        ([HEAD, INTRA, XMP], "XMP at byte .* stands behind a frame or a packet"),
        ([HEAD, XMP, XMP], "XMP at byte .* second of its type"),
        ([HEAD, HDR_UNIT, HDR_UNIT], "HDR at byte .* second of its type"),
        ([HEAD, INTRA, INDEX], "seek index is of frames before number 2 and time .*, the frames have reached 1 and"),
        ([HEAD, INTRA, PREDICTED, INDEX, INDEX], "stands behind the seek index, due is END"),
        ([HEAD, INTRA, PREDICTED, INDEX, (0xFF, b"")], "stands behind the seek index, due is END"),
        ([HEAD, (0x02, b"")], "TILE at byte .* is of a type that a sequence does not have"),
        ([HEAD, (0x01, b"")], "PICTURE_HEADER at byte .* is of a type that a sequence does not have"),
        ([HEAD, (0x14, b"")], "0x14 at byte .* critical type that version 0.4 does not know"),
        ([HEAD, (0x05, b"")], "reserved for layer, not in version 0.4"),
        ([HEAD, INTRA, (0x0F, b"x")], "must be empty"),
        ([HEAD, INTRA, END, END], "goes on at byte .*, behind its END"),
        ([HEAD, (0x11, INTRA[1] + b"\0")], "end with a zero byte"),
        ([HEAD, (0x11, INTRA[1][:6])], "the frame ends inside"),
        ([HEAD, (0x11, b"\x80\0")], "frame number: variable-length integer 8000 is not in its shortest form"),
        ([HEAD, TRACK, (0x95, b"\0\x20\0\0\1")], r"flags is 32, must be 0\.\.31"),
        ([HEAD, TRACK, (0x95, b"\0\x11\0\0\1\0\0")], "both numbers of trim are 0"),
        ([HEAD, TRACK, (0x95, b"")], "the packet: track: variable-length integer  is cut off"),
        ([HEAD, (0x97, b"\4")], r"flags is 4, must be 0\.\.3"),
        ([(0x10, HEAD[1] + b"\0"), INTRA, END], "1 bytes behind its last field"),
        ([(0x10, HEAD[1][:20])], "the sequence header ends inside sample_aspect_ratio"),
    ],
)
def test_rules_of_order_and_form(units: list[tuple[int, bytes]], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(stream(units))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, b"\0\0\0\0", r"width is 0, must be 1\.\.65535"),
        (8, b"\x0a", "bit_depth is 10, must be 8"),
        (9, b"\1", "chroma is 1, must be 2"),
        (13, b"\2", r"colour full_range is 2, must be 0\.\.1"),
        (14, b"\7", r"chroma_location is 7, must be 0\.\.6"),
        (15, b"\4", r"rotation is 4, must be 0\.\.3"),
        (16, b"\4\0\0\0\2\0\0\0", "sample_aspect_ratio is 4/2, must be in lowest terms"),
        (20, b"\0\0\0\0", "sample_aspect_ratio is 40/0, must have"),
        (24, b"\0\0\0\0", "time_base is 0/15360, must have a numerator in 1"),
        (28, b"\0\0\0\x80", "time_base is 1/2147483648, must have"),
        (40, b"\0\0\0\0", r"frame_duration is 0, must be 1\.\.4294967295"),
        (49, b"T", "profile is 'Test', must be 1 to 16 characters"),
        (61, b"\x40", r"skip_threshold is 64, must be 0\.\.63"),
    ],
)
def test_values_of_the_header(place: int, value: bytes, message: str) -> None:
    payload = bytearray(HEAD[1])
    payload[place : place + len(value)] = value
    with pytest.raises(FormatError, match=f"the sequence header: {message}"):
        SequenceHeader.parse(bytes(payload), 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 65536}, r"width is 65536, must be 1\.\.65535"),
        ({"height": 0}, "height is 0"),
        ({"bit_depth": 10}, "bit_depth is 10, must be 8"),
        ({"time_base": Fraction(0)}, "time_base is 0, must have a numerator in 1"),
        ({"time_base": 0.5}, "time_base is 0.5, must be a fraction"),
        ({"frame_rate": Fraction(-1)}, "frame_rate is -1"),
        ({"sample_aspect_ratio": Fraction(1, 2**31)}, "sample_aspect_ratio is 1/2147483648"),
        ({"profile": "Test"}, "profile is 'Test'"),
        ({"digest": b""}, "digest has 0 bytes, must be 8"),
        ({"first_frame": 2**32}, "first_frame is 4294967296"),
    ],
)
def test_headers_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(HEADER, **change)


@pytest.mark.parametrize(
    ("unit", "change", "message"),
    [
        (FRAMES[0], {"number": -1}, "frame number is -1"),
        (FRAMES[0], {"number": 1.5}, "frame number is 1.5, must be an integer"),
        (FRAMES[0], {"timestamp": MAX_TIME + 1}, "timestamp is"),
        (FRAMES[0], {"timestamp": MAX_TIME}, r"timestamp \+ duration is"),
        (FRAMES[0], {"duration": 0}, r"duration is 0, must be 1\.\.4294967295"),
        (FRAMES[0], {"quality": 25601}, "quality is 25601"),
        (FRAMES[0], {"live_channels": 0}, r"live_channels is 0, must be 1\.\.1024 in an intra frame"),
        (FRAMES[1], {"live_channels": 1025}, "live_channels is 1025"),
        (FRAMES[0], {"check": 2**32}, "check is 4294967296"),
        (FRAMES[0], {"payload": b"a\0"}, "end with a zero byte"),
        (TRACKS[0], {"number": 256}, "number is 256"),
        (TRACKS[0], {"kind": 0}, "kind is 0"),
        (TRACKS[0], {"codec": ""}, "codec is '', must be 1 to 64 characters"),
        (TRACKS[0], {"codec": "caf\u00e9"}, "codec is 'caf\u00e9'"),
        (TRACKS[0], {"language": "a" * 65}, "language has 65 bytes, must have at most 64"),
        (TRACKS[0], {"title": "a\nb"}, "must be without control characters"),
        (TRACKS[0], {"title": "\ud800"}, "must be text that UTF-8 can hold"),
        (TRACKS[0], {"time_base": Fraction(-1, 2)}, "time_base is -1/2"),
        (TRACKS[0], {"sample_rate": -1}, "sample_rate is -1"),
        (ITEMS[1], {"track": 256}, "track is 256"),
        (ITEMS[1], {"pts": MAX_TIME + 1}, "pts is"),
        (ITEMS[1], {"duration": -1}, "duration is -1"),
        (ITEMS[1], {"trim": (0, -1)}, "samples to leave out last is -1"),
        (HDR.light, {"max_content": 65536}, "max_content is 65536"),
        (HDR.mastering, {"red_x": -1}, "red_x is -1"),
    ],
)
def test_units_that_are_refused(unit: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(unit, **change)


def test_writer_refuses_what_is_not_due() -> None:
    """What is refused leaves no trace."""
    file = io.BytesIO()
    writer = SequenceWriter(file, HEADER)
    frame = FRAMES[0]
    far = PacketUnit(track=0, pts=MAX_TIME, dts=-MAX_TIME, duration=0, data=b"")

    def refused(message: str, call: Any, *arguments: Any) -> None:
        before = file.getvalue()
        with pytest.raises(InputError, match=message):
            call(*arguments)
        assert file.getvalue() == before

    refused("has no frame", writer.close)
    refused("number 1, due is 0", writer.track, TRACKS[1])
    refused("is of track 0, the sequence has 0 tracks", writer.packet, ITEMS[1])
    refused("the frame has number 1, due is 0", writer.frame, FRAMES[1])
    refused("must be an intra frame", writer.frame, replace(frame, key=False))
    writer.track(TRACKS[0])
    refused("difference of times is", writer.packet, far)
    longest = HEADER.max_frame_bytes - len(frame.pack(HEADER, Due(0, 0))) + len(frame.payload)
    refused("must have at most", writer.frame, replace(frame, payload=b"x" * (longest + 1)))
    writer.frame(replace(frame, payload=b"x" * longest))
    refused("comes behind a frame", writer.track, TRACKS[1])
    refused("the frame has number 2, due is 1", writer.frame, FRAMES[2])
    refused("must be above that of the frame before", writer.frame, replace(frame, number=1))
    writer.close()
    for call, argument in ((writer.frame, FRAMES[1]), (writer.packet, ITEMS[1]), (writer.track, TRACKS[1])):
        refused("the sequence is closed", call, argument)
    refused("the sequence is closed", writer.close)
    assert [item.payload for item in read(file.getvalue()) if isinstance(item, FrameUnit)] == [b"x" * longest]


def test_writer_refuses_foreign_metadata_before_it_writes() -> None:
    file = io.BytesIO()
    with pytest.raises(InputError, match="metadata type is 0xf, must be one of 0x90, 0x91, 0x92"):
        SequenceWriter(file, HEADER, {0x0F: b""})
    assert file.getvalue() == b""


# Versions, kinds, limits


def test_versions() -> None:
    units = [HEAD, INTRA, END]
    for minor in (4, 5, 255):
        assert read(stream(units, minor)) == FRAMES[:1]
    assert read(stream([(0x10, HEAD[1] + b"later"), INTRA, END], 5)) == FRAMES[:1]
    for minor in (1, 2, 3):
        with pytest.raises(FormatError, match=rf"of version 0\.{minor}, a sequence must be of 0\.4 or later"):
            read(stream(units, minor))
    with pytest.raises(UnsupportedVersionError):
        read(DATA[:8] + b"\1" + DATA[9:])


def test_sequences_and_pictures_are_told_apart() -> None:
    picture = stream([(0x01, b"")], 1)
    assert is_sequence(DATA[:SNIFF_BYTES])
    assert not is_sequence(DATA[: SNIFF_BYTES - 1])
    assert not is_sequence(picture[:SNIFF_BYTES])
    with pytest.raises(FormatError, match="first unit is SEQUENCE_HEADER, must be PICTURE_HEADER"):
        PictureReader(io.BytesIO(DATA))


def test_limits() -> None:
    size = max(len(frame.payload) for frame in FRAMES) + MAX_START
    read(DATA, Limits(max_frame_bytes=size, max_packet_bytes=200, max_tracks=2, max_index_entries=4))
    for limits, message in (
        (Limits(max_dimension=36), "width is 37 pixels, the limit max_dimension is 36"),
        (Limits(max_frame_bytes=9), "INTRA_FRAME at byte 226: it announces .* bytes, the limit max_frame_bytes is 9"),
        (Limits(max_packet_bytes=20), "HDR at byte .*: it announces 29 bytes, the limit max_packet_bytes is 20"),
        (Limits(max_tracks=1), "TRACK at byte .*: the sequence has at least 2 tracks, the limit max_tracks is 1"),
        (Limits(max_index_entries=3), "SEEK_INDEX .* has 4 entries, the limit max_index_entries is 3"),
    ):
        with pytest.raises(LimitError, match=message):
            read(DATA, limits)


@pytest.mark.parametrize("unit_type", [0x11, 0x12, 0x13, 0x95, 0x96, 0xFF])
@pytest.mark.parametrize("length", ["ffffffff0f", "ffffff07"])
def test_lying_length_allocates_nothing_large(unit_type: int, length: str) -> None:
    start = DATA[: units_of(DATA)[1][1]]
    data = start + bytes((unit_type,)) + bytes.fromhex(length) + b"x" * 100
    tracemalloc.start()
    try:
        with pytest.raises(NacreError):
            list(SequenceReader(io.BytesIO(data)))
        assert list(SequenceReader(io.BytesIO(data), keep_going=True)) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_a_frame_longer_than_the_picture_allows() -> None:
    announced = HEADER.max_frame_bytes + 1
    assert announced == 4 * 64 * 64 + 4097
    with pytest.raises(FormatError, match=f"announces {announced} bytes, a frame must have at most {announced - 1}"):
        read(stream([HEAD, (0x11, bytes(announced))]))


def test_a_lying_index_allocates_nothing_large() -> None:
    for body in (b"\1\2\xff\xff\7", b"\1\2\xff\xff\xff\xff\x0f"):
        data = stream([HEAD, INTRA, (0x13, body + b"\0" * 40), END])
        tracemalloc.start()
        try:
            with pytest.raises((FormatError, LimitError), match="entries"):
                read(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1 << 20
