"""Motion compensation: the prediction of a frame from the frame before it and a field of vectors, in integers.

Every block of 8x8 luma samples (4x4 of each chroma plane) has a vector (dy, dx) in quarter luma samples, which are
eighth chroma samples. A sample at (y, x) is predicted four times, with the vectors of the four blocks whose centres
surround it; beyond the frame's edge, blocks and samples repeat those at the edge. With s = 4 (chroma: 8) and taps t,

    f = sum over m, n of t[dy mod s][m] t[dx mod s][n] reference[y + floor(dy / s) + m - o, x + floor(dx / s) + n - o]
    p = (f + 32) >> 6
    prediction = clip((sum of u v p + 8192) >> 14, 0, 255)

with o = taps / 2 - 1 and the weights u, v of the windows along both axes (nacre.bitstream.interpolation); u v sum to
256. All sums are integers below 2 ** 24, so that single precision holds them exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError
from nacre.bitstream.interpolation import (
    BLOCK,
    CHROMA_TAPS,
    CHROMA_WINDOW,
    LUMA_TAPS,
    LUMA_WINDOW,
    MAX_VECTOR,
    TAP_TOTAL,
    WINDOW_TOTAL,
)
from nacre.parallel import at_once, bands

Plane = NDArray[np.uint8]
Field = NDArray[np.int16]


class Planes(NamedTuple):
    """One frame of 8-bit YUV 4:2:0: luma uint8 (H, W), cb and cr uint8 (H / 2, W / 2), each rounded up."""

    luma: Plane
    cb: Plane
    cr: Plane


def compensate(reference: Planes, field: Field, threads: int = 1) -> Planes:
    """The prediction of a frame, of the reference's size: the same samples whichever form computes it.

    reference: luma (H, W), chroma (H / 2, W / 2) with H and W multiples of 8; field: int16 (2, H / 8, W / 8), dy
    before dx, in quarter luma samples, -512..512. threads: how many work on it, where it is compiled.

    Raises InputError: shapes or types that do not fit, vectors outside the range.
    """
    _check(reference, field)
    fast = fast_form()
    if fast is None:
        return compensate_reference(reference, field)
    prediction = Planes(*map(np.empty_like, reference))
    at_once(
        threads, *(partial(fast.predict, reference, field, prediction, *b) for b in bands(field.shape[1] + 1, threads))
    )
    return prediction


def compensate_reference(reference: Planes, field: Field) -> Planes:
    """`compensate` in NumPy alone: the definition, slower by an order of magnitude."""
    _check(reference, field)
    luma = _predict(reference.luma, field, LUMA_TAPS, LUMA_WINDOW)
    return Planes(luma, *(_predict(plane, field, CHROMA_TAPS, CHROMA_WINDOW) for plane in reference[1:]))


@cache
def fast_form() -> ModuleType | None:
    """The compiled form, None where numba is not installed."""
    try:
        from nacre import compensation_kernels
    except ImportError:
        return None
    return compensation_kernels


def _check(reference: Planes, field: Field) -> None:
    height, width = reference.luma.shape
    shapes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
    if height % BLOCK or width % BLOCK or not height * width or [plane.shape for plane in reference] != shapes:
        given = [plane.shape for plane in reference]
        msg = f"reference planes are {given}, legal are 4:2:0 with sides in multiples of {BLOCK}"
        raise InputError(msg)
    if any(plane.dtype != np.uint8 for plane in reference):
        msg = f"reference planes are {[str(plane.dtype) for plane in reference]}, legal is uint8"
        raise InputError(msg)
    if field.shape != (2, height // BLOCK, width // BLOCK) or field.dtype != np.int16:
        msg = f"motion field is {field.dtype} {field.shape}, legal is int16 {(2, height // BLOCK, width // BLOCK)}"
        raise InputError(msg)
    if field.max() > MAX_VECTOR or field.min() < -MAX_VECTOR:
        msg = f"motion vectors are in {field.min()}..{field.max()}, legal range {-MAX_VECTOR}..{MAX_VECTOR}"
        raise InputError(msg)


def _predict(plane: Plane, field: Field, taps: Sequence[Sequence[int]], window: Sequence[int]) -> Plane:
    """The prediction of one plane, with filters by fraction and the window, as long as the blocks are wide."""
    steps, size = len(taps), len(window)
    margin = int(np.abs(field).max()) // steps + len(taps[0])
    interpolated = _interpolate(np.pad(plane, margin, mode="edge").astype(np.int32), field, taps)
    height, width = plane.shape
    y, x = np.arange(height)[:, None], np.arange(width)
    later = np.array(window)
    total = np.full(plane.shape, WINDOW_TOTAL**2 * TAP_TOTAL // 2)
    for below in (0, 1):
        row = np.clip((y + size // 2) // size - 1 + below, 0, field.shape[1] - 1)
        row_weight = later[(y + size // 2) % size]
        for right in (0, 1):
            column = np.clip((x + size // 2) // size - 1 + right, 0, field.shape[2] - 1)
            column_weight = later[(x + size // 2) % size]
            dy, dx = field[:, row, column].astype(np.intp)
            samples = interpolated[dy % steps, dx % steps, y + dy // steps + margin, x + dx // steps + margin]
            total += (
                (row_weight if below else WINDOW_TOTAL - row_weight)
                * (column_weight if right else WINDOW_TOTAL - column_weight)
                * samples
            )
    return np.clip(total // (WINDOW_TOTAL**2 * TAP_TOTAL), 0, 255).astype(np.uint8)


def _interpolate(padded: NDArray[np.int32], field: Field, taps: Sequence[Sequence[int]]) -> NDArray[np.int16]:
    """A padded plane (h, w) at all fractions that the field has, times 64: int16 (steps, steps, h, w), 0 at others."""
    steps = len(taps)
    planes = np.zeros((steps, steps, *padded.shape), np.int16)
    needed = set(zip(*(field % steps).reshape(2, -1).tolist(), strict=True))
    for across in {dx for _, dx in needed}:
        rows = _filtered(padded, taps[across], 1)
        for down in {dy for dy, dx in needed if dx == across}:
            planes[down, across] = (_filtered(rows, taps[down], 0) + TAP_TOTAL // 2) // TAP_TOTAL
    return planes


def _filtered(samples: NDArray[np.int32], taps: Sequence[int], axis: int) -> NDArray[np.int32]:
    """One pass of a filter along an axis; what is within its reach of the edges is of no use."""
    origin = len(taps) // 2 - 1
    total = np.zeros_like(samples)
    for number, tap in enumerate(taps):
        if tap:
            total += tap * np.roll(samples, origin - number, axis)
    return total
