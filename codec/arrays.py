"""Arrays as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nacre.bands import Samples, check_floats, from_16_bits, from_floats, steps, warn_of_16_bits
from nacre.bitstream.errors import InputError
from nacre.bitstream.limits import Limits
from nacre.picture import Band


def array_samples(array: NDArray[Any], limits: Limits) -> Samples:
    """The picture of an array (H, W) or (H, W, 1..4): grey, grey with alpha, RGB, RGB with alpha.

    Taken are uint8, bool (False is 0, True is 255), uint16 (0..65535, reduced with a warning) and floats in 0..1.
    Raises InputError for any other, LimitError for one that is larger than the limits.
    """
    kind = array.dtype.kind
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4) or not _is_taken(array.dtype):
        msg = (
            f"the array is {array.dtype} {array.shape}, must be uint8, uint16, bool or floats in 0..1,"
            " (H, W) or (H, W, 1..4)"
        )
        raise InputError(msg)
    if array.size == 0:
        msg = f"the array has the shape {array.shape}, must have at least one sample"
        raise InputError(msg)
    height, width = array.shape[:2]
    limits.check_picture(width, height)
    if kind == "f":
        check_floats(array[top:bottom] for top, bottom in steps(width, 0, height))
    if array.dtype.itemsize == 2 and kind == "u":
        warn_of_16_bits()
    channels = 1 if array.ndim == 2 else array.shape[2]
    grey, alpha = channels <= 2, channels in (2, 4)

    def band(top: int, bottom: int) -> Band:
        rows = _to_8_bits(array[top:bottom])
        if rows.ndim == 2:
            return Band(rows, None)
        return Band(rows[..., 0] if grey else rows[..., :3], rows[..., -1] if alpha else None)

    return Samples(width, height, grey, alpha, band)


def _is_taken(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "bf" or (dtype.kind == "u" and dtype.itemsize <= 2)


def _to_8_bits(rows: NDArray[Any]) -> NDArray[np.uint8]:
    if rows.dtype.kind == "f":
        return from_floats(rows)
    if rows.dtype.kind == "b":
        return rows.astype(np.uint8) * np.uint8(255)
    return from_16_bits(rows) if rows.dtype.itemsize == 2 else rows
