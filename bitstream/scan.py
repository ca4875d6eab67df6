"""Where the intra frames of a sequence stand: read from the seek index, or found by passing over all units."""

from __future__ import annotations

from dataclasses import dataclass

from nacre.bitstream.errors import FormatError, LimitError
from nacre.bitstream.feed import LOOK_BYTES, Feed, Search, Starved
from nacre.bitstream.fields import FieldReader
from nacre.bitstream.frames import Due, parse_time
from nacre.bitstream.limits import Limits
from nacre.bitstream.seekindex import SIZE_BYTES, IndexBuilder, SeekIndex
from nacre.bitstream.sequence import SequenceGrammar, SequenceReader
from nacre.bitstream.sequenceheader import SequenceHeader
from nacre.bitstream.units import FRAME_TYPES, SEQUENCE_TYPES, SeekableReader, UnitType, is_optional

_CRC_BYTES = 4
_END_UNIT = bytes.fromhex("0f00300e41c6")
_SEEK_END = 2
_VERIFY_EVERY = 64


@dataclass(frozen=True, slots=True)
class FoundIndex:
    """What is known of a sequence's frames.

    index: None where there is no intra frame yet. complete: END is there, so nothing will follow. offset: where to look
    for what has been added to a file that grows.
    """

    index: SeekIndex | None
    complete: bool
    offset: int


def read_index(file: SeekableReader, limits: Limits | None = None, known: FoundIndex | None = None) -> FoundIndex:
    """The seek index of the stream that begins with the file's first byte, made by a scan where it has none.

    A scan reads the first bytes of every unit and all of a few; it ends at the last whole unit, and passes over what is
    damaged. known: what was found in the file when it was shorter; the scan goes on from there. The file's position is
    not kept. Raises as opening a SequenceReader does.
    """
    size = file.seek(0, _SEEK_END)
    file.seek(0)
    reader = SequenceReader(file, limits)
    limits = Limits() if limits is None else limits
    start = reader.part.offset + reader.part.size
    index = _stored(file, start, size, reader.header, limits)
    if index is not None:
        return FoundIndex(index, True, size)
    return _Scan(file, size, reader.header, limits, FoundIndex(None, False, start) if known is None else known).run()


def _stored(file: SeekableReader, start: int, size: int, header: SequenceHeader, limits: Limits) -> SeekIndex | None:
    """The index that the stream holds, if it ends with one."""
    tail_size = SIZE_BYTES + _CRC_BYTES + len(_END_UNIT)
    if size < start + tail_size:
        return None
    file.seek(size - tail_size)
    tail = file.read(tail_size) or b""
    index_size = int.from_bytes(tail[:SIZE_BYTES], "little")
    offset = size - len(_END_UNIT) - index_size
    if not tail.endswith(_END_UNIT) or offset < start or index_size > limits.max_packet_bytes:
        return None
    file.seek(offset)
    feed = Feed(file, offset)
    try:
        framing = feed.framing(0)
        stored, computed = feed.checksums(0, index_size)
        if (framing.type, framing.end, stored) != (UnitType.SEEK_INDEX, index_size, computed):
            return None
        index = SeekIndex.parse(bytes(feed.buffer[framing.start : framing.end - _CRC_BYTES]), limits)
    except (FormatError, LimitError, Starved):
        return None
    inside = start <= index.entries[0].offset and index.entries[-1].offset < offset
    return index if inside and index.entries[0].number == header.first_frame else None


