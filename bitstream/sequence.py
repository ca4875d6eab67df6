"""A sequence as a stream of units: header, tracks, frames in display order with packets between them, seek index, END.

Neither writing nor reading ever seeks, unless a reader is asked to.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, cast

from nacre.bitstream import seekindex
from nacre.bitstream.errors import ChecksumError, FormatError, InputError, LimitError, NacreError, TruncatedError
from nacre.bitstream.feed import Feed, Search, Starved
from nacre.bitstream.frames import Due, FrameUnit, check_order, is_plausible
from nacre.bitstream.limits import Limits
from nacre.bitstream.picture import MAX_LOSSES
from nacre.bitstream.seekindex import IndexBuilder, IndexEntry, SeekIndex, unit_size
from nacre.bitstream.sequenceheader import SEQUENCE_MINOR, SequenceHeader
from nacre.bitstream.tracks import MAX_FLAGS, HdrUnit, PacketUnit, TrackUnit
from nacre.bitstream.units import (
    FRAME_TYPES,
    METADATA_TYPES,
    SEQUENCE_TYPES,
    SIGNATURE,
    BinaryReader,
    BinaryWriter,
    Part,
    SeekableReader,
    Unit,
    UnitReader,
    UnitType,
    check_belongs,
    check_end,
    check_known,
    unit_name,
    write_signature,
    write_unit,
)

SNIFF_BYTES = len(SIGNATURE) + 3
"""Bytes of a stream that tell whether it is a sequence."""

_MAX_HEADER_BYTES = 1 << 10  # with whatever later versions append
_NUMBER_BEHIND = 1 << 15  # a predicted frame that seems to be this far ahead is one that was passed before
PROLOGUE_TYPES = METADATA_TYPES | {UnitType.TRACK, UnitType.HDR}
"""Unit types that stand before all frames and packets."""


@dataclass(frozen=True, slots=True)
class LostFrames:
    """Frames that cannot be decoded: the number of the first, and how many."""

    number: int
    count: int


def is_sequence(start: bytes) -> bool:
    """Whether a stream that starts with these bytes, at least SNIFF_BYTES of them, is a sequence."""
    return start.startswith(SIGNATURE) and start[SNIFF_BYTES - 1 : SNIFF_BYTES] == bytes((UnitType.SEQUENCE_HEADER,))


class SequenceWriter:
    """Writes a sequence unit by unit, without seeking.

    Opening writes signature, header, metadata (type of METADATA_TYPES: payload) and HDR side data. Tracks come before
    packets and frames, frames in display order, the first one intra, packets anywhere between. `close` writes the seek
    index, unless index is False, and END. A context manager closes when it is left without an error; the file stays
    open. Every unit is in the file when the call returns. InputError for a unit that is not due or has a field out of
    range, which is then not written, before anything is written for metadata of another type.
    """

    def __init__(
        self,
        file: BinaryWriter,
        header: SequenceHeader,
        metadata: Mapping[int, bytes] | None = None,
        hdr: HdrUnit | None = None,
        index: bool = True,
    ) -> None:
        metadata = metadata or {}
        for unit_type in metadata:
            if unit_type not in METADATA_TYPES:
                allowed = ", ".join(f"0x{known:02X}" for known in sorted(METADATA_TYPES))
                msg = f"metadata type is {unit_type:#x}, must be one of {allowed}"
                raise InputError(msg)
        self._file, self._header = file, header
        self._index = IndexBuilder() if index else None
        self._tracks = self._frames = 0
        self._before: FrameUnit | None = None
        self._prologue, self._closed = True, False
        write_signature(file, SEQUENCE_MINOR)
        self.size = len(SIGNATURE) + 2
        """Bytes written so far."""
        self._write(UnitType.SEQUENCE_HEADER, header.pack())
        for unit_type, payload in sorted(metadata.items()):
            self._write(unit_type, payload)
        if hdr is not None:
            self._write(UnitType.HDR, hdr.pack())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._closed:
            self.close()

    def track(self, unit: TrackUnit) -> None:
        """Write the next track."""
        self._check_open()
        if not self._prologue:
            msg = f"track {unit.number} comes behind a frame or a packet, must come before all of them"
            raise InputError(msg)
        if unit.number != self._tracks:
            msg = f"the track to write has number {unit.number}, due is {self._tracks}"
            raise InputError(msg)
        self._write(UnitType.TRACK, unit.pack())
        self._tracks += 1

    def check_packet(self, unit: PacketUnit) -> None:
        """Raise InputError for a packet that cannot be written."""
        self._check_open()
        if unit.track >= self._tracks:
            msg = f"the packet to write is of track {unit.track}, the sequence has {self._tracks} tracks"
            raise InputError(msg)

    def packet(self, unit: PacketUnit) -> None:
        """Write a packet."""
        self.check_packet(unit)
        self._write(UnitType.PACKET, unit.pack())
        self._prologue = False

    def frame(self, unit: FrameUnit) -> None:
        """Write the next frame."""
        self._check_open()
        payload = pack_frame(unit, self._before, self._header)
        offset = self.size
        self._write(unit.type, payload)
        if unit.key and self._index is not None:
            self._index.add(offset, unit.number, unit.timestamp)
        self._before = unit
        self._frames += 1
        self._prologue = False

    def close(self) -> None:
        """Write the seek index and END; nothing can be written after it. InputError when there is no frame."""
        self._check_open()
        if self._before is None:
            msg = "the sequence has no frame, must have at least one"
            raise InputError(msg)
        if self._index is not None:
            index = SeekIndex(tuple(self._index.entries), self._frames, self._before.next.timestamp)
            self._write(UnitType.SEEK_INDEX, index.pack())
        self._write(UnitType.END, b"")
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            msg = "the sequence is closed, nothing can be written to it"
            raise InputError(msg)

    def _write(self, unit_type: int, payload: bytes) -> None:
        write_unit(self._file, unit_type, payload)
        self.size += unit_size(len(payload))


def pack_frame(unit: FrameUnit, before: FrameUnit | None, header: SequenceHeader) -> bytes:
    """The payload of a frame's unit behind another frame, None for the first; InputError where it must not be there."""
    due = Due(header.first_frame, 0) if before is None else before.next
    try:
        check_order(unit, due, before)
    except FormatError as error:
        raise InputError(str(error)) from error
    payload = unit.pack(header, due)
    if len(payload) > header.max_frame_bytes:
        msg = f"frame {unit.number} has {len(payload)} bytes, must have at most {header.max_frame_bytes}"
        raise InputError(msg)
    return payload


