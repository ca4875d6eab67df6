"""The sequence header: what all frames of a sequence share, one declaration for both directions."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from nacre.bitstream.cicp import Colour
from nacre.bitstream.fields import FieldReader, Integer, check_integers, check_ratio, pack_integers, pack_ratio
from nacre.bitstream.geometry import padded_size
from nacre.bitstream.header import COLOUR_FIELDS, check_identity, pack_identity, parse_identity

YUV420 = 2
"""The chroma format of sequences: one luma plane, two chroma planes of half its width and height, rounded up."""
SEQUENCE_MINOR = 4
"""The first minor version that has sequences, the one that a writer gives them."""
MAX_NUMBER = (1 << 32) - 1
"""The largest number of a frame."""
BT709 = Colour(primaries=1, transfer=1, matrix=1, full_range=0)

_FRAME_BYTES = 4096  # that a frame may have beside 4 for each padded luma sample
_BEFORE_COLOUR = (
    Integer("width", 4, 1, 65535),
    Integer("height", 4, 1, 65535),
    Integer("bit_depth", 1, 8, 8),
    Integer("chroma", 1, YUV420, YUV420),
)
_AFTER_COLOUR = (Integer("chroma_location", 1, 0, 6), Integer("rotation", 1, 0, 3))
_AFTER_RATIOS = (Integer("frame_duration", 4, 1, (1 << 32) - 1), Integer("first_frame", 4, 0, MAX_NUMBER))
_AFTER_DIGEST = (Integer("skip_threshold", 1, 0, 63),)
_RATIOS = (("sample_aspect_ratio", 0), ("time_base", 1), ("frame_rate", 0))  # and the lowest numerator


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceHeader:
    """What the frames of a sequence are and how they are to be decoded. Any field out of range raises InputError.

    width, height: luma samples, 1..65535, odd ones too. time_base: seconds of one unit of a frame's time.
    frame_duration: usual duration of a frame in units of time_base, 1..2^32 - 1; other durations cost more bytes.
    frame_rate: frames a second to tell other formats, 0 when it is not known or varies. profile, digest: name of the
    weights, see PictureHeader. skip_threshold: scale index below which a y symbol is 0 and not coded, 0..63.
    colour: CICP numbers. chroma_location: 0 not known, otherwise 1 + ChromaLocType of ITU-T H.273, 1..6.
    sample_aspect_ratio: width of a sample over its height, 0 when it is not known. rotation: clockwise quarter turns
    that show the frames upright, 0..3. first_frame: number of the first frame. bit_depth: 8. chroma: 2, YUV 4:2:0.
    """

    width: int
    height: int
    time_base: Fraction
    frame_duration: int
    profile: str
    digest: bytes
    skip_threshold: int
    frame_rate: Fraction = Fraction(0)
    colour: Colour = field(default=BT709)
    chroma_location: int = 0
    sample_aspect_ratio: Fraction = Fraction(0)
    rotation: int = 0
    first_frame: int = 0
    bit_depth: int = 8
    chroma: int = YUV420

    def __post_init__(self) -> None:
        check_integers(self, _BEFORE_COLOUR + _AFTER_COLOUR + _AFTER_RATIOS + _AFTER_DIGEST)
        for name, low in _RATIOS:
            object.__setattr__(self, name, check_ratio(name, getattr(self, name), low))
        check_identity(self.profile, self.digest)

    @property
    def max_frame_bytes(self) -> int:
        """The largest payload of a frame: 4 bytes for each luma sample of the padded frame, and 4096."""
        width, height = padded_size(self.width, self.height)
        return 4 * width * height + _FRAME_BYTES

    def pack(self) -> bytes:
        """The payload of the SEQUENCE_HEADER unit."""
        return b"".join(
            (
                pack_integers(self, _BEFORE_COLOUR),
                pack_integers(self.colour, COLOUR_FIELDS),
                pack_integers(self, _AFTER_COLOUR),
                *(pack_ratio(getattr(self, name)) for name, _ in _RATIOS),
                pack_integers(self, _AFTER_RATIOS),
                pack_identity(self.profile, self.digest),
                pack_integers(self, _AFTER_DIGEST),
            )
        )

    @classmethod
    def parse(cls, payload: bytes, minor: int) -> SequenceHeader:
        """The header from the payload of a SEQUENCE_HEADER unit; minor: minor version of the stream.

        Raises FormatError when the payload is too short, holds a value out of range, or is longer than the fields of
        version 4. What a later minor version appended is not looked at.
        """
        source = FieldReader(payload, "the sequence header")
        values: dict[str, Any] = {**source.integers(_BEFORE_COLOUR)}
        colour = source.integers(COLOUR_FIELDS)
        values |= source.integers(_AFTER_COLOUR)
        values |= {name: source.ratio(name, low) for name, low in _RATIOS}
        values |= source.integers(_AFTER_RATIOS)
        profile, digest = parse_identity(source)
        values |= source.integers(_AFTER_DIGEST)
        if minor <= SEQUENCE_MINOR:
            source.end()
        return source.made(lambda: cls(profile=profile, digest=digest, colour=Colour(**colour), **values))
