"""Damaged sequences read with keep_going: at most the GOP is lost, nothing foreign comes out, all is told."""

from __future__ import annotations

import io
import random
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sequences import HDR, HEADER, METADATA, TRACKS, Item, make_items, packed, shortened, stream, units_of

from nacre.bitstream import (
    FormatError,
    FrameUnit,
    Limits,
    LostFrames,
    NacreError,
    PacketUnit,
    SequenceReader,
    SequenceWriter,
    UnitType,
    feed,
    write_unit,
)
from nacre.bitstream.frames import Due
from nacre.bitstream.picture import MAX_LOSSES

GOPS = (2, 3, 1, 2)
ITEMS = shortened(make_items(5, GOPS), 30)
DATA = packed(ITEMS)
UNITS = units_of(DATA)
CODED = [place for place, (kind, _, _) in enumerate(UNITS) if kind in (0x11, 0x12, 0x95)]
FRAMES = [item for item in ITEMS if isinstance(item, FrameUnit)]


def keep_going(data: bytes, limits: Limits | None = None) -> tuple[list[Any], SequenceReader]:
    reader = SequenceReader(io.BytesIO(data), limits, keep_going=True)
    return list(reader), reader


def without(items: list[Item], lost: set[int]) -> list[Any]:
    """What is left of the items, of which those at `lost` are gone: LostFrames before the next intra frame, or last."""
    found: list[Any] = []
    missing: list[int] = []
    for place, item in enumerate(items):
        if isinstance(item, PacketUnit):
            if place not in lost:
                found.append(item)
            continue
        if item.key and place not in lost and missing:
            found.append(LostFrames(missing[0], len(missing)))
            missing = []
        if place in lost or missing:
            missing.append(item.number)
        else:
            found.append(item)
    return [*found, LostFrames(missing[0], len(missing))] if missing else found


def test_an_intact_sequence_is_read_as_ever() -> None:
    found, reader = keep_going(DATA)
    assert (found, reader.losses, reader.lost_frames) == (ITEMS, [], 0)


@pytest.mark.parametrize("place", range(1, len(UNITS)))
def test_every_changed_byte(place: int) -> None:
    """Only the unit with the byte is lost, and what needs it: the rest of the GOP, the packets of a track."""
    kind, offset, size = UNITS[place]
    tracks = dict(enumerate(TRACKS))
    hdr, metadata = (None if kind == 0x97 else HDR), ({} if kind == 0x92 else METADATA)
    lost = {CODED.index(place)} if place in CODED else set()
    if kind == 0x96:
        gone = [unit[0] for unit in UNITS[:place]].count(0x96)
        del tracks[gone]
        lost = {n for n, item in enumerate(ITEMS) if isinstance(item, PacketUnit) and item.track == gone}
    expected = without(ITEMS, lost)
    for at in range(offset, offset + size):
        framing = at < offset + 3 or at >= offset + size - 4
        for change in (0x01, 0x02, 0x04, 0x10, 0x80, 0xFF, 0x25) if framing else (0x01, 0x81):
            data = bytearray(DATA)
            data[at] ^= change
            found, reader = keep_going(bytes(data))
            assert found == expected, (place, at - offset, change)
            assert (reader.tracks, reader.hdr, reader.metadata) == (tracks, hdr, metadata)
            assert f"at byte {offset}" in reader.losses[0]
            assert reader.ended
            assert reader.lost_frames == sum(item.count for item in expected if isinstance(item, LostFrames))


def test_damage_up_to_the_header_stays_an_error() -> None:
    for at in range(UNITS[1][1]):
        if at == 9:
            continue
        for change in (0x01, 0x80, 0xFF):
            data = bytearray(DATA)
            data[at] ^= change
            with pytest.raises(NacreError):
                keep_going(bytes(data))


