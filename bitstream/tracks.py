"""Audio and subtitle tracks that are carried as they are, and HDR side data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from nacre.bitstream.errors import FormatError, InputError
from nacre.bitstream.fields import (
    MAX_TIME,
    FieldReader,
    Integer,
    check_integers,
    check_ratio,
    check_text,
    checked,
    pack_integers,
    pack_ratio,
    pack_text,
    pack_time,
)
from nacre.bitstream.sequenceheader import SEQUENCE_MINOR
from nacre.bitstream.units import pack_varint

AUDIO = 1
SUBTITLE = 2
KEY = 1
DISCARD = 2
MAX_TRACKS = 256

_U32 = (1 << 32) - 1
_TRACK_START = (Integer("number", 1, 0, MAX_TRACKS - 1), Integer("kind", 1, AUDIO, SUBTITLE))
_DISPOSITION = (Integer("disposition", 4, 0, _U32),)
_AUDIO = (
    Integer("sample_rate", 4, 0, _U32),
    Integer("channels", 2, 0, 65535),
    Integer("frame_size", 4, 0, _U32),
    Integer("bit_rate", 4, 0, _U32),
)
_CODEC = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_TEXTS = (("language", 64), ("title", 255), ("layout", 128))  # and the longest, in bytes

_NO_PTS, _NO_DTS, _TRIMMED = 4, 8, 16
MAX_FLAGS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackUnit:
    """One track, with what a muxer needs to know. Any field out of range raises InputError.

    number: 0 for the first track, 1 for the next, ..., 0..255. kind: 1 audio, 2 subtitle. codec: name as FFmpeg gives
    it. time_base: seconds of one unit of the packets' times. extradata: the codec's global headers. language, title:
    as the container gave them, empty when it did not. disposition: bits as FFmpeg has them. Of audio, 0 or empty when
    not known: sample_rate in Hz, channels, layout as FFmpeg names it, frame_size in samples, bit_rate in bits a second.
    """

    number: int
    kind: int
    codec: str
    time_base: Fraction
    extradata: bytes = b""
    language: str = ""
    title: str = ""
    disposition: int = 0
    sample_rate: int = 0
    channels: int = 0
    layout: str = ""
    frame_size: int = 0
    bit_rate: int = 0

    def __post_init__(self) -> None:
        check_integers(self, _TRACK_START + _DISPOSITION + _AUDIO)
        object.__setattr__(self, "time_base", check_ratio("time_base", self.time_base))
        if not _CODEC.match(self.codec):
            msg = f"codec is {self.codec!r}, must be 1 to 64 characters of A-Z, a-z, 0-9, _, . and -"
            raise InputError(msg)
        for name, longest in _TEXTS:
            check_text(name, getattr(self, name), longest)

    def pack(self) -> bytes:
        """The payload of the TRACK unit."""
        return b"".join(
            (
                pack_integers(self, _TRACK_START),
                pack_text(self.codec),
                pack_ratio(self.time_base),
                pack_integers(self, _DISPOSITION),
                *(pack_text(getattr(self, name)) for name, _ in _TEXTS),
                pack_integers(self, _AUDIO),
                pack_varint(len(self.extradata)),
                self.extradata,
            )
        )

    @classmethod
    def parse(cls, payload: bytes, minor: int) -> TrackUnit:
        """The track from the payload of a TRACK unit; minor: minor version of the stream, a later one may append.

        FormatError when it is malformed.
        """
        source = FieldReader(payload, "the track")
        values: dict[str, Any] = {**source.integers(_TRACK_START)}
        codec, time_base = source.text("codec"), source.ratio("time_base")
        values |= source.integers(_DISPOSITION)
        values |= {name: source.text(name) for name, _ in _TEXTS}
        values |= source.integers(_AUDIO)
        extradata = source.take("extradata", source.varint("length of extradata"))
        if minor <= SEQUENCE_MINOR:
            source.end()
        return source.made(lambda: cls(codec=codec, time_base=time_base, extradata=extradata, **values))


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketUnit:
    """One packet of a track, as its codec made it. Any field out of range raises InputError.

    track: number of its track. pts, dts: times in units of the track's time base, None when there is none. duration:
    0 when it is not known. key: it needs no other packet. discard: its output is not to be presented. trim: samples to
    leave out at the beginning and at the end of its output. data: its bytes.
    """

    track: int
    pts: int | None
    dts: int | None
    duration: int
    data: bytes
    key: bool = True
    discard: bool = False
    trim: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        checked("track", self.track, 0, MAX_TRACKS - 1)
        for name in ("pts", "dts"):
            if getattr(self, name) is not None:
                checked(name, getattr(self, name), -MAX_TIME, MAX_TIME)
        checked("duration", self.duration, 0, MAX_TIME)
        for name, value in zip(("samples to leave out first", "samples to leave out last"), self.trim, strict=True):
            checked(name, value, 0, _U32)

    def pack(self) -> bytes:
        """The payload of the PACKET unit."""
        flags = bool(self.key) * KEY + bool(self.discard) * DISCARD
        flags += (self.pts is None) * _NO_PTS + (self.dts is None) * _NO_DTS + (self.trim != (0, 0)) * _TRIMMED
        parts = [pack_varint(self.track), bytes((flags,))]
        if self.dts is not None:
            parts.append(pack_time(self.dts))
        if self.pts is not None:
            parts.append(pack_time(self.pts - (self.dts or 0)))
        parts.append(pack_varint(self.duration, 64))
        if flags & _TRIMMED:
            parts += [pack_varint(samples) for samples in self.trim]
        return b"".join((*parts, self.data))

    @classmethod
    def parse(cls, payload: bytes) -> PacketUnit:
        """The packet from the payload of a PACKET unit; FormatError when it is malformed."""
        source = FieldReader(payload, "the packet")
        track, flags = source.varint("track"), source.integer("flags", 1)
        if flags > MAX_FLAGS:
            msg = f"the packet: flags is {flags}, must be 0..{MAX_FLAGS}"
            raise FormatError(msg)
        dts = None if flags & _NO_DTS else source.time("dts")
        pts = None if flags & _NO_PTS else source.time("pts") + (dts or 0)
        duration = source.varint("duration", 64)
        trim = (source.varint("trim"), source.varint("trim")) if flags & _TRIMMED else (0, 0)
        if flags & _TRIMMED and trim == (0, 0):
            msg = "the packet: both numbers of trim are 0, must not be there"
            raise FormatError(msg)
        data = source.rest()
        return source.made(
            lambda: cls(
                track=track,
                pts=pts,
                dts=dts,
                duration=duration,
                data=data,
                key=bool(flags & KEY),
                discard=bool(flags & DISCARD),
                trim=trim,
            )
        )


_MASTERING = (
    *(Integer(name, 2, 0, 65535) for name in ("red_x", "red_y", "green_x", "green_y", "blue_x", "blue_y")),
    *(Integer(name, 2, 0, 65535) for name in ("white_x", "white_y")),
    Integer("max_luminance", 4, 0, _U32),
    Integer("min_luminance", 4, 0, _U32),
)
_LIGHT = (Integer("max_content", 2, 0, 65535), Integer("max_frame_average", 2, 0, 65535))
_HAS_MASTERING, _HAS_LIGHT = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MasteringDisplay:
    """The display on which a sequence was graded, SMPTE ST 2086. Any field out of range raises InputError.

    Chromaticities in steps of 1/50000, luminances in steps of 1/10000 cd/m2.
    """

    red_x: int
    red_y: int
    green_x: int
    green_y: int
    blue_x: int
    blue_y: int
    white_x: int
    white_y: int
    max_luminance: int
    min_luminance: int

    def __post_init__(self) -> None:
        check_integers(self, _MASTERING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLight:
    """MaxCLL and MaxFALL, CTA-861.3: light level of the content in cd/m2. Any field out of range raises InputError."""

    max_content: int
    max_frame_average: int

    def __post_init__(self) -> None:
        check_integers(self, _LIGHT)


@dataclass(frozen=True, slots=True)
class HdrUnit:
    """HDR side data of a sequence; what is not known is None."""

    mastering: MasteringDisplay | None = field(default=None)
    light: ContentLight | None = field(default=None)

    def pack(self) -> bytes:
        """The payload of the HDR unit."""
        flags = (self.mastering is not None) * _HAS_MASTERING + (self.light is not None) * _HAS_LIGHT
        parts = [bytes((flags,))]
        if self.mastering is not None:
            parts.append(pack_integers(self.mastering, _MASTERING))
        if self.light is not None:
            parts.append(pack_integers(self.light, _LIGHT))
        return b"".join(parts)

    @classmethod
    def parse(cls, payload: bytes, minor: int) -> HdrUnit:
        """The side data from the payload of an HDR unit; minor: minor version of the stream, a later one may append.

        FormatError when it is malformed.
        """
        source = FieldReader(payload, "the HDR side data")
        flags = source.integer("flags", 1)
        if minor <= SEQUENCE_MINOR and flags > _HAS_MASTERING + _HAS_LIGHT:
            msg = f"the HDR side data: flags is {flags}, must be 0..3"
            raise FormatError(msg)
        mastering = MasteringDisplay(**source.integers(_MASTERING)) if flags & _HAS_MASTERING else None
        light = ContentLight(**source.integers(_LIGHT)) if flags & _HAS_LIGHT else None
        if minor <= SEQUENCE_MINOR:
            source.end()
        return cls(mastering, light)
