"""What nacre.fastest does to a latent between its graphs, by NumPy: the definition of what latent_kernels compiles."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nacre.entropy.tables import IntArray
from nacre.padding import pad
from nacre.weights.store import LEVEL_STEP

Float32Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]

CENTRE = 128  # level of 0
_HALF_BITS = 16


def patches(pixels: Bytes, out: Bytes) -> None:
    """Pixels (H, W, 3) as squares (h, w, 16, 48) of 16 pixels, colour fastest, the last row and column repeated."""
    rows, columns, side, line = out.shape
    out[...] = pad(pixels).reshape(rows, side, columns, line).transpose(0, 2, 1, 3)


@cache
def level_table() -> Bytes:
    """Levels (65536,) of all floats by their upper 16 bits: the signed logarithm in units of LEVEL_STEP, and 128.

    They are those of the float in the middle of all that begin with such bits.
    """
    bits = (np.arange(1 << _HALF_BITS, dtype=np.uint32) << np.uint32(_HALF_BITS)) + np.uint32(1 << (_HALF_BITS - 1))
    with np.errstate(invalid="ignore"):  # some are no numbers
        values = np.nan_to_num(bits.view(np.float32).astype(np.float64))
    logs = np.sign(values) * np.log1p(np.abs(values))
    table: Bytes = (np.clip(np.rint(logs / LEVEL_STEP), 1 - CENTRE, CENTRE - 1) + CENTRE).astype(np.uint8)
    return table


def levels(bits: NDArray[np.uint32], table: Bytes, out: Bytes) -> None:
    """The levels (n,) of floats with such bits, by `level_table`."""
    table.take(bits >> np.uint32(_HALF_BITS), out=out)


def choose(
    mean: Float32Array, y: Float32Array, index: Bytes, row: int, column: int, rows: int, columns: int, live: int,
    thresholds: Float32Array, largest: np.float32, symbols: NDArray[np.int16],
) -> None:  # fmt: skip
    """Symbols (2h, 2w, C) of every second row and column of a latent y, from `row` and `column` on; index likewise.

    mean (h, w, C): what is predicted there; it becomes the latent as decoded. A residual is moved towards 0 by the
    threshold that its index names, at most to it, cut off at the largest magnitude and rounded to even. Symbols are 0
    beyond the first rows, columns and live channels.
    """
    quarter = np.s_[row:rows:2, column:columns:2, :live]
    inside = tuple(slice(side) for side in y[quarter].shape)
    residual = y[quarter] - mean[inside]
    limit = thresholds.take(index[quarter], mode="clip")
    residual -= np.maximum(np.minimum(residual, limit), -limit)
    chosen = np.rint(np.clip(residual, -largest, largest))
    symbols[row::2, column::2] = 0
    symbols[quarter] = chosen
    mean[inside] += chosen


def add(mean: Float32Array, symbols: IntArray, row: int, column: int) -> None:
    """Add to a mean (h, w, C) the symbols (2h, 2w, C) of every second row and column, from `row` and `column` on."""
    mean += symbols[row::2, column::2]


def transpose(matrix: IntArray, out: IntArray) -> None:
    """Rows as columns."""
    out[...] = matrix.T