@settings(max_examples=100)
@given(st.data())
def test_any_stretch_is_lost(data: st.DataObject) -> None:
    """Bytes taken out, put in or changed: units outside are read, with all frames of GOPs that are whole."""
    start = data.draw(st.integers(UNITS[1][1], len(DATA)))
    stop = data.draw(st.integers(start, min(start + 300, len(DATA))))
    inside = data.draw(st.sampled_from((b"", b"\0" * 50, random.Random(start).randbytes(stop - start))))
    assume(inside != DATA[start:stop])
    found, reader = keep_going(DATA[:start] + inside + DATA[stop:])
    outside = [
        place for place, unit in enumerate(CODED) if UNITS[unit][1] + UNITS[unit][2] <= start or UNITS[unit][1] >= stop
    ]
    tracks_whole = all(offset + size <= start or offset >= stop for kind, offset, size in UNITS if kind == 0x96)
    frames = [item for item in found if isinstance(item, FrameUnit)]
    packets = [item for item in found if isinstance(item, PacketUnit)]
    assert all(item in ITEMS for item in frames + packets)
    if tracks_whole:
        assert packets == [ITEMS[place] for place in outside if isinstance(ITEMS[place], PacketUnit)]
    expected = without(ITEMS, set(range(len(ITEMS))) - set(outside))
    assert frames == [item for item in expected if isinstance(item, FrameUnit)]
    assert reader.losses
    counted = sum(item.count for item in found if isinstance(item, LostFrames))
    assert counted == reader.lost_frames
    if stop <= UNITS[-2][1]:
        assert counted + len(frames) == len(FRAMES)


@pytest.mark.parametrize("place", range(1, len(FRAMES)))
def test_a_frame_that_is_not_there(place: int) -> None:
    """Nothing is damaged, only lost on the way: its number is missing."""
    units = [DATA[offset : offset + size] for _, offset, size in UNITS]
    gone = CODED[ITEMS.index(FRAMES[place])]
    data = DATA[:10] + b"".join(units[:gone] + units[gone + 1 :])
    found, reader = keep_going(data)
    assert found == without(ITEMS, {ITEMS.index(FRAMES[place])})
    assert any("are lost" in loss for loss in reader.losses)
    with pytest.raises(FormatError, match=r"due is|have reached"):
        list(SequenceReader(io.BytesIO(data)))


def test_frames_that_come_again() -> None:
    """A repeated unit is passed over, whether it is an intra or a predicted frame."""
    units = [DATA[offset : offset + size] for _, offset, size in UNITS]
    for frame in FRAMES:
        place = CODED[ITEMS.index(frame)]
        data = DATA[:10] + b"".join([*units[: place + 1], units[place], *units[place + 1 :]])
        found, reader = keep_going(data)
        assert found == ITEMS
        assert reader.losses[0].endswith("the frame was passed before, or comes too late")


def test_sixty_thousand_frames_later() -> None:
    """The number of a predicted frame tells that frames are missing, however many there are but 65536."""
    frames = [replace(FRAMES[1], number=number, timestamp=number * 10) for number in (3, 65537)]
    head = [(0x10, HEADER.pack()), (0x11, replace(FRAMES[0], number=0, timestamp=0).pack(HEADER, Due(0, 0)))]
    for frame in frames:
        data = stream([*head, (0x12, frame.pack(HEADER, Due(0, 0))), (0x0F, b"")])
        found, _ = keep_going(data)
        assert len(found) == 2
    assert found == [
        replace(FRAMES[0], number=0, timestamp=0),
        replace(frames[1], number=1, timestamp=found[1].timestamp),
    ]


def test_a_growing_file_with_damage() -> None:
    """Polled byte by byte, and finished where it does not grow any more: the same as in one go."""
    data = bytearray(DATA)
    for place in (7, 14):
        data[UNITS[place][1] + 1] ^= 0x05
    expected, whole = keep_going(bytes(data))

    class Growing:
        size = UNITS[1][1]
        at = 0

        def read(self, size: int, /) -> bytes:
            chunk = bytes(data[self.at : min(self.at + size, self.size)])
            self.at += len(chunk)
            return chunk

    file = Growing()
    reader = SequenceReader(file, keep_going=True)
    found = []
    while file.size < len(data):
        item = reader.poll()
        if item is None:
            file.size += 1
        else:
            found.append(item)
    found += list(reader)
    assert found == expected
    assert reader.losses == whole.losses


def test_a_sequence_inside_of_a_damaged_unit() -> None:
    """The units of a foreign stream in a packet are not taken for those of this one."""
    inner = packed(make_items(9, (2,), packets=False), full=False)[10:]
    file = io.BytesIO()
    with SequenceWriter(file, HEADER) as writer:
        writer.track(TRACKS[0])
        writer.frame(FRAMES[0])
        writer.packet(PacketUnit(track=0, pts=0, dts=0, duration=1, data=inner))
        writer.frame(FRAMES[1])
    data = bytearray(file.getvalue())
    unit = next(unit for unit in units_of(bytes(data)) if unit[0] == 0x95)
    data[unit[1] + 5] ^= 1
    found, reader = keep_going(bytes(data))
    assert found == FRAMES[:2]
    assert len(reader.losses) == 1


