"""What a stream says of itself, without weights and without decoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nacre.bitstream.header import GREY, NO_ALPHA, PictureHeader
from nacre.bitstream.limits import Limits
from nacre.bitstream.picture import PictureReader
from nacre.bitstream.sequence import SNIFF_BYTES, is_sequence
from nacre.bitstream.units import BinaryReader, Part, unit_name
from nacre.sequenceinfo import SequenceInfo, inspect_sequence
from nacre.sources import Pushed, Source, open_source

QUALITY_STEPS = 256


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """Header, version and sizes of a stream.

    size: bytes of the whole stream; of these, payload_size: the range coder's, alpha_size: those of the zlib streams of
    the alpha; metadata: bytes of each payload by the name of its unit; parts: signature and units in order.
    """

    header: PictureHeader
    version: tuple[int, int]
    size: int
    payload_size: int
    alpha_size: int
    metadata: Mapping[str, int]
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
        header = self.header
        return {
            "format": "nacre",
            "version": f"{self.version[0]}.{self.version[1]}",
            "width": header.width,
            "height": header.height,
            "bit_depth": header.bit_depth,
            "chroma": "grey" if header.chroma == GREY else "rgb",
            "alpha": "none" if header.alpha == NO_ALPHA else "straight",
            "colour": header.colour.to_dict(),
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
            "alpha_bytes": self.alpha_size,
            "metadata": dict(self.metadata),
            "overhead_bytes": self.size - self.payload_size - self.alpha_size - sum(self.metadata.values()),
            "bits_per_pixel": self.bits_per_pixel,
            "parts": [{"name": part.name, "offset": part.offset, "bytes": part.size} for part in self.parts],
        }


def inspect_stream(source: Source, limits: Limits | None = None) -> PictureInfo | SequenceInfo:
    """Read a whole stream, of a picture or a clip, and check its structure and checksums; raises FormatError and its
    kinds, LimitError."""
    with open_source(source) as reader:
        start = b""
        while len(start) < SNIFF_BYTES and (more := reader.read(SNIFF_BYTES - len(start))):
            start += more
        whole = Pushed(start, reader)
        return inspect_sequence(whole, limits) if is_sequence(start) else _inspect_picture(whole, limits)


def inspect_picture(source: Source, limits: Limits | None = None) -> PictureInfo:
    """As inspect_stream, of a picture; FormatError for a clip."""
    with open_source(source) as reader:
        return _inspect_picture(reader, limits)


def _inspect_picture(file: BinaryReader, limits: Limits | None) -> PictureInfo:
    units = PictureReader(file, limits)
    for _ in units:
        pass
    return picture_info(units)


def picture_info(units: PictureReader) -> PictureInfo:
    """What a stream says of itself, from its reader after the last unit."""
    first, last = units.parts[0], units.parts[-1]
    return PictureInfo(
        header=units.header,
        version=units.version,
        size=last.offset + last.size,
        payload_size=units.payload_size,
        alpha_size=units.alpha_size,
        metadata={unit_name(unit_type): len(payload) for unit_type, payload in units.metadata.items()},
        parts=(Part("signature and version", 0, first.offset), *units.parts),
    )