class _Scan:
    """Passes over the units of a file of `size` bytes, from the place on at which `known` ends.

    Heads alone do not tell a unit from bytes that look like one, to which a damaged length has led. So the checksum of
    one unit in _VERIFY_EVERY, and of the last one before trouble or the end, is looked at; where it is wrong, the scan
    goes back behind the last intact unit and searches from there.
    """

    def __init__(
        self, file: SeekableReader, size: int, header: SequenceHeader, limits: Limits, known: FoundIndex
    ) -> None:
        self._file, self._size, self._header = file, size, header
        self._grammar = SequenceGrammar(header, limits, range(limits.max_tracks))
        self._offset, self._complete = known.offset, known.complete
        if known.index is None:
            self._builder = IndexBuilder()
            self._due = Due(header.first_frame, 0)
        else:
            self._builder = IndexBuilder(known.index.entries)
            self._due = Due(known.index.entries[0].number + known.index.frames, known.index.end)
        self._passed: list[tuple[int, Due]] = []  # units not verified: offset, and what was due there

    def run(self) -> FoundIndex:
        """What there is now."""
        while not self._complete:
            try:
                whole = self._pass()
            except (FormatError, LimitError):
                if self._verify():
                    self._offset = self._searched(self._offset)
                continue
            if not whole and self._verify():
                found = self._searched(self._offset)
                if found == self._size:
                    break
                self._offset = found
            elif len(self._passed) == _VERIFY_EVERY:
                self._verify()
        entries = self._builder.entries
        index = None
        if entries:
            index = SeekIndex(tuple(entries), self._due.number - entries[0].number, self._due.timestamp)
        return FoundIndex(index, self._complete, self._offset)

    def _pass(self) -> bool:
        """Pass over a unit; False where it is not whole, FormatError or LimitError for what is none."""
        feed = self._feed(self._offset)
        try:
            framing = feed.framing(0)
            self._grammar.check(framing.type, framing.length)
            if framing.type not in SEQUENCE_TYPES and not is_optional(framing.type):
                msg = "a critical type that is not known"
                raise FormatError(msg)
            if self._offset + framing.end > self._size:
                return False
            due = self._due
            if framing.type in FRAME_TYPES:
                stop = framing.start + min(framing.length, LOOK_BYTES)
                feed.need(stop)
                self._frame(bytes(feed.buffer[framing.start : stop]), framing.type == UnitType.INTRA_FRAME)
            elif framing.type == UnitType.END:
                self._complete = self._offset + framing.end == self._size and self._is_intact(self._offset)
                if not self._complete:
                    msg = "not the end"
                    raise FormatError(msg)
        except Starved:
            return False
        self._passed.append((self._offset, due))
        self._offset += framing.end
        return True

    def _verify(self) -> bool:
        """Whether the last unit passed is intact; if not, go on where a search behind the last intact one leads."""
        start, due = self._offset, self._due
        while self._passed and not self._is_intact(self._passed[-1][0]):
            start, due = self._passed.pop()
        self._passed.clear()
        if start == self._offset:
            return True
        self._offset, self._due = self._searched(start), due
        while self._builder.entries and self._builder.entries[-1].offset >= start:
            self._builder.entries.pop()
        return False

    def _feed(self, offset: int) -> Feed:
        self._file.seek(offset)
        return Feed(self._file, offset)

    def _is_intact(self, offset: int) -> bool:
        feed = self._feed(offset)
        stored, computed = feed.checksums(0, feed.framing(0).end)
        return stored == computed

    def _searched(self, offset: int) -> int:
        """Where to go on behind the damaged unit at `offset`."""
        feed = self._feed(offset)
        Search(feed, self._grammar).run(final=True)
        return feed.offset

    def _frame(self, start: bytes, key: bool) -> None:
        """Take note of a frame."""
        time = parse_time(FieldReader(start, "the frame"), key, self._header, self._due)
        entries = self._builder.entries
        if key:
            if entries and not (time.number > entries[-1].number and time.timestamp > entries[-1].timestamp):
                return
            self._builder.add(self._offset, time.number, time.timestamp)
            self._due = Due(time.number + 1, time.timestamp + time.duration)
        elif entries:
            skipped = time.number - self._due.number  # their durations are lost with them
            end = time.timestamp + time.duration + skipped * self._header.frame_duration
            self._due = Due(time.number + 1, max(end, self._due.timestamp))
