"""Alpha planes, kept exactly: a filter that makes neighbours alike into zeros, then a zlib stream (RFC 1950)."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError, InputError

NO_FILTER = 0
LEFT = 1
UP = 2
FILTERS = (NO_FILTER, LEFT, UP)
"""The legal filters. LEFT takes from each sample the one to its left, UP the one above, 0 outside, modulo 256."""

_LEVEL = 9
_AXIS = {LEFT: 1, UP: 0}


def encode_alpha(plane: NDArray[np.uint8]) -> tuple[int, bytes]:
    """(filter, zlib stream) of a plane, uint8 (h, w) with h, w >= 1; the filter is the one that gives the fewest bytes.

    Raises InputError for an array of another type or shape.
    """
    if plane.dtype != np.uint8 or plane.ndim != 2 or plane.size == 0:
        msg = f"alpha is {plane.dtype} of shape {plane.shape}, must be uint8 (height, width) with at least one sample"
        raise InputError(msg)
    streams = ((kind, zlib.compress(_filtered(kind, plane).tobytes(), _LEVEL)) for kind in FILTERS)
    return min(streams, key=lambda stream: len(stream[1]))


def decode_alpha(filter: int, data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """The plane, uint8 (height, width), from its filter and its zlib stream; height, width >= 1, trusted.

    Raises FormatError where the filter is unknown, or the stream is damaged, cut off, followed by other bytes, or of
    another number of samples. Never more than height * width + 1 bytes are decompressed.
    """
    if filter not in FILTERS:
        msg = f"alpha filter is {filter}, must be {FILTERS[0]}..{FILTERS[-1]}"
        raise FormatError(msg)
    expected = height * width
    inflater = zlib.decompressobj()
    try:
        samples = inflater.decompress(data, expected + 1)
    except zlib.error as error:
        msg = f"the alpha samples cannot be decompressed: {error}"
        raise FormatError(msg) from error
    if len(samples) > expected:
        msg = f"the alpha stream holds more than the {expected} samples of {width} x {height} pixels"
        raise FormatError(msg)
    if not inflater.eof:
        msg = f"the alpha stream of {len(data)} bytes is cut off after {len(samples)} of {expected} samples"
        raise FormatError(msg)
    if len(samples) < expected:
        msg = f"the alpha stream holds {len(samples)} samples, must hold {expected} for {width} x {height} pixels"
        raise FormatError(msg)
    if inflater.unused_data:
        msg = f"{len(inflater.unused_data)} bytes stand behind the alpha stream, must be none"
        raise FormatError(msg)
    plane = np.frombuffer(samples, np.uint8).reshape(height, width)
    if filter == NO_FILTER:
        return plane.copy()
    return np.cumsum(plane, axis=_AXIS[filter], dtype=np.uint8)


def _filtered(kind: int, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if kind == NO_FILTER:
        return plane
    return np.diff(plane, axis=_AXIS[kind], prepend=np.uint8(0))
