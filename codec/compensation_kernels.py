"""Motion compensation compiled by numba: the samples of nacre.compensation, where sums are single-precision numbers.

Samples are predicted in cells that reach from the centres of four blocks to each other, so that every sample of a cell
has the same four vectors; of equal vectors only one patch is made. Cells are 8 numbers wide: luma samples, or pairs of
the chroma planes' samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.interpolation import (
    BLOCK,
    CHROMA_TAPS,
    CHROMA_WINDOW,
    LUMA_TAPS,
    LUMA_WINDOW,
    TAP_TOTAL,
    WINDOW_TOTAL,
)
from nacre.compiled import compiled

Samples = NDArray[np.float32]

_UNIT = np.float32(TAP_TOTAL)
_HALF_UNIT = np.float32(TAP_TOTAL // 2)
_TO_UNITS = np.float32(1 / TAP_TOTAL)
_TOTAL_WEIGHT = np.float32(WINDOW_TOTAL**2)
_HALF_SAMPLE = np.float32(TAP_TOTAL * WINDOW_TOTAL**2 // 2)
_TO_SAMPLES = np.float32(1 / (TAP_TOTAL * WINDOW_TOTAL**2))
_BLACK, _WHITE = np.float32(0), np.float32(255)


class _Form(NamedTuple):
    """What luma and chroma differ in. weights: of a cell's samples, by (below, right), float32 (2, 2, size, 8)."""

    planes: int
    filters: Samples
    weights: Samples


def _form(planes: int, taps: Sequence[Sequence[int]], window: Sequence[int]) -> _Form:
    later = np.array(window)
    down = np.stack([WINDOW_TOTAL - later, later]).astype(np.float32)
    weights = down[:, None, :, None] * np.repeat(down, planes, axis=1)[None, :, None, :]
    return _Form(planes, np.array(taps, np.float32), weights)


_LUMA, _CHROMA = _form(1, LUMA_TAPS, LUMA_WINDOW), _form(2, CHROMA_TAPS, CHROMA_WINDOW)


def predict_luma(plane: NDArray[np.uint8], field: NDArray[np.int16]) -> NDArray[np.uint8]:
    """The prediction of the luma plane, arguments as checked by `compensation.compensate`."""
    return _predict(plane[..., None], field, _LUMA)[..., 0]


