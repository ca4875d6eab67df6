"""Sequences made for tests: arbitrary bytes in place of what a range coder or another codec would give."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from nacre.bitstream import (
    AUDIO,
    SUBTITLE,
    ContentLight,
    FrameUnit,
    HdrUnit,
    MasteringDisplay,
    PacketUnit,
    SequenceHeader,
    SequenceWriter,
    TrackUnit,
    UnitType,
    write_signature,
    write_unit,
)

HEADER = SequenceHeader(
    width=37,
    height=23,
    time_base=Fraction(1, 15360),
    frame_duration=512,
    frame_rate=Fraction(30),
    profile="test",
    digest=b"\0\1\2\3\xfc\xfd\xfe\xff",
    skip_threshold=3,
    chroma_location=1,
    sample_aspect_ratio=Fraction(40, 33),
    rotation=1,
)
TRACKS = (
    TrackUnit(
        number=0,
        kind=AUDIO,
        codec="aac",
        time_base=Fraction(1, 48000),
        extradata=b"\x11\x90",
        language="eng",
        title="Caf\u00e9",
        disposition=1,
        sample_rate=48000,
        channels=2,
        layout="stereo",
        frame_size=1024,
        bit_rate=128000,
    ),
    TrackUnit(number=1, kind=SUBTITLE, codec="subrip", time_base=Fraction(1, 1000)),
)
HDR = HdrUnit(
    MasteringDisplay(
        red_x=34000,
        red_y=16000,
        green_x=13250,
        green_y=34500,
        blue_x=7500,
        blue_y=3000,
        white_x=15635,
        white_y=16450,
        max_luminance=10_000_000,
        min_luminance=50,
    ),
    ContentLight(max_content=1000, max_frame_average=400),
)
METADATA = {int(UnitType.XMP): b"<x/>"}

Item = FrameUnit | PacketUnit


def make_items(seed: int = 1, gops: Sequence[int] = (4, 1, 3, 5), packets: bool = True) -> list[Item]:
    """Frames in GOPs of these lengths, codes of up to some hundred bytes; packets of both tracks between them."""
    source = random.Random(seed)
    items: list[Item] = []
    timestamp, number = -700, 0
    for length in gops:
        for place in range(length):
            duration = 512 if number % 3 else source.choice((1, 511, 2000))
            items.append(
                FrameUnit(
                    key=place == 0,
                    number=number,
                    timestamp=timestamp,
                    duration=duration,
                    quality=source.randint(0, 25600),
                    live_channels=source.randint(1, 1024) if place == 0 else source.randint(0, 192),
                    check=source.getrandbits(32),
                    payload=source.randbytes(source.choice((0, 3, 40, 100, 200))) + b"x",
                )
            )
            timestamp += duration + (number % 5 == 4) * 7  # now and then there is no frame for a while
            number += 1
            if packets:
                items.append(
                    PacketUnit(
                        track=0,
                        pts=number * 1024,
                        dts=number * 1024 - 3,
                        duration=1024,
                        data=source.randbytes(source.choice((0, 2, 60, 130))),
                        trim=(0, 300) if number == 6 else (0, 0),
                    )
                )
            if packets and number % 4 == 0:
                items.append(PacketUnit(track=1, pts=number * 33, dts=None, duration=900, data=b"Hello", key=False))
    return items


def shortened(items: Sequence[Item], longest: int) -> list[Item]:
    """The same with at most `longest` bytes of each frame and packet."""
    return [
        replace(item, payload=item.payload[-longest:])
        if isinstance(item, FrameUnit)
        else replace(item, data=item.data[:longest])
        for item in items
    ]


def packed(items: Sequence[Item], header: SequenceHeader = HEADER, index: bool = True, full: bool = True) -> bytes:
    """A whole stream; full: with metadata, HDR side data and tracks."""
    file = io.BytesIO()
    writer = SequenceWriter(file, header, METADATA if full else None, HDR if full else None, index)
    for track in TRACKS if full else ():
        writer.track(track)
    for item in items:
        if isinstance(item, FrameUnit):
            writer.frame(item)
        else:
            writer.packet(item)
    writer.close()
    assert writer.size == len(file.getvalue())
    return file.getvalue()


def stream(units: Sequence[tuple[int, bytes]], minor: int = 4) -> bytes:
    """A stream of these units, whatever they are."""
    file = io.BytesIO()
    write_signature(file, minor)
    for unit_type, payload in units:
        write_unit(file, unit_type, payload)
    return file.getvalue()


def units_of(data: bytes) -> list[tuple[int, int, int]]:
    """(type, offset, bytes with framing) of the units of an intact stream of units below 16384 bytes."""
    found, at = [], 10
    while at < len(data):
        length, head = data[at + 1], 2
        if length >= 0x80:
            length, head = (length & 0x7F) | data[at + 2] << 7, 3
        found.append((data[at], at, head + length + 4))
        at += head + length + 4
    return found
