"""The payload of a frame of a sequence: what it is, when it is shown, how it is to be decoded, its symbols' bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from nacre.bitstream.errors import FormatError, InputError
from nacre.bitstream.fields import (
    MAX_TIME,
    FieldReader,
    Integer,
    check_integers,
    checked,
    pack_integers,
    pack_time,
)
from nacre.bitstream.header import MAX_QUALITY
from nacre.bitstream.sequenceheader import MAX_NUMBER, SequenceHeader
from nacre.bitstream.units import UnitType, pack_varint

NUMBER_CYCLE = 1 << 16
"""A predicted frame tells its number modulo this."""
MAX_DURATION = (1 << 32) - 1
MAX_START = 5 + 10 + 10 + 8
"""Bytes in front of the code, at most."""

_CODING = (
    Integer("quality", 2, 0, MAX_QUALITY),
    Integer("live_channels", 2, 0, 1024),
    Integer("check", 4, 0, (1 << 32) - 1),
)


class Due(NamedTuple):
    """What a frame follows: its number, and the timestamp at which the frame before it ends."""

    number: int
    timestamp: int


class FrameTime(NamedTuple):
    """Number of a frame, when it is shown, and how long."""

    number: int
    timestamp: int
    duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameUnit:
    """One coded frame. Any field out of range raises InputError.

    key: an intra frame, which begins a GOP; otherwise a frame predicted from the one before. number: 0..2^32 - 1.
    timestamp: when it is shown, in units of the time base, at most 2^62 - 1 either way. duration: how long,
    1..2^32 - 1. quality: steps of 1/256, 0..25600. live_channels: y channels that are coded, 1..1024, or 0..1024 in a
    predicted frame. check: CRC-32 of the symbols. payload: the range coder's bytes without zeros at their end.
    """

    key: bool
    number: int
    timestamp: int
    duration: int
    quality: int
    live_channels: int
    check: int
    payload: bytes

    def __post_init__(self) -> None:
        check_integers(self, _CODING)
        object.__setattr__(self, "number", checked("frame number", self.number, 0, MAX_NUMBER))
        object.__setattr__(self, "timestamp", checked("timestamp", self.timestamp, -MAX_TIME, MAX_TIME))
        object.__setattr__(self, "duration", checked("duration", self.duration, 1, MAX_DURATION))
        checked("timestamp + duration", self.timestamp + self.duration, -MAX_TIME, MAX_TIME)
        if self.key and self.live_channels == 0:
            msg = "live_channels is 0, must be 1..1024 in an intra frame"
            raise InputError(msg)
        if self.payload.endswith(b"\0"):
            msg = "the range coder's bytes end with a zero byte, must be cut before it"
            raise InputError(msg)

    @property
    def type(self) -> UnitType:
        """The type of the unit."""
        return UnitType.INTRA_FRAME if self.key else UnitType.PREDICTED_FRAME

    @property
    def next(self) -> Due:
        """What the frame behind this one follows."""
        return Due(self.number + 1, self.timestamp + self.duration)

    def pack(self, header: SequenceHeader, due: Due) -> bytes:
        """The payload of the frame's unit; due: what it follows, of no effect for an intra frame."""
        if self.key:
            start = pack_varint(self.number) + pack_time(self.timestamp)
        else:
            start = (self.number % NUMBER_CYCLE).to_bytes(2, "little") + pack_time(self.timestamp - due.timestamp)
        return start + pack_time(self.duration - header.frame_duration) + pack_integers(self, _CODING) + self.payload

    @classmethod
    def parse(cls, payload: bytes, key: bool, header: SequenceHeader, due: Due) -> FrameUnit:
        """The frame from the payload of its unit; FormatError when it is malformed. See `parse_time`."""
        source = FieldReader(payload, "the frame")
        time = parse_time(source, key, header, due)
        coding = source.integers(_CODING)
        code = source.rest()
        return source.made(lambda: cls(key=key, **time._asdict(), **coding, payload=code))


def parse_time(source: FieldReader, key: bool, header: SequenceHeader, due: Due) -> FrameTime:
    """The first fields of a frame's payload, not checked; FormatError where it ends before.

    due: what it follows. The number of a predicted frame is the lowest from due.number on that it can be; its timestamp
    is right if that is due.number.
    """
    if key:
        number, timestamp = source.varint("frame number"), source.time("timestamp")
    else:
        number = due.number + (source.integer("frame number", 2) - due.number) % NUMBER_CYCLE
        timestamp = due.timestamp + source.time("timestamp")
    return FrameTime(number, timestamp, header.frame_duration + source.time("duration"))


def is_plausible(start: bytes, key: bool, header: SequenceHeader) -> bool:
    """Whether a payload may be that of a frame; start: its first MAX_START bytes, or all of a shorter one."""
    source = FieldReader(start, "the frame")
    try:
        parse_time(source, key, header, Due(0, 0))
        values = source.integers(_CODING)
    except FormatError:
        return False
    return key <= values["live_channels"] and all(values[name] <= high for name, _, _, high in _CODING)


def check_order(frame: FrameUnit, due: Due, before: FrameUnit | None) -> None:
    """FormatError unless the frame may follow `before`, or, where that is None, may be the first one."""
    if frame.number != due.number:
        msg = f"the frame has number {frame.number}, due is {due.number}"
        raise FormatError(msg)
    if before is None:
        if not frame.key:
            msg = "the first frame is a predicted frame, must be an intra frame"
            raise FormatError(msg)
    elif frame.timestamp <= before.timestamp:
        msg = f"the frame has timestamp {frame.timestamp}, must be above that of the frame before, {before.timestamp}"
        raise FormatError(msg)
