"""What a stream says of itself, without weights and without decoding."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from nacre.bitstream.header import GREY, PictureHeader
from nacre.bitstream.limits import Limits
from nacre.bitstream.picture import PictureStream, read_picture
from nacre.bitstream.units import SIGNATURE, UnitReader, unit_name
from nacre.sources import Readable, Recorder, Source, open_source

QUALITY_STEPS = 256


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the stream: name, offset of its first byte, bytes with framing."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """Header, version and sizes of a stream.

    size: bytes of the whole stream; payload_size: of these, the range coder's; parts: signature and units in order.
    """

    header: PictureHeader
    version: tuple[int, int]
    size: int
    payload_size: int
    parts: tuple[Part, ...]

    @property
    def quality(self) -> float:
        """Quality in 0..100."""
        return self.header.quality / QUALITY_STEPS

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the whole stream for each pixel of the picture."""
        return self.size * 8 / (self.header.width * self.header.height)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        header, colour = self.header, self.header.colour
        return {
            "format": "nacre",
            "version": f"{self.version[0]}.{self.version[1]}",
            "width": header.width,
            "height": header.height,
            "bit_depth": header.bit_depth,
            "chroma": "grey" if header.chroma == GREY else "rgb",
            "colour": {
                "primaries": colour.primaries,
                "transfer": colour.transfer,
                "matrix": colour.matrix,
                "full_range": bool(colour.full_range),
                "description": colour.describe(),
            },
            "profile": header.profile,
            "digest": header.digest.hex(),
            "quality": self.quality,
            "live_channels": header.live_channels,
            "skip_threshold": header.skip_threshold,
            "tile_size": header.tile_size,
            "tile_margin": header.tile_margin,
            "tiles": header.tile_count,
            "bytes": self.size,
            "payload_bytes": self.payload_size,
            "overhead_bytes": self.size - self.payload_size,
            "bits_per_pixel": self.bits_per_pixel,
            "parts": [{"name": part.name, "offset": part.offset, "bytes": part.size} for part in self.parts],
        }


def inspect_stream(source: Source, limits: Limits | None = None) -> PictureInfo:
    """Read a whole stream and check its structure and checksums; raises FormatError and its kinds, LimitError."""
    with open_source(source) as reader:
        return read_with_info(reader, limits)[1]


def read_with_info(reader: Readable, limits: Limits | None = None) -> tuple[PictureStream, PictureInfo]:
    """The stream, read as `read_picture` does, and what it says of itself."""
    recorder = Recorder(reader)
    picture = read_picture(recorder, limits)
    units = UnitReader(io.BytesIO(recorder.data), limits)
    parts = [Part("signature and version", 0, len(SIGNATURE) + 2)]
    parts += [Part(unit_name(unit.type), unit.offset, unit.size) for unit in units]
    payload_size = sum(len(tile.payload) for tile in picture.tiles)
    return picture, PictureInfo(picture.header, picture.version, len(recorder.data), payload_size, tuple(parts))
