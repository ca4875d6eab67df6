"""The picture header: all that decoding needs to know besides the symbols, one declaration for both directions."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import FormatError, InputError
from nacre.bitstream.geometry import tile_count
from nacre.bitstream.units import FIRST_MINOR, VERSION_MINOR

DIGEST_BYTES = 8
MAX_QUALITY = 25600
GREY = 0
RGB = 1
NO_ALPHA = 0
STRAIGHT_ALPHA = 1
ALPHA_MINOR = 3
"""The first minor version whose header has the field alpha."""

_PROFILE = re.compile(r"[a-z0-9_-]{1,16}\Z")


class _Integer(NamedTuple):
    """An unsigned little-endian integer of the header: name, bytes, lowest and highest legal value."""

    name: str
    width: int
    low: int
    high: int


_BEFORE_COLOUR = (
    _Integer("width", 4, 1, 65535),
    _Integer("height", 4, 1, 65535),
    _Integer("bit_depth", 1, 8, 8),
    _Integer("chroma", 1, GREY, RGB),
)
_COLOUR = ("primaries", "transfer", "matrix", "full_range")
_AFTER_DIGEST = (
    _Integer("quality", 2, 0, MAX_QUALITY),
    _Integer("live_channels", 2, 1, 1024),
    _Integer("skip_threshold", 1, 0, 63),
    _Integer("tile_size", 2, 0, 65535),
    _Integer("tile_margin", 2, 0, 65535),
)
_SINCE_ALPHA = (_Integer("alpha", 1, NO_ALPHA, STRAIGHT_ALPHA),)


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
        for name, _, low, high in _BEFORE_COLOUR + _AFTER_DIGEST + _SINCE_ALPHA:
            value = getattr(self, name)
            try:
                number = operator.index(value)
            except TypeError:
                msg = f"{name} is {value!r}, must be an integer"
                raise InputError(msg) from None
            if not low <= number <= high:
                legal = f"{low}..{high}" if low < high else f"{low}"
                msg = f"{name} is {number}, must be {legal}"
                raise InputError(msg)
            object.__setattr__(self, name, number)
        if not _PROFILE.match(self.profile):
            msg = f"profile is {self.profile!r}, must be 1 to 16 characters of a-z, 0-9, _ and -"
            raise InputError(msg)
        if len(self.digest) != DIGEST_BYTES:
            msg = f"digest has {len(self.digest)} bytes, must be {DIGEST_BYTES}"
            raise InputError(msg)
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
        parts = [getattr(self, name).to_bytes(width, "little") for name, width, _, _ in _BEFORE_COLOUR]
        parts.append(bytes(getattr(self.colour, name) for name in _COLOUR))
        parts.append(bytes((len(self.profile),)) + self.profile.encode("ascii"))
        parts.append(self.digest)
        fields = _AFTER_DIGEST + (_SINCE_ALPHA if self.minor >= ALPHA_MINOR else ())
        parts += [getattr(self, name).to_bytes(width, "little") for name, width, _, _ in fields]
        return b"".join(parts)

    @classmethod
    def parse(cls, payload: bytes, minor: int) -> PictureHeader:
        """The header from the payload of a PICTURE_HEADER unit; minor: minor version of the stream.

        Raises FormatError when the payload is too short, holds a value out of range, or is longer than the fields of a
        version that this reader knows. What another minor version appended is not looked at: that of later ones, and
        of version 2, which has no fields of its own.
        """
        source = _Source(payload)
        values = {name: source.integer(name, width) for name, width, _, _ in _BEFORE_COLOUR}
        colour = {name: source.integer(name, 1) for name in _COLOUR}
        profile = source.take("profile", source.integer("profile length", 1)).decode("latin-1")
        digest = source.take("digest", DIGEST_BYTES)
        fields = _AFTER_DIGEST + (_SINCE_ALPHA if minor >= ALPHA_MINOR else ())
        values |= {name: source.integer(name, width) for name, width, _, _ in fields}
        if source.left and minor in (FIRST_MINOR, VERSION_MINOR):
            msg = f"the picture header has {source.left} bytes behind its last field, must have none"
            raise FormatError(msg)
        try:
            return cls(profile=profile, digest=digest, colour=Colour(**colour), **values)
        except InputError as error:
            msg = f"picture header: {error}"
            raise FormatError(msg) from error


class _Source:
    """The bytes of a payload, taken from the front; FormatError when a field reaches beyond the end."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._payload) - self._position

    def take(self, name: str, size: int) -> bytes:
        if size > self.left:
            msg = f"the picture header ends inside {name}: {size} bytes are due, {self.left} are left"
            raise FormatError(msg)
        start = self._position
        self._position += size
        return self._payload[start : self._position]

    def integer(self, name: str, width: int) -> int:
        return int.from_bytes(self.take(name, width), "little")
