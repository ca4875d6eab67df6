"""Seek indexes: where intra frames stand, from the index, from a scan, in files that grow or are damaged; seeking."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sequences import HEADER, Item, make_items, packed, shortened, units_of

from nacre.bitstream import (
    FormatError,
    FoundIndex,
    FrameUnit,
    IndexEntry,
    InputError,
    LimitError,
    Limits,
    LostFrames,
    SeekIndex,
    SequenceReader,
    read_index,
    seekindex,
)
from nacre.bitstream.fields import MAX_TIME

ITEMS = shortened(make_items(4, (3, 1, 2, 4)), 30)
DATA = packed(ITEMS)
FRAMES = [item for item in ITEMS if isinstance(item, FrameUnit)]
BARE = packed(ITEMS, index=False)


def expected(data: bytes, items: Sequence[Item]) -> SeekIndex:
    """The index of all intra frames, by the units' places."""
    places = [unit for unit in units_of(data) if unit[0] in (0x11, 0x12)]
    frames = [item for item in items if isinstance(item, FrameUnit)]
    pairs = list(zip(places, frames, strict=False))
    entries = [IndexEntry(place[1], frame.number, frame.timestamp) for place, frame in pairs if frame.key]
    last = pairs[-1][1]
    return SeekIndex(tuple(entries), len(pairs), last.timestamp + last.duration)


INDEX = expected(DATA, ITEMS)

steps = st.tuples(st.integers(1, 2**40), st.integers(1, 2**20), st.integers(1, 2**50))


@given(st.lists(steps, min_size=1, max_size=20), st.integers(-(2**60), 2**60), st.integers(1, 1000))
def test_round_trip(steps: list[tuple[int, int, int]], start: int, more: int) -> None:
    entries = [IndexEntry(*steps[0][:2], start)]
    for offset, number, timestamp in steps[1:]:
        last = entries[-1]
        entries.append(IndexEntry(last.offset + offset, last.number + number, last.timestamp + timestamp))
    index = SeekIndex(tuple(entries), entries[-1].number - entries[0].number + more, entries[-1].timestamp + more)
    payload = index.pack()
    assert SeekIndex.parse(payload, Limits()) == index
    assert int.from_bytes(payload[-4:], "little") == seekindex.unit_size(len(payload))
    with pytest.raises(LimitError, match=f"{len(entries)} entries, the limit max_index_entries is {len(entries) - 1}"):
        SeekIndex.parse(payload, Limits(max_index_entries=len(entries) - 1))
    for damaged in (payload[:-1], payload + b"\0", payload[:-4] + b"\0\0\0\0"):
        with pytest.raises(FormatError):
            SeekIndex.parse(damaged, Limits())


def test_what_a_writer_writes_is_what_a_scan_finds() -> None:
    reader = SequenceReader(io.BytesIO(DATA))
    list(reader)
    assert reader.index == INDEX
    assert read_index(io.BytesIO(DATA)) == FoundIndex(INDEX, True, len(DATA))
    assert read_index(io.BytesIO(BARE)) == FoundIndex(expected(BARE, ITEMS), True, len(BARE))
    assert read_index(io.BytesIO(DATA), Limits(max_index_entries=2)).index == INDEX  # by a scan


