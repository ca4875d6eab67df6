"""The picture header: all that decoding needs to know besides the symbols, one declaration for both directions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError
from nacre.bitstream.fields import FieldReader, Integer, check_integers, pack_integers
from nacre.bitstream.geometry import tile_count
from nacre.bitstream.units import FIRST_MINOR

DIGEST_BYTES = 8
MAX_QUALITY = 25600
GREY = 0
RGB = 1
NO_ALPHA = 0
STRAIGHT_ALPHA = 1
ALPHA_MINOR = 3
"""The first minor version whose header has the field alpha."""

_PROFILE = re.compile(r"[a-z0-9_-]{1,16}\Z")


_BEFORE_COLOUR = (
    Integer("width", 4, 1, 65535),
    Integer("height", 4, 1, 65535),
    Integer("bit_depth", 1, 8, 8),
    Integer("chroma", 1, GREY, RGB),
)
COLOUR_FIELDS = tuple(Integer(name, 1, 0, 255) for name in ("primaries", "transfer", "matrix", "full_range"))
"""CICP numbers, in their order; what they may be is the business of `Colour`."""
_AFTER_DIGEST = (
    Integer("quality", 2, 0, MAX_QUALITY),
    Integer("live_channels", 2, 1, 1024),
    Integer("skip_threshold", 1, 0, 63),
    Integer("tile_size", 2, 0, 65535),
    Integer("tile_margin", 2, 0, 65535),
)
_SINCE_ALPHA = (Integer("alpha", 1, NO_ALPHA, STRAIGHT_ALPHA),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """What a picture is and how its tiles are to be decoded. Any field out of range raises InputError.

    width, height: pixels, 1..65535. chroma: 0 grey, 1 RGB 4:4:4. quality: steps of 1/256, 0..25600. profile: name of
    the weights, 1..16 of a-z 0-9 _ -. digest: first 8 bytes of the SHA-256 of the weights' decoder side.
    live_channels: y channels that are coded, 1..1024. skip_threshold: scale index below which a y symbol is 0 and not
    coded, 0..63. tile_size: pixels, a multiple of 64, or 0 when the picture is one tile. tile_margin: pixels by which
    neighbouring tiles reach into each other, a multiple of 16 and at most a quarter of tile_size, 0 with one tile.
    bit_depth: 8. alpha: 0 none, 1 straight alpha, kept exactly.
    """

    width: int
    height: int
    chroma: int
    quality: int
    profile: str
    digest: bytes
    live_channels: int
    skip_threshold: int
    tile_size: int = 0
    tile_margin: int = 0
    bit_depth: int = 8
    colour: Colour = field(default_factory=Colour)
    alpha: int = NO_ALPHA

    def __post_init__(self) -> None:
        check_integers(self, _BEFORE_COLOUR + _AFTER_DIGEST + _SINCE_ALPHA)
        check_identity(self.profile, self.digest)
        self._check_tiling()

    def _check_tiling(self) -> None:
        if self.tile_size % 64:
            msg = f"tile_size is {self.tile_size}, must be 0 or a multiple of 64"
            raise InputError(msg)
        if self.tile_margin == 0:
            return
        if self.tile_count == 1:
            msg = f"tile_margin is {self.tile_margin}, must be 0 for a picture of one tile"
            raise InputError(msg)
        if self.tile_margin % 16 or 4 * self.tile_margin > self.tile_size:
            highest = self.tile_size // 64 * 16
            msg = f"tile_margin is {self.tile_margin}, must be a multiple of 16 in 0..{highest} (tile_size / 4)"
            raise InputError(msg)

    @property
    def tile_count(self) -> int:
        """Number of tiles of the picture."""
        return tile_count(self.width, self.height, self.tile_size)

    @property
    def minor(self) -> int:
        """The lowest minor version of the format that has all fields that this picture needs."""
        return FIRST_MINOR if self.alpha == NO_ALPHA else ALPHA_MINOR

    def pack(self) -> bytes:
        """The payload of the PICTURE_HEADER unit of a stream of version `minor`."""
        fields = _AFTER_DIGEST + (_SINCE_ALPHA if self.minor >= ALPHA_MINOR else ())
        return b"".join(
            (
                pack_integers(self, _BEFORE_COLOUR),
                pack_integers(self.colour, COLOUR_FIELDS),
                pack_identity(self.profile, self.digest),
                pack_integers(self, fields),
            )
        )

    @classmethod
    def parse(cls, payload: bytes, minor: int) -> PictureHeader:
        """The header from the payload of a PICTURE_HEADER unit; minor: minor version of the stream.

        Raises FormatError when the payload is too short, holds a value out of range, or is longer than the fields of a
        version that a writer gives pictures, 1 or 3. What stands behind the fields in another one is not looked at.
        """
        source = FieldReader(payload, "the picture header")
        values = source.integers(_BEFORE_COLOUR)
        colour = source.integers(COLOUR_FIELDS)
        profile, digest = parse_identity(source)
        values |= source.integers(_AFTER_DIGEST + (_SINCE_ALPHA if minor >= ALPHA_MINOR else ()))
        if minor in (FIRST_MINOR, ALPHA_MINOR):
            source.end()
        return source.made(lambda: cls(profile=profile, digest=digest, colour=Colour(**colour), **values))


def check_identity(profile: str, digest: bytes) -> None:
    """InputError unless profile and digest can name weights."""
    if not _PROFILE.match(profile):
        msg = f"profile is {profile!r}, must be 1 to 16 characters of a-z, 0-9, _ and -"
        raise InputError(msg)
    if len(digest) != DIGEST_BYTES:
        msg = f"digest has {len(digest)} bytes, must be {DIGEST_BYTES}"
        raise InputError(msg)


def pack_identity(profile: str, digest: bytes) -> bytes:
    """The name of weights as it stands in a header."""
    return bytes((len(profile),)) + profile.encode("ascii") + digest


def parse_identity(source: FieldReader) -> tuple[str, bytes]:
    """(profile, digest), not checked; FormatError where the header ends before."""
    profile = source.take("profile", source.integer("profile length", 1)).decode("latin-1")
    return profile, source.take("digest", DIGEST_BYTES)
