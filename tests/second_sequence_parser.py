"""A second reader of sequences, written from bitstream/SPEC.md alone; it shares no line with the product.

It gives all fields of all units, with absolute times and numbers, and decodes no symbols. Numbers in brackets name
sections of the specification.

    python tests/second_sequence_parser.py STREAM
"""

from __future__ import annotations

import math
import string
import sys
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path

from second_parser import PROFILE_LETTERS, SIGNATURE, Bytes, read_unit, require

HEADER, INTRA_FRAME, PREDICTED_FRAME, SEEK_INDEX, END = 0x10, 0x11, 0x12, 0x13, 0x0F
PACKET, TRACK, HDR = 0x95, 0x96, 0x97
METADATA = {0x90: "ICC_PROFILE", 0x91: "EXIF", 0x92: "XMP"}
CODEC_LETTERS = frozenset(string.ascii_letters + string.digits + "_.-")


class Fields(Bytes):
    """[1]"""

    def varint64(self) -> int:
        value, shift, byte = 0, 0, 0x80
        while byte >= 0x80:
            require(shift < 70, "a varint64 has more than 10 bytes")
            byte = self.unsigned(1)
            value |= (byte & 0x7F) << shift
            shift += 7
        require((byte > 0 or shift == 7) and value < 2**64, "a varint64 is not in its shortest form, or too large")
        return value

    def time(self) -> int:
        half, odd = divmod(self.varint64(), 2)
        return as_time(-half - 1 if odd else half)

    def ratio(self, positive: bool = False) -> Fraction:
        numerator, denominator = self.unsigned(4), self.unsigned(4)
        require(numerator < 2**31 and 1 <= denominator < 2**31, "a term of a ratio is out of range")
        require(math.gcd(numerator, denominator) == 1, "a ratio is not in lowest terms")
        require(numerator > 0 or not positive, "a ratio is 0")
        return Fraction(numerator, denominator)

    def text(self, longest: int = 255) -> str:
        data = self.take(self.unsigned(1))
        require(len(data) <= longest and not any(byte < 0x20 or byte == 0x7F for byte in data), "a bad text")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            require(False, str(error))
            raise

    def finish(self, minor: int) -> None:
        require(self.left == 0 or minor > 4, "bytes behind the last field")


def as_time(value: int) -> int:
    require(abs(value) < 2**62, "a time is out of range")
    return value


@dataclass(frozen=True)
class Header:
    """[18]"""

    width: int
    height: int
    bit_depth: int
    chroma: int
    colour: tuple[int, ...]
    chroma_location: int
    rotation: int
    sample_aspect_ratio: Fraction
    time_base: Fraction
    frame_rate: Fraction
    frame_duration: int
    first_frame: int
    profile: str
    digest: bytes
    skip_threshold: int


@dataclass(frozen=True)
class Frame:
    """[18]"""

    key: bool
    number: int
    timestamp: int
    duration: int
    quality: int
    live_channels: int
    check: int
    code: bytes


@dataclass(frozen=True)
class Track:
    """[18]"""

    number: int
    kind: int
    codec: str
    time_base: Fraction
    disposition: int
    language: str
    title: str
    layout: str
    sample_rate: int
    channels: int
    frame_size: int
    bit_rate: int
    extradata: bytes


@dataclass(frozen=True)
class Packet:
    """[18]"""

    track: int
    key: bool
    discard: bool
    dts: int | None
    pts: int | None
    duration: int
    trim: tuple[int, int]
    data: bytes


@dataclass
class Sequence:
    version: tuple[int, int]
    header: Header
    tracks: list[Track] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)
    hdr: tuple[list[int] | None, list[int] | None] | None = None  # mastering display, content light level
    items: list[Frame | Packet] = field(default_factory=list)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)  # of intra frames: offset to number and timestamp
    index: list[tuple[int, int, int]] | None = None
    skipped: list[int] = field(default_factory=list)


def read_header(payload: bytes, minor: int) -> Header:
    data = Fields(payload)
    width, height = data.unsigned(4), data.unsigned(4)
    depth, chroma, *colour, location, rotation = data.take(8)
    require(1 <= width <= 65535 and 1 <= height <= 65535, "bad size")
    require(depth == 8 and chroma == 2 and colour[3] <= 1 and location <= 6 and rotation <= 3, "bad format of samples")
    aspect, base, rate = data.ratio(), data.ratio(positive=True), data.ratio()
    duration, first = data.unsigned(4), data.unsigned(4)
    require(duration >= 1, "no frame duration")
    length = data.unsigned(1)
    require(1 <= length <= 16, "bad length of the profile")
    profile, digest, threshold = data.take(length), data.take(8), data.unsigned(1)
    require(PROFILE_LETTERS.issuperset(profile) and threshold <= 63, "bad profile or skip threshold")
    data.finish(minor)
    rest = (aspect, base, rate, duration, first, profile.decode("ascii"), digest, threshold)
    return Header(width, height, depth, chroma, tuple(colour), location, rotation, *rest)