class Counting(io.BytesIO):
    """A file that counts what is read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_the_index_is_found_from_the_end() -> None:
    """Nothing is read but the header, the end and the index; a scan does not read payloads."""
    frames = [replace(frame, payload=b"x" * 3000) for frame in FRAMES]
    for index in (True, False):
        data = packed(frames, index=index, full=False)
        file = Counting(data)
        assert read_index(file).index == expected(data, frames)
        assert file.taken < len(data) / 20


@pytest.mark.parametrize("data", [DATA, BARE])
def test_seeking(data: bytes) -> None:
    index = read_index(io.BytesIO(data)).index
    assert index is not None
    for entry in reversed(index.entries):
        for keep_going in (False, True):
            reader = SequenceReader(io.BytesIO(data), keep_going=keep_going)
            next(reader)
            reader.seek(entry)
            frames = [item for item in reader if isinstance(item, FrameUnit)]
            assert frames == FRAMES[entry.number :]
            assert (reader.ended, reader.losses) == (True, [])
            reader.seek(entry)  # also from the end
            assert next(reader) == FRAMES[entry.number]
            assert reader.part.offset == entry.offset


def test_finding_a_place() -> None:
    for frame in FRAMES:
        before = next(other for other in reversed(FRAMES[: frame.number + 1]) if other.key)
        assert INDEX.find(frame.timestamp).number == before.number
        assert INDEX.find_number(frame.number).number == before.number
    assert INDEX.find(-MAX_TIME) == INDEX.find_number(-1) == INDEX.entries[0]
    assert INDEX.find(MAX_TIME) == INDEX.find_number(10**9) == INDEX.entries[-1]


def test_an_index_that_lies_is_noticed_where_it_leads() -> None:
    wrong = [
        (replace_entry(number=2), "the frame has number 1|the frame has number 3"),
        (replace_entry(timestamp=INDEX.entries[1].timestamp + 1), "the frame has timestamp .* the seek index has"),
        (INDEX.entries[1]._replace(offset=units_of(DATA)[-3][1]), "is a predicted frame|the frame has number|PACKET"),
    ]
    for entry, message in wrong[:2]:
        reader = SequenceReader(io.BytesIO(DATA))
        reader.seek(entry)
        with pytest.raises(FormatError, match=message):
            list(reader)


def replace_entry(**change: Any) -> IndexEntry:
    return INDEX.entries[1]._replace(**change)


def test_a_growing_file() -> None:
    """A scan goes on where the last one ended; at every length it finds what is whole."""
    found: FoundIndex | None = None
    start = units_of(BARE)[1][1]
    for size in range(start, len(BARE) + 1):
        file = Counting(BARE[:size])
        found = read_index(file, None, found)
        units = [unit for unit in units_of(BARE) if unit[1] + unit[2] <= size]
        assert found.offset == units[-1][1] + units[-1][2]
        assert found.complete == (size == len(BARE))
        frames = [unit for unit in units if unit[0] in (0x11, 0x12)]
        assert found.index == (expected(BARE[: found.offset], FRAMES[: len(frames)]) if frames else None)
        assert found == read_index(io.BytesIO(BARE[:size]))


@pytest.mark.parametrize("place", range(1, len(units_of(BARE)), 3))
def test_a_damaged_file(place: int) -> None:
    """A scan never fails behind the header; frames that are whole are found but those of a unit that is damaged."""
    _, offset, size = units_of(BARE)[place]
    whole = expected(BARE, ITEMS)
    for at in (offset, offset + 1, offset + 2, offset + size - 1):
        for change in (0x01, 0x10, 0xFF):
            data = bytearray(BARE)
            data[at] ^= change
            found = read_index(io.BytesIO(data)).index
            assert found is not None
            missing = {entry.offset for entry in whole.entries} - {entry.offset for entry in found.entries}
            assert missing <= {offset}
            assert all(entry in whole.entries or entry.offset == offset for entry in found.entries)


def test_a_damaged_index_is_as_good_as_none() -> None:
    kind, offset, _ = units_of(DATA)[-2]
    assert kind == 0x13
    for at in range(offset, len(DATA)):
        data = bytearray(DATA)
        data[at] ^= 0x21
        found = read_index(io.BytesIO(data))
        assert found.index is not None
        assert found.index.entries == INDEX.entries


def test_a_damaged_file_is_played_from_every_entry() -> None:
    """The index stays good where it leads to; a GOP without its intra frame is told as lost."""
    entry = INDEX.entries[2]
    data = bytearray(DATA)
    data[entry.offset + 8] ^= 1
    reader = SequenceReader(io.BytesIO(data), keep_going=True)
    reader.seek(entry)
    found = [item for item in reader if not hasattr(item, "track")]
    assert found == [LostFrames(4, 2), *FRAMES[6:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": ()}, "has no entries"),
        ({"entries": INDEX.entries[::-1]}, "must be above it in each number"),
        ({"frames": INDEX.entries[-1].number}, "of 6 frames from number 0 on, with an intra frame of number 6"),
        ({"end": INDEX.entries[-1].timestamp}, "must be above the timestamp of its last entry"),
        ({"entries": (IndexEntry(-1, 0, 0),)}, "from number 0 on"),
    ],
)
def test_indexes_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(INDEX, **change)


def test_a_writer_keeps_a_bounded_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seekindex, "MAX_ENTRIES", 8)
    items = [
        replace(FRAMES[0], number=number, timestamp=10 * number, duration=10, payload=b"") for number in range(100)
    ]
    data = packed(items, HEADER, full=False)
    whole = expected(data, items)
    found = read_index(io.BytesIO(data)).index
    assert found is not None
    assert (found.frames, found.end) == (100, 1000)
    assert found.entries == whole.entries[::16]
    assert [item.number for item in SequenceReader(io.BytesIO(data)) if isinstance(item, FrameUnit)] == list(range(100))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 5), min_size=1, max_size=5), st.booleans())
def test_any_sequence(seed: int, gops: list[int], index: bool) -> None:
    items = make_items(seed, gops)
    data = packed(items, index=index)
    found = read_index(io.BytesIO(data))
    assert found.complete
    assert found.index == expected(data, items)


def test_an_empty_sequence_has_no_index() -> None:
    start = units_of(BARE)[1][1]
    assert read_index(io.BytesIO(BARE[:start])) == FoundIndex(None, False, start)
