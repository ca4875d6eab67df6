"""The loops of nacre.fastest, compiled by numba: the same numbers as the functions of nacre.latent_arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nacre.entropy.compiled import compiled_exactly
from nacre.entropy.tables import IntArray

Float32Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_HALF_BITS = np.uint32(16)
_SIDE = np.uintp(32)
_WHOLE = np.float32(3 << 22)  # what it is added to, below 2 ** 22, is rounded to even


@compiled_exactly
def patches(pixels: Bytes, out: Bytes) -> None:
    """See nacre.latent_arrays.patches."""
    height, width, colours = pixels.shape
    rows, columns, side, line = out.shape
    for i in range(rows):
        for down in range(side):
            source = pixels[min(i * side + down, height - 1)].reshape(-1)
            for j in range(columns):
                first, target = j * line, out[i, j, down]
                there = np.uintp(max(0, min(line, len(source) - first)))
                for k in range(there):
                    target[k] = source[np.uintp(first) + k]
                for k in range(there, np.uintp(line)):
                    target[k] = source[(width - 1) * colours + (first + k) % colours]


@compiled_exactly
def levels(bits: NDArray[np.uint32], table: Bytes, out: Bytes) -> None:
    """See nacre.latent_arrays.levels; bits (n,) are those of the floats."""
    for place in range(len(bits)):
        out[place] = table[bits[place] >> _HALF_BITS]


@compiled_exactly
def choose(
    mean: Float32Array, y: Float32Array, index: Bytes, row: int, column: int, rows: int, columns: int, live: int,
    thresholds: Float32Array, largest: np.float32, symbols: NDArray[np.int16],
) -> None:  # fmt: skip
    """See nacre.latent_arrays.choose. Rows of channels are taken apart so that the compiler makes vectors of them."""
    limits = np.empty(mean.shape[2], np.float32)
    for i in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            above, left = 2 * i + row, 2 * j + column
            inside = live if above < rows and left < columns else 0
            predicted = mean[i, j]
            latent, scales, chosen = y[above, left], index[above, left], symbols[above, left]
            for k in range(inside):
                limits[k] = thresholds[np.uintp(scales[k])]
            for k in range(inside):
                residual = latent[k] - predicted[k]
                residual -= max(min(residual, limits[k]), -limits[k])
                symbol = (max(min(residual, largest), -largest) + _WHOLE) - _WHOLE
                chosen[k] = np.int16(symbol)
                predicted[k] += symbol
            for k in range(inside, mean.shape[2]):
                chosen[k] = 0


@compiled_exactly
def add(mean: Float32Array, symbols: IntArray, row: int, column: int) -> None:
    """See nacre.latent_arrays.add."""
    for i in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            predicted, chosen = mean[i, j], symbols[2 * i + row, 2 * j + column]
            for k in range(mean.shape[2]):
                predicted[k] += np.float32(chosen[k])


@compiled_exactly
def transpose(matrix: IntArray, out: IntArray) -> None:
    """See nacre.latent_arrays.transpose. Squares that fit the caches, one after the other."""
    height, width = np.uintp(matrix.shape[0]), np.uintp(matrix.shape[1])
    for top in range(np.uintp(0), height, _SIDE):
        for left in range(np.uintp(0), width, _SIDE):
            for column in range(left, min(left + _SIDE, width)):
                for row in range(top, min(top + _SIDE, height)):
                    out[column, row] = matrix[row, column]


def compile_all() -> None:
    """Compile every function for the arrays that it is called with; raises whatever hinders numba."""
    pixels, patch = np.zeros((1, 1, 3), np.uint8), np.empty((1, 1, 16, 48), np.uint8)
    patches(pixels, patch)
    levels(np.zeros(1, np.uint32), np.zeros(1 << 16, np.uint8), np.empty(1, np.uint8))
    mean, latent, index = (
        np.zeros((1, 1, 1), np.float32),
        np.zeros((2, 2, 1), np.float32),
        np.zeros((2, 2, 1), np.uint8),
    )
    limits, symbols = np.zeros(1, np.float32), np.zeros((2, 2, 1), np.int16)
    choose(mean, latent, index, 0, 0, 2, 2, 1, limits, np.float32(1), symbols)
    for kind in (np.uint8, np.int16, np.int32):
        transpose(np.zeros((1, 1), kind), np.empty((1, 1), kind))
    add(mean, np.zeros((2, 2, 1), np.int32), 0, 0)
