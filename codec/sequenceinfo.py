"""What a sequence says of itself, without weights and without decoding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from nacre.bitstream.errors import TruncatedError
from nacre.bitstream.frames import FrameUnit
from nacre.bitstream.header import MAX_QUALITY
from nacre.bitstream.limits import Limits
from nacre.bitstream.sequence import SequenceReader
from nacre.bitstream.sequenceheader import SequenceHeader
from nacre.bitstream.tracks import AUDIO, HdrUnit, PacketUnit, TrackUnit
from nacre.bitstream.units import BinaryReader, unit_name

_QUALITY_STEP = 100 / MAX_QUALITY


class FrameInfo(NamedTuple):
    """One coded frame. key: intra, otherwise predicted. size: bytes of its unit. quality: 0..100. timestamp, duration:
    in units of the time base."""

    key: bool
    size: int
    quality: float
    timestamp: int
    duration: int
    live_channels: int


class TrackInfo(NamedTuple):
    """One track: how many packets it has, and the bytes of their units."""

    unit: TrackUnit
    packets: int
    size: int


class FrameSizes(NamedTuple):
    """Frames of one kind: how many, the bytes of their units, lowest and highest quality (0 where there are none)."""

    frames: int
    size: int
    low_quality: float
    high_quality: float


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """Header, version, frames, tracks and sizes of a sequence.

    size: bytes of all whole units. complete: whether it ends with END; one that is still being written, or was cut
    short, does not. hdr: HDR side data, if it has any. metadata: bytes of each payload by the name of its unit.
    index_entries: intra frames in the seek index, None where there is none.
    """

    header: SequenceHeader
    version: tuple[int, int]
    size: int
    complete: bool
    frames: tuple[FrameInfo, ...]
    tracks: tuple[TrackInfo, ...]
    hdr: HdrUnit | None
    metadata: Mapping[str, int]
    index_entries: int | None

    def of_kind(self, *, key: bool) -> FrameSizes:
        """The intra frames, or the predicted frames, together."""
        found = [frame for frame in self.frames if frame.key == key]
        qualities = [frame.quality for frame in found] or [0.0]
        return FrameSizes(len(found), sum(frame.size for frame in found), min(qualities), max(qualities))

    @property
    def longest_gop(self) -> int:
        """Frames of the longest group of pictures."""
        longest = length = 0
        for frame in self.frames:
            length = 1 if frame.key else length + 1
            longest = max(longest, length)
        return longest

    @property
    def start(self) -> Fraction:
        """Seconds at which the first frame is shown."""
        return self.frames[0].timestamp * self.header.time_base if self.frames else Fraction(0)

    @property
    def end(self) -> Fraction:
        """Seconds at which the last frame ends."""
        if not self.frames:
            return Fraction(0)
        return (self.frames[-1].timestamp + self.frames[-1].duration) * self.header.time_base

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last."""
        return self.end - self.start

    @property
    def spacings(self) -> tuple[Fraction, Fraction]:
        """The smallest and the largest time between two frames, in seconds; 0 where there is one frame alone."""
        pairs = zip(self.frames, self.frames[1:], strict=False)
        steps = [after.timestamp - before.timestamp for before, after in pairs] or [0]
        return min(steps) * self.header.time_base, max(steps) * self.header.time_base

    @property
    def frame_size(self) -> int:
        """Bytes of all frames' units."""
        return sum(frame.size for frame in self.frames)

    def bits_per_second(self, size: int) -> float:
        """The average rate of so many bytes over the duration; 0 where there are no frames."""
        return size * 8 / float(self.duration) if self.frames else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times in seconds."""
        header = self.header
        base = float(header.time_base)
        return {
            "format": "nacre",
            "kind": "sequence",
            "version": f"{self.version[0]}.{self.version[1]}",
            "width": header.width,
            "height": header.height,
            "bit_depth": header.bit_depth,
            "chroma": "4:2:0",
            "chroma_location": header.chroma_location,
            "colour": header.colour.to_dict(),
            "sample_aspect_ratio": str(header.sample_aspect_ratio),
            "rotation": 90 * header.rotation,
            "hdr": None if self.hdr is None else asdict(self.hdr),
            "profile": header.profile,
            "digest": header.digest.hex(),
            "skip_threshold": header.skip_threshold,
            "time_base": str(header.time_base),
            "frame_rate": str(header.frame_rate),
            "bytes": self.size,
            "complete": self.complete,
            "frames": len(self.frames),
            "gops": self.of_kind(key=True).frames,
            "longest_gop": self.longest_gop,
            "intra_frames": _describe_sizes(self.of_kind(key=True)),
            "predicted_frames": _describe_sizes(self.of_kind(key=False)),
            "start": float(self.start),
            "duration": float(self.duration),
            "spacings": [float(spacing) for spacing in self.spacings],
            "bits_per_second": self.bits_per_second(self.size),
            "frame_bits_per_second": self.bits_per_second(self.frame_size),
            "tracks": [_describe_track(track) for track in self.tracks],
            "metadata": dict(self.metadata),
            "index_entries": self.index_entries,
            "frame_list": [
                {
                    "type": "intra" if frame.key else "predicted",
                    "bytes": frame.size,
                    "quality": frame.quality,
                    "live_channels": frame.live_channels,
                    "time": frame.timestamp * base,
                    "duration": frame.duration * base,
                }
                for frame in self.frames
            ],
        }


def inspect_sequence(file: BinaryReader, limits: Limits | None = None) -> SequenceInfo:
    """Read a sequence from its first byte on and check its structure and checksums; one that ends early is not
    complete, which is no error. Raises FormatError and its kinds, LimitError."""
    reader = SequenceReader(file, limits)
    frames, packets, sizes = [], Counter[int](), Counter[int]()
    complete = True
    try:
        for item in reader:
            size = reader.part.size
            if isinstance(item, FrameUnit):
                quality = item.quality * _QUALITY_STEP
                frames.append(FrameInfo(item.key, size, quality, item.timestamp, item.duration, item.live_channels))
            elif isinstance(item, PacketUnit):
                packets[item.track] += 1
                sizes[item.track] += size
    except TruncatedError:
        complete = False
    return SequenceInfo(
        header=reader.header,
        version=reader.version,
        size=reader.part.offset + reader.part.size,
        complete=complete,
        frames=tuple(frames),
        tracks=tuple(TrackInfo(unit, packets[number], sizes[number]) for number, unit in reader.tracks.items()),
        hdr=reader.hdr,
        metadata={unit_name(unit_type): len(payload) for unit_type, payload in reader.metadata.items()},
        index_entries=None if reader.index is None else len(reader.index.entries),
    )


def describe_rate(bits_per_second: float) -> str:
    """A rate for people."""
    if bits_per_second < 1e6:
        return f"{bits_per_second / 1e3:.4g} kbit/s"
    return f"{bits_per_second / 1e6:.4g} Mbit/s"


def _describe_sizes(sizes: FrameSizes) -> dict[str, Any]:
    return {"frames": sizes.frames, "bytes": sizes.size, "quality": [sizes.low_quality, sizes.high_quality]}


def _describe_track(track: TrackInfo) -> dict[str, Any]:
    unit = track.unit
    described: dict[str, Any] = {
        "kind": "audio" if unit.kind == AUDIO else "subtitle",
        "codec": unit.codec,
        "language": unit.language,
        "title": unit.title,
        "disposition": unit.disposition,
        "time_base": str(unit.time_base),
        "packets": track.packets,
        "bytes": track.size,
    }
    if unit.kind == AUDIO:
        described |= {"sample_rate": unit.sample_rate, "channels": unit.channels, "layout": unit.layout}
    return described