def read_frame(payload: bytes, key: bool, header: Header, before: Frame | None) -> Frame:
    require(len(payload) <= 4 * 4096 * -(-header.width // 64) * -(-header.height // 64) + 4096, "too large a frame")
    data = Fields(payload)
    due = header.first_frame if before is None else before.number + 1
    if key:
        number, timestamp = data.varint(), data.time()
        require(number == due, "a frame out of order")
    else:
        require(before is not None, "the first frame is predicted")
        assert before is not None
        require(data.unsigned(2) == due % 65536, "a frame out of order")
        number, timestamp = due, before.timestamp + before.duration + data.time()
    duration = header.frame_duration + data.time()
    require(number < 2**32 and 1 <= duration < 2**32, "bad number or duration")
    require(before is None or timestamp > before.timestamp, "timestamps do not ascend")
    require(abs(as_time(timestamp) + duration) < 2**62, "the end of a frame is out of range")
    quality, live, check, code = data.unsigned(2), data.unsigned(2), data.unsigned(4), data.take(data.left)
    require(quality <= 25600 and int(key) <= live <= 1024, "bad quality or live channels")
    require(not code.endswith(b"\0"), "the code ends with a zero byte")
    return Frame(key, number, timestamp, duration, quality, live, check, code)


def read_track(payload: bytes, number: int, minor: int) -> Track:
    data = Fields(payload)
    require(data.unsigned(1) == number, "a track out of order")
    kind, codec, base, disposition = data.unsigned(1), data.text(64), data.ratio(positive=True), data.unsigned(4)
    require(kind in (1, 2) and codec != "" and CODEC_LETTERS.issuperset(codec), "bad kind or codec")
    language, title, layout = data.text(64), data.text(), data.text(128)
    numbers = data.unsigned(4), data.unsigned(2), data.unsigned(4), data.unsigned(4)
    extradata = data.take(data.varint())
    data.finish(minor)
    return Track(number, kind, codec, base, disposition, language, title, layout, *numbers, extradata)


def read_packet(payload: bytes, tracks: int) -> Packet:
    data = Fields(payload)
    track, flags = data.varint(), data.unsigned(1)
    require(track < tracks and flags <= 0x1F, "bad track or flags")
    dts = None if flags & 8 else data.time()
    pts = None if flags & 4 else as_time(data.time() + (dts or 0))
    duration = as_time(data.varint64())
    trim = (data.varint(), data.varint()) if flags & 16 else (0, 0)
    require(trim != (0, 0) or not flags & 16, "an empty trim")
    return Packet(track, bool(flags & 1), bool(flags & 2), dts, pts, duration, trim, data.take(data.left))


def read_hdr(payload: bytes, minor: int) -> tuple[list[int] | None, list[int] | None]:
    data = Fields(payload)
    flags = data.unsigned(1)
    require(flags <= 3 or minor > 4, "bad flags")
    mastering = [data.unsigned(size) for size in (2,) * 8 + (4, 4)] if flags & 1 else None
    light = [data.unsigned(2), data.unsigned(2)] if flags & 2 else None
    data.finish(minor)
    return mastering, light


def read_index(payload: bytes, size: int, sequence: Sequence) -> list[tuple[int, int, int]]:
    data = Fields(payload)
    frames = [item for item in sequence.items if isinstance(item, Frame)]
    count, end = data.varint(), data.time()
    require(count == len(frames) and end == frames[-1].timestamp + frames[-1].duration, "an index of other frames")
    entries, entry = [], (0, 0, 0)
    for _ in range(data.varint()):
        steps = data.varint64(), data.varint(), data.time()
        require(not entries or min(steps) > 0, "entries do not ascend")
        entry = entry[0] + steps[0], entry[1] + steps[1], entry[2] + steps[2]
        require(entry[1] <= frames[-1].number and entry[2] < end, "an entry behind the last frame")
        entries.append(entry)
    require(len(entries) >= 1 and entries[0][1] == sequence.header.first_frame, "no entry of the first frame")
    require(data.unsigned(4) == size, "bad size of the index")
    data.finish(4)
    return entries


def parse(stream: bytes) -> Sequence:
    """Take a sequence apart. [2, 3, 14, 18]"""
    data = Bytes(stream)
    require(data.take(8) == SIGNATURE, "not an .ncr stream")
    major, minor = data.take(2)
    require(major == 0 and minor >= 4, "a version that has no sequences")
    kind, payload = read_unit(data)
    require(kind == HEADER, "no sequence header")
    result = Sequence((major, minor), read_header(payload, minor))
    before: Frame | None = None
    while True:
        start = data.at
        kind, payload = read_unit(data)
        if kind == END:
            require(payload == b"" and data.left == 0, "bytes in or behind END")
            require(before is not None, "no frames")
            return result
        require(result.index is None, "a unit behind the index")
        if kind in (INTRA_FRAME, PREDICTED_FRAME):
            before = read_frame(payload, kind == INTRA_FRAME, result.header, before)
            result.items.append(before)
            if before.key:
                result.places[start] = before.number, before.timestamp
        elif kind == PACKET:
            result.items.append(read_packet(payload, len(result.tracks)))
        elif kind == SEEK_INDEX:
            require(before is not None, "an index of no frames")
            result.index = read_index(payload, data.at - start, result)
        elif kind in (TRACK, HDR) or kind in METADATA:
            require(not result.items, "a unit that comes too late")
            if kind == TRACK:
                result.tracks.append(read_track(payload, len(result.tracks), minor))
            elif kind == HDR:
                require(result.hdr is None, "HDR twice")
                result.hdr = read_hdr(payload, minor)
            else:
                require(METADATA[kind] not in result.metadata, "a metadata unit twice")
                result.metadata[METADATA[kind]] = payload
        else:
            require(kind >= 0x80, f"unit {kind:02x} is critical and not of a sequence")
            result.skipped.append(kind)


def main() -> None:
    sequence = parse(Path(sys.argv[1]).read_bytes())
    print(asdict(sequence.header), sequence.hdr, sequence.index, sequence.skipped)
    for entry in [*sequence.tracks, *sequence.items]:
        print({name: len(value) if isinstance(value, bytes) else value for name, value in asdict(entry).items()})


if __name__ == "__main__":
    main()