class SequenceGrammar:
    """What a search for units has to know of a sequence; tracks and prologue are kept up to date by its reader.

    tracks: numbers that packets may have. prologue: whether no frame and no packet was passed.
    """

    def __init__(self, header: SequenceHeader, limits: Limits, tracks: Container[int]) -> None:
        self._header, self._limits, self._tracks = header, limits, tracks
        self.prologue = True

    def check(self, unit_type: int, length: int) -> None:
        """Raise FormatError or LimitError for a payload length in bytes that no unit of the type has."""
        if unit_type not in FRAME_TYPES:
            self._limits.check_packet(length, "it")
            return
        self._limits.check_frame(length, "it")
        if length > self._header.max_frame_bytes:
            msg = f"it announces {length} bytes, a frame must have at most {self._header.max_frame_bytes}"
            raise FormatError(msg)

    def is_plausible(self, unit_type: int, length: int, start: bytes) -> bool:
        """Whether there may be a unit of this type and payload length; start: the first LOOK_BYTES of the payload."""
        if unit_type in FRAME_TYPES:
            return is_plausible(start, unit_type == UnitType.INTRA_FRAME, self._header)
        if unit_type == UnitType.PACKET:
            return length > 1 and start[0] < 0x80 and start[0] in self._tracks and start[1] <= MAX_FLAGS
        if unit_type == UnitType.SEEK_INDEX:
            return seekindex.is_plausible(start, length)
        return length == 0 if unit_type == UnitType.END else unit_type in PROLOGUE_TYPES and self.prologue


