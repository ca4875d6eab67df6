"""What an input is, a picture or a clip, told by its name and its first bytes."""

from __future__ import annotations

from pathlib import Path

from nacre.bitstream.sequence import SNIFF_BYTES, is_sequence
from nacre.formats import is_video_name
from nacre.pictureclip import is_pattern

__all__ = ["HEAD_BYTES", "is_clip", "is_sequence"]

HEAD_BYTES = max(SNIFF_BYTES, 12)
"""First bytes of an input that tell what it is."""

_STARTS = (
    b"YUV4MPEG2",
    b"\x1a\x45\xdf\xa3",  # EBML: Matroska, WebM
    b"\0\0\0\1",  # Annex B: H.264, H.265 without a container
    b"OggS",
    b"FLV",
    b"\x30\x26\xb2\x75",  # ASF
    b"DKIF",  # IVF
    b"\x06\x0e\x2b\x34",  # MXF
)
_QUICKTIME = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
_PICTURE_BRANDS = frozenset((b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_WITH_G = (b"GIF8", b"GRIB")  # pictures that begin with the sync byte of MPEG-TS


def is_clip(name: str, start: bytes) -> bool:
    """Whether an input is a clip: a folder, a pattern that is no file, a video by its name or its first bytes.

    start: the first HEAD_BYTES, fewer where there are no more; none where it cannot be opened.
    """
    path = Path(name)
    try:
        if path.is_dir() or (not path.exists() and is_pattern(name)):
            return True
    except (OSError, ValueError):  # a null character in the path
        return False
    return is_video_name(name) or _is_video_start(start)


def _is_video_start(start: bytes) -> bool:
    if start.startswith(_STARTS):
        return True
    if start[:3] == b"\0\0\1":  # MPEG, H.264; icons have a 0 behind it
        return start[3:4] > b"\0"
    if start[:1] == b"G":
        return not start.startswith(_WITH_G)
    if start[:4] == b"RIFF":
        return start[8:12] == b"AVI "
    if start[4:8] == b"ftyp":
        return start[8:12] not in _PICTURE_BRANDS
    return start[4:8] in _QUICKTIME
