"""What samples mean: ICC profiles as far as they must be understood, and CICP numbers in PNG and AVIF files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image, ImageCms

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError
from nacre.sources import reason

UNSPECIFIED = Colour(primaries=2, transfer=2, matrix=0, full_range=1)
"""The description of RGB samples that an ICC profile describes."""

_SPACE = slice(16, 20)  # of an ICC profile's header: the colour space of the samples
_SRGB_TOLERANCE = 3  # steps of 255; published sRGB profiles round their curves and matrices differently
_MAX_CHUNKS = 4096
_MAX_BOX_BYTES = 1 << 20


def contradicts(profile: bytes, grey: bool) -> bool:
    """Whether an ICC profile cannot be one of these samples: it is for ink, for Lab, or for grey where they are RGB.

    An RGB profile of a grey picture is none: it says what equal R, G and B are. Neither is what is no profile at all.
    """
    space = profile[_SPACE]
    if profile[36:40] != b"acsp":
        return False
    return space != b"RGB " and not (grey and space == b"GRAY")


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile of RGB or grey samples means what sRGB means."""
    mode = {b"RGB ": "RGB", b"GRAY": "L"}.get(profile[_SPACE])
    if mode is None:
        return False
    levels = np.arange(0, 256, 15 if mode == "RGB" else 1, dtype=np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * (3 if mode == "RGB" else 1), indexing="ij"), axis=-1)
    probe = Image.fromarray(grid.reshape(-1, levels.size, 3) if mode == "RGB" else grid.reshape(1, -1))
    try:
        meant = _to_srgb(profile, mode).apply(probe)
    except Exception:  # LittleCMS raises several kinds over a damaged profile
        return False
    expected = np.asarray(probe.convert("RGB")).astype(np.int16)
    return int(np.abs(expected - np.asarray(meant)).max()) <= _SRGB_TOLERANCE


def cmyk_transform(profile: object) -> ImageCms.ImageCmsTransform:
    """The conversion of ink amounts to sRGB: relative colorimetric, with black point compensation.

    Raises InputError where there is no profile, or one by which CMYK cannot be converted.
    """
    if not isinstance(profile, bytes) or not profile:
        msg = "has CMYK ink amounts and no ICC profile that says which colours they are; convert it to RGB"
        raise InputError(msg)
    try:
        return _to_srgb(profile, "CMYK")
    except Exception as error:  # LittleCMS raises several kinds over a damaged profile
        msg = f"has CMYK ink amounts and an ICC profile by which they cannot be converted ({reason(error)})"
        raise InputError(msg) from error


def file_colour(file: IO[bytes], form: str | None, has_profile: bool) -> Colour | None:
    """The CICP numbers of a PNG or AVIF file, of the samples as Pillow gives them; the file stands where it stood.

    None where there are none, and in an AVIF file that has an ICC profile, which comes first there. form: Pillow's name
    of the format.
    """
    if form == "PNG":
        scan = _png_colour
    elif form == "AVIF" and not has_profile:
        scan = _avif_colour
    else:
        return None
    start = file.tell()
    try:
        return scan(file)
    finally:
        file.seek(start)


def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.ImageCmsTransform(source, target, mode, "RGB", intent, flags=flags)


def _png_colour(file: IO[bytes]) -> Colour | None:
    """The cICP chunk, which stands before the samples."""
    position = 8
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(12)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if kind == b"cICP" and length == 4 and len(head) == 12:
            primaries, transfer, matrix, full_range = head[8:]
            if matrix == 0 and full_range <= 1:  # samples of a PNG are RGB
                return Colour(primaries, transfer, matrix, full_range)
            return None
        if kind in (b"IDAT", b"IEND", b""):
            return None
        position += 12 + length
    return None


def _avif_colour(file: IO[bytes]) -> Colour | None:
    """The first nclx colour box; matrix and range are those of the RGB samples that Pillow makes."""
    data = _file_box(file, b"meta")[4:]
    for kind in (b"iprp", b"ipco"):
        data = next((body for found, body in _boxes(data) if found == kind), b"")
    for kind, body in _boxes(data):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 11:
            primaries, transfer = (int.from_bytes(body[place : place + 2], "big") for place in (4, 6))
            if max(primaries, transfer) > 255 or primaries == transfer == 2:
                return None
            return Colour(primaries, transfer)
    return None


def _file_box(file: IO[bytes], wanted: bytes) -> bytes:
    """The body of the first box of a kind at the top level of a file, none where there is none."""
    position = 0
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(16)
        size, start = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), 16
        if head[4:8] == wanted:
            file.seek(position + start)
            return file.read(max(0, min(size - start, _MAX_BOX_BYTES)))
        if size < start or size >= 1 << 62:
            break
        position += size
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of the boxes in the body of another, as far as they are well-formed."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size < 8:
            return
        yield data[position + 4 : position + 8], data[position + 8 : position + size]
        position += size