def test_a_length_that_leads_to_a_later_unit() -> None:
    """A damaged length that ends exactly where a later unit begins: the units between are found all the same."""
    data = bytearray(DATA)
    first = next(place for place in CODED if UNITS[place][0] == 0x12)
    offset = UNITS[first][1]
    announced = UNITS[first + 2][1]
    assert data[offset + 1] < 0x80
    data[offset + 1] = announced - offset - 2 - 4
    assert data[offset + 1] < 0x80
    found, _ = keep_going(bytes(data))
    assert found == without(ITEMS, {CODED.index(first)})


def hostile(pattern: bytes, size: int) -> bytes:
    """A damaged packet of nothing but possible beginnings, with two frames before and one behind."""
    file = io.BytesIO()
    writer = SequenceWriter(file, HEADER, index=False)
    writer.track(TRACKS[0])
    writer.frame(FRAMES[0])
    start = len(file.getvalue())
    write_unit(file, UnitType.PACKET, (pattern * (size // len(pattern) + 1))[:size])
    data = bytearray(file.getvalue())
    data[start + 1 : start + 4] = b"\xff\xff\x7f" if size > 1 << 14 else data[start + 1 : start + 4]
    tail = packed([replace(frame, number=place) for place, frame in enumerate(FRAMES[2:5])], index=False, full=False)
    kept = units_of(tail)[1]
    intra = replace(FRAMES[2], number=7).pack(HEADER, Due(0, 0))
    out = io.BytesIO()
    write_unit(out, UnitType.INTRA_FRAME, intra)
    write_unit(out, UnitType.END, b"")
    assert kept[0] == 0x11
    return bytes(data) + out.getvalue()


INTRA_START = FRAMES[0].pack(HEADER, Due(0, 0))[:20]


@pytest.mark.parametrize(
    "pattern",
    [
        b"\x0f\0",
        b"\x95\x7f\0\1",
        b"\x95\xff\x7f\0\1",
        b"\x95\x95\x80\x40\0",
        b"\x11\xff\x7f" + INTRA_START,
        b"\x13\xff\xff\x03",
        b"\x0f\0" + zlib.crc32(b"\x0f\1").to_bytes(4, "little"),
    ],
)
def test_work_is_bounded_however_many_beginnings_there_are(monkeypatch: pytest.MonkeyPatch, pattern: bytes) -> None:
    monkeypatch.setattr(feed, "_FIRST_WORK", 1 << 20)
    taken = 0
    crc32 = zlib.crc32

    def counted(data: Any, value: int = 0) -> int:
        nonlocal taken
        taken += len(data)
        return crc32(data, value)

    monkeypatch.setattr(feed.zlib, "crc32", counted)
    data = hostile(pattern, 1 << 16)
    found, reader = keep_going(data)
    assert found[0] == FRAMES[0]
    assert taken <= (1 << 20) + 80 * len(data)
    if not any("not all of them searched" in loss for loss in reader.losses):
        assert found[-1] == replace(FRAMES[2], number=7)


def test_a_unit_is_found_behind_random_bytes() -> None:
    """A megabyte of them is searched to its end, also where lengths may be anything."""
    rubbish = random.Random(3).randbytes(1 << 20)
    at = UNITS[CODED[3]][1]
    found, reader = keep_going(DATA[:at] + rubbish + DATA[at:])
    assert found == ITEMS
    assert len(reader.losses) == 1
    assert "searched" not in reader.losses[0]


def test_the_list_of_losses_has_an_end() -> None:
    units = [(0x10, HEADER.pack()), (0x11, FRAMES[0].pack(HEADER, Due(0, 0)))] + [(0x14, b"")] * (MAX_LOSSES + 5)
    found, reader = keep_going(stream([*units, (0x0F, b"")]))
    assert found == FRAMES[:1]
    assert len(reader.losses) == MAX_LOSSES


@settings(max_examples=200)
@given(st.lists(st.sampled_from([DATA[o : o + s] for _, o, s in UNITS[1:]]), max_size=12), st.binary(max_size=30))
def test_any_mixture_of_units(units: list[bytes], rubbish: bytes) -> None:
    """Whatever stands there, frames come in order, each GOP from its intra frame on, and holes are told."""
    data = DATA[: UNITS[1][1]] + b"".join(units[:6]) + rubbish + b"".join(units[6:])
    found, reader = keep_going(data)
    due, decodable = 0, False
    for item in found:
        if isinstance(item, LostFrames):
            assert item.number == due
            due, decodable = due + item.count, False
        elif isinstance(item, FrameUnit):
            assert item.number == due
            assert item.key or decodable
            due, decodable = due + 1, True
    assert reader.ended