def predict_chroma(
    cb: NDArray[np.uint8], cr: NDArray[np.uint8], field: NDArray[np.int16]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The prediction of the chroma planes, arguments as checked by `compensation.compensate`."""
    both = _predict(np.stack([cb, cr], axis=-1), field, _CHROMA)
    return np.ascontiguousarray(both[..., 0]), np.ascontiguousarray(both[..., 1])


def _predict(samples: NDArray[np.uint8], field: NDArray[np.int16], form: _Form) -> NDArray[np.uint8]:
    """The prediction (h, w, planes) from samples (h, w, planes)."""
    height, width, planes = samples.shape
    size = BLOCK // planes
    margin = int(np.abs(field).max()) // len(form.filters) + size // 2 + form.filters.shape[1]
    padded = np.pad(samples, ((margin, margin), (margin, margin), (0, 0)), mode="edge").astype(np.float32)
    vectors = np.pad(field, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.intp)
    out = np.empty((height + size, width + size, planes), np.uint8)
    _cells(
        padded.reshape(len(padded), -1), vectors, form.filters, form.weights, margin, planes, out.reshape(len(out), -1)
    )
    return np.ascontiguousarray(out[size // 2 : size // 2 + height, size // 2 : size // 2 + width])


@compiled
def _cells(
    plane: Samples,
    field: NDArray[np.intp],
    filters: Samples,
    weights: Samples,
    margin: int,
    planes: int,
    out: NDArray[np.uint8],
) -> None:
    """All cells of a frame; field has one more vector on each side than there are blocks, out half a cell."""
    size = weights.shape[2]
    steps = len(filters)
    rows = np.empty((15, 8), np.float32)
    patch = np.empty((8, 8), np.float32)
    total = np.empty((8, 8), np.float32)
    share = np.empty(4, np.intp)  # of each vector, the first that is equal
    for row in range(field.shape[1] - 1):
        for column in range(field.shape[2] - 1):
            for k in range(4):
                share[k] = k
                for first in range(k):
                    if (
                        field[0, row + k // 2, column + k % 2] == field[0, row + first // 2, column + first % 2]
                        and field[1, row + k // 2, column + k % 2] == field[1, row + first // 2, column + first % 2]
                    ):
                        share[k] = first
                        break
            for i in range(size):
                for j in range(8):
                    total[i, j] = _HALF_SAMPLE
            uniform = share[1] + share[2] + share[3] == 0
            for first in range(4):
                if share[first] < first:
                    continue
                dy = field[0, row + first // 2, column + first % 2]
                dx = field[1, row + first // 2, column + first % 2]
                y = row * size + margin - size // 2 + dy // steps
                x = column * 8 + (margin - size // 2 + dx // steps) * planes
                _patch(plane, y, x, filters[dy % steps], filters[dx % steps], rows, patch)
                if uniform:
                    for i in range(size):
                        for j in range(8):
                            total[i, j] += _TOTAL_WEIGHT * patch[i, j]
                    break
                for k in range(first, 4):
                    if share[k] == first:
                        weight = weights[k // 2, k % 2]
                        for i in range(size):
                            for j in range(8):
                                total[i, j] += weight[i, j] * patch[i, j]
            for i in range(size):
                line = out[row * size + i, column * 8 : column * 8 + 8]
                for j in range(8):
                    line[j] = np.uint8(min(max(total[i, j] * _TO_SAMPLES, _BLACK), _WHITE))


@compiled
def _patch(plane: Samples, y: int, x: int, down: Samples, across: Samples, rows: Samples, out: Samples) -> None:
    """A cell's samples from (y, x) on, filtered along both axes, times 64: 8 rows of 8 by 8 taps, 4 rows by 4."""
    if len(down) == 8:
        if down[3] == _UNIT and across[3] == _UNIT:
            _copy(plane, y, x, 8, out)
        else:
            _luma_patch(plane, y, x, down, across, rows, out)
    elif down[1] == _UNIT and across[1] == _UNIT:
        _copy(plane, y, x, 4, out)
    else:
        _chroma_patch(plane, y, x, down, across, rows, out)


@compiled
def _copy(plane: Samples, y: int, x: int, size: int, out: Samples) -> None:
    for i in range(size):
        s = plane[y + i, x : x + 8]
        for j in range(8):
            out[i, j] = s[j] * _UNIT


@compiled
def _luma_patch(plane: Samples, y: int, x: int, down: Samples, across: Samples, rows: Samples, out: Samples) -> None:
    a, b, c, d, e, f, g, h = across[0], across[1], across[2], across[3], across[4], across[5], across[6], across[7]
    for i in range(15):
        s = plane[y + i - 3, x - 3 : x + 12]
        r = rows[i]
        for j in range(8):
            left = a * s[j] + b * s[j + 1] + c * s[j + 2] + d * s[j + 3]
            r[j] = left + (e * s[j + 4] + f * s[j + 5] + g * s[j + 6] + h * s[j + 7])
    a, b, c, d, e, f, g, h = down[0], down[1], down[2], down[3], down[4], down[5], down[6], down[7]
    for i in range(8):
        r = out[i]
        for j in range(8):
            above = a * rows[i, j] + b * rows[i + 1, j] + c * rows[i + 2, j] + d * rows[i + 3, j]
            below = e * rows[i + 4, j] + f * rows[i + 5, j] + g * rows[i + 6, j] + h * rows[i + 7, j]
            r[j] = np.floor((above + below + _HALF_UNIT) * _TO_UNITS)


@compiled
def _chroma_patch(plane: Samples, y: int, x: int, down: Samples, across: Samples, rows: Samples, out: Samples) -> None:
    a, b, c, d = across[0], across[1], across[2], across[3]
    for i in range(7):
        s = plane[y + i - 1, x - 2 : x + 12]
        r = rows[i]
        for j in range(8):
            r[j] = a * s[j] + b * s[j + 2] + c * s[j + 4] + d * s[j + 6]
    a, b, c, d = down[0], down[1], down[2], down[3]
    for i in range(4):
        r = out[i]
        for j in range(8):
            total = a * rows[i, j] + b * rows[i + 1, j] + c * rows[i + 2, j] + d * rows[i + 3, j]
            r[j] = np.floor((total + _HALF_UNIT) * _TO_UNITS)
