"""ICC profile, EXIF and XMP of a picture: taken from what Pillow read, byte for byte, and checked."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from types import MappingProxyType

from PIL import ExifTags, Image

from nacre.bitstream.units import UnitType
from nacre.colour import contradicts

EXIF_PREFIX = b"Exif\0\0"
"""What stands before the TIFF header in JPEG files, and in Pillow's info."""

NAMES: Mapping[int, str] = {UnitType.ICC_PROFILE: "ICC profile", UnitType.EXIF: "EXIF data", UnitType.XMP: "XMP packet"}
MAX_BYTES = 1 << 24
DIRECTORIES = frozenset((ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
"""Tags of EXIF data that stand for directories of others."""

_PNG_RAW_EXIF = "Raw profile type exif"
# Tags of a TIFF file that say something of the picture and not of how its samples are stored; orientation is not among
# them, since Pillow turns the samples of TIFF files upright.
TIFF_TAGS = frozenset(
    (
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.XResolution,
        ExifTags.Base.YResolution,
        ExifTags.Base.ResolutionUnit,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.HostComputer,
        ExifTags.Base.Rating,
        ExifTags.Base.Copyright,
        *DIRECTORIES,
    )
)


def read_metadata(image: Image.Image, *, grey: bool, converted: bool) -> dict[int, bytes]:
    """The metadata of a loaded image by UnitType, as it is, damaged or not; EXIF begins with its TIFF header.

    grey: what the samples are coded as. converted: they were brought to sRGB, and the profile has done its work. A
    profile that cannot be that of the samples and metadata of more than MAX_BYTES are left out with a UserWarning.
    """
    found: dict[int, bytes] = {}
    profile = _as_bytes(image.info.get("icc_profile"))
    if profile and not converted:
        if contradicts(profile, grey):
            space = profile[16:20].decode("latin-1").strip()
            _warn(
                f"the ICC profile is left out: it is for {space} samples, the picture's are {'grey' if grey else 'RGB'}"
            )
        else:
            found[UnitType.ICC_PROFILE] = profile
    exif = _exif(image)
    if exif:
        found[UnitType.EXIF] = exif
    xmp = _as_bytes(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"))
    if xmp:
        found[UnitType.XMP] = xmp
    for kind, data in list(found.items()):
        if len(data) > MAX_BYTES:
            _warn(f"the {NAMES[kind]} is left out: it has {len(data)} bytes, at most {MAX_BYTES} are kept")
            del found[kind]
    return found


def orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 where there is none or the data is damaged."""
    try:
        return int(parse_exif(exif).get(ExifTags.Base.Orientation, 1))
    except Exception:  # parsing damaged data raises nearly everything
        return 1


def parse_exif(data: bytes) -> Image.Exif:
    """EXIF data with its TIFF header in front; raises whatever Pillow raises over damaged data."""
    exif = Image.Exif()
    exif.load(EXIF_PREFIX + data)
    return exif


def packed(exif: Image.Exif, tags: Collection[int], more: Mapping[int, object] = MappingProxyType({})) -> bytes:
    """EXIF data of some tags of another, with directories whole, and of `more` tags; empty where there are none.

    Raises whatever Pillow raises over damaged data.
    """
    kept = Image.Exif()
    for tag in set(tags) & set(exif):
        kept[tag] = exif.get_ifd(tag) if tag in DIRECTORIES else exif[tag]
    for tag, value in more.items():
        kept[tag] = value
    return kept.tobytes() if kept else b""


def _exif(image: Image.Image) -> bytes:
    raw = image.info.get("exif")
    if raw is None and isinstance(image.info.get(_PNG_RAW_EXIF), str):
        try:
            raw = bytes.fromhex("".join(image.info[_PNG_RAW_EXIF].split("\n")[3:]))
        except ValueError:
            _warn("the EXIF data is left out: it is stored as text that is no hexadecimal number")
    if raw is None and image.format == "TIFF":
        raw = _exif_of_tiff(image)
    return _as_bytes(raw).removeprefix(EXIF_PREFIX)


def _exif_of_tiff(image: Image.Image) -> bytes:
    """EXIF data made of a TIFF file's own tags, which are no block that could be carried."""
    try:
        return packed(image.getexif(), TIFF_TAGS)
    except Exception:  # parsing and packing damaged tags raises nearly everything
        _warn("the EXIF data is left out: the file's tags are damaged")
        return b""


def _as_bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=2)
