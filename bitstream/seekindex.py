"""The seek index of a sequence: which of its frames are intra frames, where they stand, when they are shown."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from nacre.bitstream.errors import FormatError, InputError
from nacre.bitstream.fields import MAX_TIME, FieldReader, pack_time
from nacre.bitstream.limits import Limits
from nacre.bitstream.sequenceheader import MAX_NUMBER
from nacre.bitstream.units import pack_varint

SIZE_BYTES = 4
MAX_ENTRIES = 1 << 16
"""Entries that a writer keeps: when there are more, every other one is dropped."""
_MIN_ENTRY_BYTES = 3
_MAX_ENTRY_BYTES = 10 + 5 + 10


class IndexEntry(NamedTuple):
    """One intra frame: offset of its unit in the stream (bytes), its number, its timestamp (units of the time base)."""

    offset: int
    number: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class SeekIndex:
    """Where intra frames stand. InputError unless entries ascend and all is within `frames` and `end`.

    entries: some of the intra frames, the first frame among them. frames: number of frames of the sequence. end:
    timestamp at which the last frame ends.
    """

    entries: tuple[IndexEntry, ...]
    frames: int
    end: int

    def __post_init__(self) -> None:
        if not self.entries:
            msg = "the seek index has no entries, must have that of the first frame"
            raise InputError(msg)
        for before, entry in zip(self.entries, self.entries[1:], strict=False):
            if not all(low < high for low, high in zip(before, entry, strict=True)):
                msg = f"entry {tuple(entry)} of the seek index follows {tuple(before)}, must be above it in each number"
                raise InputError(msg)
        first, last = self.entries[0], self.entries[-1]
        stop = first.number + self.frames
        if first.offset < 0 or first.number < 0 or not last.number < stop <= MAX_NUMBER + 1:
            msg = (
                f"the seek index is of {self.frames} frames from number {first.number} on, with an intra frame of"
                f" number {last.number}"
            )
            raise InputError(msg)
        if first.timestamp < -MAX_TIME or not last.timestamp < self.end <= MAX_TIME:
            msg = f"the seek index ends at {self.end}, must be above the timestamp of its last entry, {last.timestamp}"
            raise InputError(msg)

    def find(self, timestamp: int) -> IndexEntry:
        """The last intra frame that is shown at `timestamp` or before, or the first one of all."""
        return self.entries[max(bisect_right(self.entries, timestamp, key=lambda entry: entry.timestamp) - 1, 0)]

    def find_number(self, number: int) -> IndexEntry:
        """The last intra frame that has this number or a lower one, or the first one of all."""
        return self.entries[max(bisect_right(self.entries, number, key=lambda entry: entry.number) - 1, 0)]

    def pack(self) -> bytes:
        """The payload of the SEEK_INDEX unit."""
        parts = [pack_varint(self.frames), pack_time(self.end), pack_varint(len(self.entries))]
        before = IndexEntry(0, 0, 0)
        for entry in self.entries:
            parts.append(pack_varint(entry.offset - before.offset, 64))
            parts.append(pack_varint(entry.number - before.number))
            parts.append(pack_time(entry.timestamp - before.timestamp))
            before = entry
        body = b"".join(parts)
        return body + unit_size(len(body) + SIZE_BYTES).to_bytes(SIZE_BYTES, "little")

    @classmethod
    def parse(cls, payload: bytes, limits: Limits) -> SeekIndex:
        """The index from the payload of a SEEK_INDEX unit; FormatError when it is malformed, LimitError."""
        source = FieldReader(payload, "the seek index")
        frames, end, count = source.varint("number of frames"), source.time("end"), source.varint("number of entries")
        limits.check_index(count)
        if count * _MIN_ENTRY_BYTES > source.left:
            msg = f"the seek index has {count} entries in {source.left} bytes, must have {_MIN_ENTRY_BYTES} for each"
            raise FormatError(msg)
        entries, entry = [], IndexEntry(0, 0, 0)
        for _ in range(count):
            entry = IndexEntry(
                entry.offset + source.varint("offset", 64),
                entry.number + source.varint("frame number"),
                entry.timestamp + source.time("timestamp"),
            )
            entries.append(entry)
        size = source.integer("size", SIZE_BYTES)
        source.end()
        if size != unit_size(len(payload)):
            msg = f"the seek index says that its unit has {size} bytes, must be {unit_size(len(payload))}"
            raise FormatError(msg)
        return source.made(lambda: cls(tuple(entries), frames, end))


def is_plausible(start: bytes, length: int) -> bool:
    """Whether a payload of `length` bytes may be that of a seek index; start: its first bytes."""
    source = FieldReader(start, "the seek index")
    try:
        source.varint("number of frames")
        source.time("end")
        count = source.varint("number of entries")
    except FormatError:
        return False
    rest = length - SIZE_BYTES - (len(start) - source.left)
    return 0 < count * _MIN_ENTRY_BYTES <= rest <= count * _MAX_ENTRY_BYTES


def unit_size(length: int) -> int:
    """Bytes of a unit with `length` bytes of payload."""
    return 1 + len(pack_varint(length)) + length + 4


class IndexBuilder:
    """Collects intra frames as they pass, at most MAX_ENTRIES of them, evenly chosen, however many there are."""

    def __init__(self, entries: Iterable[IndexEntry] = ()) -> None:
        self.entries = list(entries)
        self._every = 1
        self._passed = 0

    def add(self, offset: int, number: int, timestamp: int) -> None:
        """The next intra frame."""
        if self._passed % self._every == 0:
            if len(self.entries) == MAX_ENTRIES:
                del self.entries[1::2]
                self._every *= 2
            self.entries.append(IndexEntry(offset, number, timestamp))
        self._passed += 1
