"""Clips apart from files: what a clip is, and one of its frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from nacre.bitstream.cicp import Colour
from nacre.bitstream.tracks import HdrUnit
from nacre.compensation import Planes

UNSPECIFIED = Colour(primaries=2, transfer=2, matrix=2, full_range=0)
"""The description of YCbCr samples of which nothing is said: limited range, as everywhere in video."""
DEFAULT_RATE = Fraction(25)
"""Frames a second where nothing says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipInfo:
    """What the frames of a clip are and how they are to be shown.

    width, height: luma samples, odd ones too. time_base: seconds of one unit of a frame's time. frame_rate: average, in
    frames a second, 0 when it is not known. colour: CICP numbers. chroma_location: 0 not known, otherwise 1 +
    ChromaLocType of ITU-T H.273, 1..6. sample_aspect_ratio: width of a sample over its height, 0 when it is not known.
    rotation: clockwise quarter turns that show the frames upright, 0..3. hdr: HDR side data, if there are any.
    frames, duration (seconds): as the file tells them, of the part that is read; None when it does not.
    """

    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction = Fraction(0)
    colour: Colour = field(default=UNSPECIFIED)
    chroma_location: int = 0
    sample_aspect_ratio: Fraction = Fraction(0)
    rotation: int = 0
    hdr: HdrUnit | None = None
    frames: int | None = None
    duration: Fraction | None = None

    @property
    def frame_duration(self) -> int:
        """The usual duration of a frame in units of time_base, at least 1."""
        return max(1, round(1 / ((self.frame_rate or DEFAULT_RATE) * self.time_base)))


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. planes: 8-bit YUV 4:2:0. pts: when it is shown, duration: how long, at least 1, both in units of the
    clip's time base. key: asks an encoder to begin a GOP with it."""

    planes: Planes
    pts: int
    duration: int
    key: bool = False
