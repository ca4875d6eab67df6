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
    CHROMA_TAPS,
    CHROMA_WINDOW,
    LUMA_TAPS,
    LUMA_WINDOW,
    TAP_TOTAL,
    WINDOW_TOTAL,
)
from nacre.compensation import Field, Plane, Planes
from nacre.entropy.compiled import compiled

Samples = NDArray[np.float32]

_UNIT = np.float32(TAP_TOTAL)
_HALF_UNIT = np.float32(TAP_TOTAL // 2)
_TO_UNITS = np.float32(1 / TAP_TOTAL)
_TOTAL_WEIGHT = np.float32(WINDOW_TOTAL**2)
_HALF_SAMPLE = np.float32(TAP_TOTAL * WINDOW_TOTAL**2 // 2)
_TO_SAMPLES = np.float32(1 / (TAP_TOTAL * WINDOW_TOTAL**2))
_BLACK, _WHITE = np.float32(0), np.float32(255)
_RUN = 16  # cells that are predicted at once where one vector holds for all of them, at most


class _Form(NamedTuple):
    """What luma and chroma differ in.

    filters: by fraction, float32 (steps, taps); weights: of a cell's samples, by (below, right), (2, 2, size, 8).
    """

    filters: Samples
    weights: Samples


def _form(planes: int, taps: Sequence[Sequence[int]], window: Sequence[int]) -> _Form:
    later = np.array(window)
    down = np.stack([WINDOW_TOTAL - later, later]).astype(np.float32)
    weights = down[:, None, :, None] * np.repeat(down, planes, axis=1)[None, :, None, :]
    return _Form(np.array(taps, np.float32), weights)


_LUMA, _CHROMA = _form(1, LUMA_TAPS, LUMA_WINDOW), _form(2, CHROMA_TAPS, CHROMA_WINDOW)


def predict(reference: Planes, field: Field, out: Planes, start: int, stop: int) -> None:
    """Fills the samples of `out` in the rows of cells from start to stop, of which there are H / 8 + 1.

    Rows are on their own, so that several threads may work on one frame; other arguments are those of
    `compensation.compensate`, checked. out: planes of the reference's shapes.
    """
    reach = int(np.abs(field).max())
    _predict(reference.luma, reference.luma, field, *_LUMA, reach, out.luma, out.luma, start, stop)
    _predict(reference.cb, reference.cr, field, *_CHROMA, reach, out.cb, out.cr, start, stop)


@compiled
def _predict(
    plane: Plane,
    other: Plane,
    field: Field,
    filters: Samples,
    weights: Samples,
    reach: int,
    out: Plane,
    other_out: Plane,
    start: int,
    stop: int,
) -> None:
    """`predict` for luma, or for both chroma planes, whose samples stand side by side in the cells.

    reach: the largest component of a vector. It is compiled as a whole, for threads that go in and out of compiled work
    wait for each other.
    """
    height, width = plane.shape
    size = weights.shape[2]
    planes, shift = 8 // size, 2 if len(filters) == 4 else 3
    margin = (reach >> shift) + size // 2 + filters.shape[1]
    padded = np.empty(((stop - start) * size + 2 * margin, width + 2 * margin, planes), np.float32)
    cells = np.empty(((stop - start) * size, (width + size) * planes), np.uint8)
    _extend(plane, start * size - margin, margin, 0, padded)
    if planes == 2:
        _extend(other, start * size - margin, margin, 1, padded)
    _cells(padded.reshape(len(padded), padded.shape[1] * planes), field, filters, weights, margin, shift, start, cells)
    first = start * size - size // 2
    for y in range(max(first, 0), min(stop * size - size // 2, height)):
        line, target, other_target = cells[y - first, size // 2 * planes :], out[y], other_out[y]
        if planes == 1:
            for x in range(width):
                target[x] = line[x]
        else:
            for x in range(width):
                target[x], other_target[x] = line[2 * x], line[2 * x + 1]


@compiled
def _extend(plane: Plane, top: int, margin: int, number: int, out: Samples) -> None:
    """Puts a plane (h, w), its edges repeated, into numbers out[:, :, number], from row `top` and column -margin on."""
    height, width = plane.shape
    for y in range(len(out)):
        source = plane[min(max(y + top, 0), height - 1)]
        target = out[y]
        for x in range(margin):
            target[x, number] = source[0]
            target[margin + width + x, number] = source[width - 1]
        for x in range(width):
            target[margin + x, number] = source[x]


@compiled
def _cells(
    plane: Samples,
    field: Field,
    filters: Samples,
    weights: Samples,
    margin: int,
    shift: int,
    first_row: int,
    out: NDArray[np.uint8],
) -> None:
    """Rows of cells from first_row on; out: half a cell wider than the frame on both sides, plane a margin more."""
    size = weights.shape[2]
    planes, mask = 8 // size, len(filters) - 1
    rows = np.empty((15, 8 * _RUN), np.float32)
    patch = np.empty((8, 8 * _RUN), np.float32)
    total = np.empty((8, 8 * _RUN), np.float32)
    vectors = np.empty((4, 2), np.intp)
    share = np.empty(4, np.intp)  # of each vector, the first that is equal
    for row in range(len(out) // size):
        above, below = max(first_row + row - 1, 0), min(first_row + row, field.shape[1] - 1)
        column = 0
        while column <= field.shape[2]:
            for k in range(4):
                block_y, block_x = below if k > 1 else above, min(max(column + k % 2 - 1, 0), field.shape[2] - 1)
                vectors[k, 0], vectors[k, 1] = field[0, block_y, block_x], field[1, block_y, block_x]
                share[k] = k
                for first in range(k):
                    if vectors[k, 0] == vectors[first, 0] and vectors[k, 1] == vectors[first, 1]:
                        share[k] = first
                        break
            run = 1
            uniform = share[1] + share[2] + share[3] == 0
            if uniform:
                while run < _RUN and column + run <= field.shape[2]:
                    block_x = min(column + run, field.shape[2] - 1)
                    if (
                        field[0, above, block_x] != vectors[0, 0]
                        or field[1, above, block_x] != vectors[0, 1]
                        or field[0, below, block_x] != vectors[0, 0]
                        or field[1, below, block_x] != vectors[0, 1]
                    ):
                        break
                    run += 1
            for i in range(size):
                line = total[i]
                for j in range(8 * run):
                    line[j] = _HALF_SAMPLE
            for first in range(4):
                if share[first] < first:
                    continue
                dy, dx = vectors[first, 0], vectors[first, 1]
                y = row * size + margin - size // 2 + (dy >> shift)
                x = column * 8 + (margin - size // 2 + (dx >> shift)) * planes
                _patch(plane, y, x, 8 * run, filters[dy & mask], filters[dx & mask], rows, patch)
                if uniform:
                    for i in range(size):
                        line, samples = total[i], patch[i]
                        for j in range(8 * run):
                            line[j] += _TOTAL_WEIGHT * samples[j]
                    break
                for k in range(first, 4):
                    if share[k] == first:
                        for i in range(size):
                            line, samples, weight = total[i], patch[i], weights[k // 2, k % 2, i]
                            for j in range(len(weight)):
                                line[j] += weight[j] * samples[j]
            for i in range(size):
                line, target = total[i], out[row * size + i, column * 8 : (column + run) * 8]
                for j in range(len(target)):
                    target[j] = np.uint8(min(max(line[j] * _TO_SAMPLES, _BLACK), _WHITE))
            column += run


@compiled
def _patch(
    plane: Samples, y: int, x: int, width: int, down: Samples, across: Samples, rows: Samples, out: Samples
) -> None:
    """Cells' samples from (y, x) on, filtered along both axes, times 64: 8 rows with 8 by 8 taps, 4 rows with 4 by 4.

    The width is not known when this is compiled: of loops over columns that always are 8, no vectors would be made.
    """
    if len(down) == 8:
        if down[3] == _UNIT and across[3] == _UNIT:
            _copy(plane, y, x, width, 8, out)
        else:
            _luma_patch(plane, y, x, width, down, across, rows, out)
    elif down[1] == _UNIT and across[1] == _UNIT:
        _copy(plane, y, x, width, 4, out)
    else:
        _chroma_patch(plane, y, x, width, down, across, rows, out)


@compiled
def _copy(plane: Samples, y: int, x: int, width: int, size: int, out: Samples) -> None:
    for i in range(size):
        s, r = plane[y + i, x : x + width], out[i]
        for j in range(width):
            r[j] = s[j] * _UNIT


@compiled
def _luma_patch(
    plane: Samples, y: int, x: int, width: int, down: Samples, across: Samples, rows: Samples, out: Samples
) -> None:
    a, b, c, d, e, f, g, h = across[0], across[1], across[2], across[3], across[4], across[5], across[6], across[7]
    for i in range(15):
        s, r = plane[y + i - 3, x - 3 : x + width + 4], rows[i]
        for j in range(width):
            left = a * s[j] + b * s[j + 1] + c * s[j + 2] + d * s[j + 3]
            r[j] = left + (e * s[j + 4] + f * s[j + 5] + g * s[j + 6] + h * s[j + 7])
    a, b, c, d, e, f, g, h = down[0], down[1], down[2], down[3], down[4], down[5], down[6], down[7]
    for i in range(8):
        k, l, m, n = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]  # noqa: E741
        o, p, q, r = rows[i + 4], rows[i + 5], rows[i + 6], rows[i + 7]
        s = out[i]
        for j in range(width):
            total = a * k[j] + b * l[j] + c * m[j] + d * n[j] + (e * o[j] + f * p[j] + g * q[j] + h * r[j])
            s[j] = np.floor((total + _HALF_UNIT) * _TO_UNITS)


@compiled
def _chroma_patch(
    plane: Samples, y: int, x: int, width: int, down: Samples, across: Samples, rows: Samples, out: Samples
) -> None:
    a, b, c, d = across[0], across[1], across[2], across[3]
    for i in range(7):
        s, r = plane[y + i - 1, x - 2 : x + width + 4], rows[i]
        for j in range(width):
            r[j] = a * s[j] + b * s[j + 2] + c * s[j + 4] + d * s[j + 6]
    a, b, c, d = down[0], down[1], down[2], down[3]
    for i in range(4):
        k, l, m, n, r = rows[i], rows[i + 1], rows[i + 2], rows[i + 3], out[i]  # noqa: E741
        for j in range(width):
            total = a * k[j] + b * l[j] + c * m[j] + d * n[j]
            r[j] = np.floor((total + _HALF_UNIT) * _TO_UNITS)
