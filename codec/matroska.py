"""What PyAV has no attribute for, by way of Matroska headers in memory (RFC 9559): place of chroma, codec delay."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Any

_EBML = 0x1A45DFA3
_DOC_TYPE, _DOC_TYPE_VERSION, _DOC_TYPE_READ_VERSION = 0x4282, 0x4287, 0x4285
_SEGMENT, _TRACKS, _TRACK_ENTRY, _CLUSTER, _TIMESTAMP = 0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675, 0xE7
_TRACK_NUMBER, _TRACK_UID, _TRACK_TYPE, _CODEC_ID, _CODEC_PRIVATE, _CODEC_DELAY = (
    0xD7,
    0x73C5,
    0x83,
    0x86,
    0x63A2,
    0x56AA,
)
_AUDIO, _SAMPLING_FREQUENCY, _CHANNELS = 0xE1, 0xB5, 0x9F
_VIDEO, _COLOUR, _CHROMA_SITING_HORIZONTAL, _CHROMA_SITING_VERTICAL = 0xE0, 0x55B0, 0x55B7, 0x55B8

_AUDIO_TRACK = 2
_CODEC_IDS = {
    "aac": "A_AAC",
    "ac3": "A_AC3",
    "eac3": "A_EAC3",
    "flac": "A_FLAC",
    "mp2": "A_MPEG/L2",
    "mp3": "A_MPEG/L3",
    "opus": "A_OPUS",
    "vorbis": "A_VORBIS",
}
# (ChromaSitingHorz, ChromaSitingVert), where 1 is collocated and 2 is half, to 1 + ChromaLocType of ITU-T H.273
_LOCATIONS = {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}


def audio_header(codec: str, extradata: bytes, sample_rate: int, channels: int, delay: float) -> bytes | None:
    """A Matroska file without packets of one audio track; None for a codec that is not known here to have a delay.

    delay: seconds at the beginning of the decoder's output that are not to be presented.
    """
    if codec not in _CODEC_IDS:
        return None
    track = [
        _element(_TRACK_NUMBER, 1),
        _element(_TRACK_UID, 1),
        _element(_TRACK_TYPE, _AUDIO_TRACK),
        _element(_CODEC_ID, _CODEC_IDS[codec].encode()),
        _element(_CODEC_DELAY, round(delay * 1e9)),
        _element(_AUDIO, [_element(_SAMPLING_FREQUENCY, float(sample_rate)), _element(_CHANNELS, channels)]),
    ]
    if extradata:
        track.append(_element(_CODEC_PRIVATE, extradata))
    versions = [_element(_DOC_TYPE_VERSION, 4), _element(_DOC_TYPE_READ_VERSION, 2)]
    return _element(_EBML, [_element(_DOC_TYPE, b"matroska"), *versions]) + _element(
        _SEGMENT, [_element(_TRACKS, [_element(_TRACK_ENTRY, track)]), _element(_CLUSTER, [_element(_TIMESTAMP, 0)])]
    )


def chroma_location(stream: Any) -> int:
    """Where a video stream of PyAV has its chroma samples: 1 + ChromaLocType of ITU-T H.273, 0 when it is not known."""
    import av

    file = io.BytesIO()
    try:
        with av.open(file, "w", format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.FFmpegError, ValueError):
        return 0
    body = memoryview(file.getvalue())
    for wanted in (_SEGMENT, _TRACKS, _TRACK_ENTRY, _VIDEO, _COLOUR):
        body = _find(body, wanted)
    sites = [
        int.from_bytes(_find(body, wanted), "big") for wanted in (_CHROMA_SITING_HORIZONTAL, _CHROMA_SITING_VERTICAL)
    ]
    return _LOCATIONS.get((sites[0], sites[1]), 0)


def _element(number: int, value: float | bytes | Iterable[bytes]) -> bytes:
    """An element: an unsigned integer, a float, bytes, or other elements."""
    if isinstance(value, int):
        body = value.to_bytes(8, "big")
    elif isinstance(value, float):
        body = struct.pack(">d", value)
    else:
        body = value if isinstance(value, bytes) else b"".join(value)
    return number.to_bytes((number.bit_length() + 7) // 8, "big") + (len(body) | 1 << 56).to_bytes(8, "big") + body


def _find(body: memoryview, wanted: int) -> memoryview:
    """The body of the first element of a number among those in `body`, empty where there is none."""
    place = 0
    while place < len(body):
        number, place = _variable(body, place, keep_marker=True)
        size, place = _variable(body, place, keep_marker=False)
        end = min(place + size, len(body))  # the segment of a file that is being written has no size: all bits are set
        if number == wanted:
            return body[place:end]
        place = end
    return body[:0]


def _variable(body: memoryview, place: int, keep_marker: bool) -> tuple[int, int]:
    """A number of variable length at a place, with or without the bit that tells its length; the place behind it."""
    length = 9 - body[place].bit_length()
    number = int.from_bytes(body[place : place + length], "big")
    return number if keep_marker else number & ((1 << 7 * length) - 1), place + length