class SequenceReader:
    """Iterator over the frames and packets of a sequence, one in memory at a time; opening reads as far as the header.

    Iteration ends where END was read and nothing follows. Where the file ends before, it raises TruncatedError; after
    that, reading may go on if the file has grown, so a player of a growing file calls `poll` instead, which then gives
    None until there is more. Tracks, metadata and HDR side data are complete when the first frame or packet is given.

    Raises FormatError and its kinds where the stream is damaged or breaks a rule, LimitError where it asks for more
    than `limits`; the messages name the unit and its byte offset. After an error other than TruncatedError there is
    nothing more to read.

    With keep_going the iterator gives what is intact and can be decoded, and says in `losses` what is wrong. Frames
    that are lost, with all that follow them in their GOP, come as LostFrames before the next intra frame or at the end.
    Damage up to the end of SEQUENCE_HEADER stays an error, and so does a file that ends inside it.
    """

    header: SequenceHeader
    version: tuple[int, int]
    """(major, minor) of the stream."""
    metadata: dict[int, bytes]
    """Payloads of the metadata units passed so far, by unit type."""
    tracks: dict[int, TrackUnit]
    """The tracks passed so far, by number."""
    hdr: HdrUnit | None
    """HDR side data, if they were passed."""
    index: SeekIndex | None
    """The seek index, if it was passed."""
    part: Part
    """The unit that was passed last: name, offset and bytes with framing."""
    ended: bool
    """Whether there is nothing more to come: END was passed, or reading failed."""
    losses: list[str]
    """What was wrong so far, in words that name the place, at most MAX_LOSSES; always empty without keep_going."""
    lost_frames: int
    """Frames in the LostFrames given so far."""

    def __init__(self, file: BinaryReader, limits: Limits | None = None, keep_going: bool = False) -> None:
        self._file = file
        self._limits = Limits() if limits is None else limits
        self._keep_going = keep_going
        reader = UnitReader(file, replace(self._limits, max_unit_bytes=_MAX_HEADER_BYTES))
        unit = next(reader)
        if unit.type != UnitType.SEQUENCE_HEADER:
            msg = f"the first unit is {unit_name(unit.type)}, must be SEQUENCE_HEADER"
            if unit.type == UnitType.PICTURE_HEADER:
                msg += ": the stream is a picture, not a clip"
            raise FormatError(msg)
        self.version = reader.version
        if self.version[1] < SEQUENCE_MINOR:
            msg = f"the stream is of version 0.{self.version[1]}, a sequence must be of 0.{SEQUENCE_MINOR} or later"
            raise FormatError(msg)
        self.header = SequenceHeader.parse(unit.payload, self.version[1])
        self._limits.check_picture(self.header.width, self.header.height)
        self.metadata, self.tracks, self.hdr, self.index = {}, {}, None, None
        self.part = Part(unit_name(unit.type), unit.offset, unit.size)
        self.losses, self.lost_frames = [], 0
        self.ended = False
        self._feed = Feed(file, unit.offset + unit.size)
        self._grammar = SequenceGrammar(self.header, self._limits, self.tracks)
        self._search: tuple[Search, str, int] | None = None
        self._held: FrameUnit | None = None
        self._restart(Due(self.header.first_frame, 0), None)

    def __iter__(self) -> Iterator[FrameUnit | PacketUnit | LostFrames]:
        return self

    def __next__(self) -> FrameUnit | PacketUnit | LostFrames:
        item = self._advance(final=True)
        if item is None:
            raise StopIteration
        return item

    def poll(self) -> FrameUnit | PacketUnit | LostFrames | None:
        """The next frame, packet or loss; None when the file has no more yet, or, where `ended` says so, never will.

        A file in non-blocking mode is welcome.
        """
        return self._advance(final=False)

    def seek(self, entry: IndexEntry) -> None:
        """Go on at an intra frame of the seek index; the file must be seekable, its first byte that of the stream."""
        cast(SeekableReader, self._file).seek(entry.offset)
        self._feed = Feed(self._file, entry.offset)
        self._search = self._held = None
        self.ended = self._grammar.prologue = False
        self._restart(Due(entry.number, entry.timestamp), entry)

    def _restart(self, due: Due, entry: IndexEntry | None) -> None:
        self._due = due
        self._reached = due.number  # behind the last frame that is known to exist
        self._before: FrameUnit | None = None
        self._whole = True  # the frame before was given, so the next one can be decoded
        self._entry = entry

    def _advance(self, final: bool) -> FrameUnit | PacketUnit | LostFrames | None:
        if self._held is not None:
            item, self._held = self._held, None
            return item
        while not self.ended:
            try:
                unit = self._read(final)
            except Starved:
                if final:
                    raise self._cut_off() from None
                return None
            except NacreError:
                self.ended = True
                raise
            if unit is None:
                self.ended = True
                return self._lose_until(self._reached)
            self.part = Part(unit_name(unit.type), unit.offset, unit.size)
            found = self._pass(unit, final)
            if found is not None:
                return found
        return None

    # Units

    def _read(self, final: bool) -> Unit | None:
        """The next intact unit; None at the end of what there is when going on."""
        feed = self._feed
        while self._search is None:
            try:
                return self._take()
            except Starved:
                if not (final and self._keep_going):
                    raise
                if not feed.buffer:
                    self._lose(f"the stream ends at byte {feed.offset} without its END unit")
                    return None
                trouble = str(self._cut_off())
            except (FormatError, LimitError) as error:
                if not self._keep_going:
                    raise
                trouble = str(error)
            self._search = Search(feed, self._grammar), trouble, feed.offset
            self._go_on(final)
        self._go_on(final)
        return self._read(final)

    def _go_on(self, final: bool) -> None:
        """Finish the search behind a damaged unit."""
        if self._search is None:
            return
        search, trouble, start = self._search
        search.run(final)
        self._search = None
        unsearched = ", not all of them searched" if search.gave_up else ""
        self._lose(f"{trouble}; {self._feed.offset - start} bytes are lost{unsearched}")

    def _take(self) -> Unit:
        """The unit at which the feed stands."""
        feed = self._feed
        feed.need(1)
        place = f"{unit_name(feed.buffer[0])} at byte {feed.offset}"
        try:
            framing = feed.framing(0)
            self._grammar.check(framing.type, framing.length)
        except (FormatError, LimitError) as error:
            msg = f"{place}: {error}"
            raise type(error)(msg) from error
        stored, computed = feed.checksums(0, framing.end)
        if stored != computed:
            msg = f"{place} is damaged: its checksum is 0x{stored:08X}, its bytes give 0x{computed:08X}"
            raise ChecksumError(msg)
        payload = bytes(feed.buffer[framing.start : framing.start + framing.length])
        unit = Unit(framing.type, payload, feed.offset, framing.end)
        feed.skip(framing.end)
        return unit

    def _cut_off(self) -> TruncatedError:
        feed = self._feed
        if not feed.buffer:
            msg = f"the stream ends at byte {feed.offset}, without its END unit"
        else:
            place = f"{unit_name(feed.buffer[0])} at byte {feed.offset}"
            msg = f"{place} is cut off: the stream ends at byte {feed.offset + len(feed.buffer)}"
        return TruncatedError(msg)

    # Rules

    def _pass(self, unit: Unit, final: bool) -> FrameUnit | PacketUnit | LostFrames | None:
        """Take note of an intact unit; what is to be given for it."""
        try:
            return self._accept(unit, final)
        except (FormatError, LimitError) as error:
            place = f"{unit_name(unit.type)} at byte {unit.offset}"
            if not self._keep_going:
                self.ended = True
                msg = f"{place}: {error}"
                raise type(error)(msg) from error
            self._lose(f"{place}: {error}")
            return None

    def _accept(self, unit: Unit, final: bool) -> FrameUnit | PacketUnit | LostFrames | None:
        check_known(unit.type, "the unit")
        check_belongs(unit.type, SEQUENCE_TYPES, "a sequence", "the unit")
        if unit.type == UnitType.END:
            return self._accept_end(unit, final)
        if self.index is not None and self._entry is None and not self._keep_going:
            msg = "the unit stands behind the seek index, due is END"
            raise FormatError(msg)
        if unit.type in FRAME_TYPES:
            self._grammar.prologue = False
            frame = FrameUnit.parse(unit.payload, unit.type == UnitType.INTRA_FRAME, self.header, self._next_due())
            return self._tolerate(frame) if self._keep_going else self._follow(frame)
        if unit.type == UnitType.PACKET:
            self._grammar.prologue = False
            packet = PacketUnit.parse(unit.payload)
            if packet.track not in self.tracks:
                msg = f"the packet is of track {packet.track}, which the sequence does not have"
                raise FormatError(msg)
            return packet
        if unit.type == UnitType.SEEK_INDEX:
            self._accept_index(SeekIndex.parse(unit.payload, self._limits))
        elif unit.type in PROLOGUE_TYPES:
            self._accept_prologue(unit)
        elif unit.type == UnitType.SEQUENCE_HEADER:
            msg = "the unit is the second of its type, must be the only one"
            raise FormatError(msg)
        return None

    def _accept_end(self, unit: Unit, final: bool) -> LostFrames | None:
        check_end(unit.payload, "the unit")
        if self._before is None and not self._keep_going:
            msg = "the sequence ends without a frame, must have at least one"
            raise FormatError(msg)
        try:
            self._feed.need(1)
        except Starved:
            pass
        else:
            msg = f"the stream goes on at byte {self._feed.offset}, behind its END unit"
            if not self._keep_going:
                raise FormatError(msg)
            self._lose(msg)
        self.ended = True
        return self._lose_until(self._reached)

    def _accept_prologue(self, unit: Unit) -> None:
        if not self._grammar.prologue:
            msg = "the unit stands behind a frame or a packet, must stand before all of them"
            raise FormatError(msg)
        if unit.type == UnitType.TRACK:
            track = TrackUnit.parse(unit.payload, self.version[1])
            if track.number in self.tracks or (not self._keep_going and track.number != len(self.tracks)):
                msg = f"the track has number {track.number}, due is {len(self.tracks)}"
                raise FormatError(msg)
            self._limits.check_tracks(len(self.tracks) + 1)
            self.tracks[track.number] = track
        elif unit.type in self.metadata or (unit.type == UnitType.HDR and self.hdr is not None):
            msg = "the unit is the second of its type, must be the only one"
            raise FormatError(msg)
        elif unit.type == UnitType.HDR:
            self.hdr = HdrUnit.parse(unit.payload, self.version[1])
        else:
            self.metadata[unit.type] = unit.payload

    def _accept_index(self, index: SeekIndex) -> None:
        if self.index is not None and self._entry is None:
            msg = "the unit is the second of its type, must be the only one"
            raise FormatError(msg)
        stop = self.header.first_frame + index.frames
        if not self._keep_going and (stop, index.end) != self._due:
            msg = (
                f"the seek index is of frames before number {stop} and time {index.end}, the frames have reached"
                f" {self._due.number} and {self._due.timestamp}"
            )
            raise FormatError(msg)
        if index.entries[0].number != self.header.first_frame:
            msg = f"the seek index begins with frame {index.entries[0].number}, must be {self.header.first_frame}"
            raise FormatError(msg)
        self.index = index
        self._reached = max(self._reached, stop)

    # Frames

    def _next_due(self) -> Due:
        return self._due if self._whole else Due(self._reached, self._due.timestamp)

    def _follow(self, frame: FrameUnit) -> FrameUnit:
        """The frame, if it may be the next one."""
        check_order(frame, self._due, self._before)
        if self._entry is not None and self._before is None and frame.timestamp != self._entry.timestamp:
            msg = f"the frame has timestamp {frame.timestamp}, the seek index has {self._entry.timestamp}"
            raise FormatError(msg)
        self._before, self._due, self._whole = frame, frame.next, True
        self._reached = self._due.number
        return frame

    def _tolerate(self, frame: FrameUnit) -> FrameUnit | LostFrames | None:
        """The frame, if it can be decoded; what is lost before it comes first."""
        due = self._next_due().number
        if frame.number < due or (not frame.key and frame.number - due >= _NUMBER_BEHIND):
            msg = "the frame was passed before, or comes too late"
            raise FormatError(msg)
        if frame.key:
            if self._before is not None:
                check_order(frame, Due(frame.number, 0), self._before)
            found = self._lose_until(frame.number)
            self._before, self._due, self._whole = frame, frame.next, True
            self._reached = self._due.number
            if found is None:
                return frame
            self._held = frame
            return found
        if self._whole and self._before is not None and frame.number == due:
            return self._follow(frame)
        self._whole = False
        self._reached = frame.number + 1
        return None

    def _lose_until(self, number: int) -> LostFrames | None:
        """The frames from the one that is due to the one before `number`, which cannot be decoded."""
        first, self._due = self._due.number, Due(max(number, self._due.number), self._due.timestamp)
        if number <= first:
            return None
        self._lose(f"frames {first} to {number - 1} are lost")
        self.lost_frames += number - first
        return LostFrames(first, number - first)

    def _lose(self, text: str) -> None:
        if len(self.losses) < MAX_LOSSES:
            self.losses.append(text)
