"""File formats of decoded pictures: which there are, what each can hold, and which one a target asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from nacre.bitstream.errors import InputError
from nacre.bitstream.units import UnitType

STREAM_SUFFIX = ".ncr"
VIDEO_SUFFIXES = frozenset(
    (
        *(".y4m", ".mkv", ".mp4", ".m4v", ".mov", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob"),
        *(".3gp", ".flv", ".ogv", ".wmv", ".mxf", ".ivf", ".h264", ".264", ".h265", ".265", ".hevc"),
    )
)
CLIP_FORMATS = ("mkv", "mp4", "m4v", "mov", "y4m")
"""Formats that decoded clips are written in, by the name that suffixes and --format use; first the default."""

PNM = "PPM"
"""Pillow's name for PGM, PPM and PAM, which are written row by row."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format to write.

    name: as Pillow calls it. options: those of Pillow's writer that keep the decoded picture as it is. alpha: whether
    it has transparency. metadata: the longest ICC profile, EXIF and XMP it holds, in bytes, by UnitType; none where
    missing. colour: whether it holds CICP numbers. max_side: width and height in pixels.
    """

    name: str
    options: Mapping[str, object] = field(default_factory=dict)
    alpha: bool = False
    metadata: Mapping[int, int] = field(default_factory=dict)
    colour: bool = False
    max_side: int = 65535


_ANY_LENGTH = 1 << 30
_ALL_METADATA: Mapping[int, int] = MappingProxyType(
    dict.fromkeys((UnitType.ICC_PROFILE, UnitType.EXIF, UnitType.XMP), _ANY_LENGTH)
)
_MARKER = 65533  # bytes in a JPEG marker segment, behind its length
_JPEG_METADATA: Mapping[int, int] = MappingProxyType(
    {
        UnitType.ICC_PROFILE: 255 * (_MARKER - len("ICC_PROFILE..n")),
        UnitType.EXIF: _MARKER - len("Exif.."),
        UnitType.XMP: _MARKER - len("http://ns.adobe.com/xap/1.0/."),
    }
)
_JPEG = Format("JPEG", {"quality": 95, "subsampling": 0}, metadata=_JPEG_METADATA, max_side=65500)
_PNM = Format(PNM)
_TIFF = Format("TIFF", {"compression": "tiff_adobe_deflate"}, alpha=True, metadata=_ALL_METADATA)
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "png": Format("PNG", alpha=True, metadata=_ALL_METADATA, colour=True),
        "jpg": _JPEG,
        "jpeg": _JPEG,
        "webp": Format("WEBP", {"lossless": True, "exact": True}, alpha=True, metadata=_ALL_METADATA, max_side=16383),
        "tif": _TIFF,
        "tiff": _TIFF,
        "bmp": Format("BMP"),
        "ppm": _PNM,
        "pgm": _PNM,
        "pnm": _PNM,
        "pam": Format(PNM, alpha=True),
        "tga": Format("TGA", alpha=True),
    }
)
"""Formats that decoded pictures are written in, by the name that suffixes and --format use."""


def formats_with_alpha() -> str:
    """The names of the formats that hold transparency, for messages."""
    return ", ".join(name for name, form in FORMATS.items() if form.alpha)


def output_format(target: str, chosen: str | None) -> Format:
    """The format of a target: the chosen one, or that of the suffix; PNG for standard output, `-`.

    Raises InputError where there is none.
    """
    suffix = "" if target == "-" else os.path.splitext(target)[1].lower()
    if chosen is None and suffix in VIDEO_SUFFIXES:
        msg = f"{target}: a picture cannot be written as video; use one of {', '.join(FORMATS)}"
        raise InputError(msg)
    name = chosen.lower().removeprefix(".") if chosen else suffix.removeprefix(".") or ("png" if target == "-" else "")
    form = FORMATS.get(name)
    if form is None:
        what = f"format is '{chosen}'" if chosen else f"{target}: the name's ending is '{suffix}'"
        msg = f"{what}, must be one of {', '.join(FORMATS)}" + ("" if chosen else "; or give --format")
        raise InputError(msg)
    return form


def is_picture_name(name: str) -> bool:
    """Whether a file of this name would be a picture in another format."""
    return os.path.splitext(name)[1].lower().removeprefix(".") in FORMATS


def is_video_name(name: str) -> bool:
    """Whether a file of this name would be a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES
