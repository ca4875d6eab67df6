"""The encoder's search for a motion field: where the samples of a frame were in the frame before it.

Whole vectors are found from coarse to fine over a pyramid of pictures, from candidates of the level above, of
neighbours and of the frame before, refined to quarter samples, and then joined from the bottom into the quadtree whose
sum of squared differences and weighted bits is least. Nothing here is part of the format.
"""

from __future__ import annotations

from functools import cache, partial
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import BackendError, InputError
from nacre.bitstream.interpolation import BLOCK, LUMA_TAPS, MAX_VECTOR, ROOT_BLOCK, TAP_TOTAL
from nacre.compensation import Field, Plane
from nacre.parallel import at_once, bands

Samples = NDArray[np.float32]
Vectors = NDArray[np.int32]

_LEVELS = 4  # of the pyramid; blocks of 8x8 at level l are blocks of the quadtree of 8 << l luma samples
_QUARTERS = 4
_STRIP = ROOT_BLOCK // BLOCK  # rows of blocks of 8x8 that are searched on their own, whatever the threads
_COARSE_RADIUS = 12  # samples of the coarsest level, tried without exception: 96 of the frame's
_HALF_TAPS = np.array(LUMA_TAPS[2], np.float32) / TAP_TOTAL


def search(reference: Plane, current: Plane, lmbda: float, previous: Field | None = None, threads: int = 1) -> Field:
    """The motion field that predicts the luma plane `current` from `reference`: int16 (2, H64 / 8, W64 / 8).

    Planes are uint8 (H, W); H64 and W64 are their sides, rounded up to multiples of 64, to which samples at the edge
    are repeated. A bit of the field may cost `lmbda` of the sum of squared differences. previous: the field of the
    frame before, whose vectors are tried. Blocks of 64, 32 or 16 samples that share a vector are those that the
    quadtree does not split. threads: how many work on it; the field is the same.

    Raises InputError: shapes that do not fit; BackendError: numba is not installed.
    """
    kernels = _kernels()
    if reference.shape != current.shape or current.ndim != 2 or not current.size:
        msg = f"planes are {reference.shape} and {current.shape}, legal are two of one shape (height, width)"
        raise InputError(msg)
    height, width = (-(-side // ROOT_BLOCK) * ROOT_BLOCK for side in current.shape)
    if previous is not None and previous.shape != (2, height // BLOCK, width // BLOCK):
        msg = f"previous field is {previous.shape}, legal is {(2, height // BLOCK, width // BLOCK)}"
        raise InputError(msg)
    margins = ((0, height - current.shape[0]), (0, width - current.shape[1]))
    if (height, width) != current.shape:
        reference, current = np.pad(reference, margins, mode="edge"), np.pad(current, margins, mode="edge")
    fine, finest = current.astype(np.float32), reference.astype(np.float32)
    padded = np.pad(finest, kernels.MARGIN, mode="edge")
    halves = np.empty((4 * len(padded), padded.shape[1]), np.float32)
    hint = np.zeros((2, height // BLOCK, width // BLOCK), np.int32) if previous is None else previous.astype(np.int32)
    _, (coarse, found) = at_once(
        threads,
        lambda: kernels.half_samples(padded, _HALF_TAPS, halves),
        lambda: _coarse_vectors(fine, finest, hint, lmbda),
    )
    field = np.empty(hint.shape, np.int16)

    def work(start: int, stop: int) -> None:
        """The rows of root blocks from start to stop."""
        rows = slice(start * _STRIP, stop * _STRIP)
        vectors = _whole_vectors(0, fine, padded, coarse, hint, lmbda, rows)
        vectors[:, rows] = _in_quarters(vectors[:, rows], 0)
        field[:, rows] = _quadtree(fine, halves, [vectors, *found], lmbda, rows)

    at_once(threads, *(partial(work, *band) for band in bands(height // ROOT_BLOCK, threads)))
    return field


def means(plane: Plane, halvings: int) -> Plane:
    """The rounded means of squares of 2^halvings samples of a plane (H, W), multiples of that."""
    return np.rint(_pyramid(plane.astype(np.float32), halvings + 1)[-1]).astype(np.uint8)


def _coarse_vectors(current: Samples, reference: Samples, hint: Vectors, lmbda: float) -> tuple[Vectors, list[Vectors]]:
    """Vectors for blocks of 16 samples, in whole samples of that level, and for those of 16, 32 and 64 in quarters."""
    currents, references = _pyramid(current), _pyramid(reference)
    found: list[Vectors] = []
    vectors = np.zeros((2, 1, 1), np.int32)
    for level in range(_LEVELS - 1, 0, -1):
        padded = np.pad(references[level], _kernels().MARGIN, mode="edge")
        near = hint[:, :: 1 << level, :: 1 << level]
        vectors = _whole_vectors(level, currents[level], padded, vectors, near, lmbda, slice(0, near.shape[1]))
        found.insert(0, _in_quarters(vectors, level))
    return vectors, found


def _whole_vectors(
    level: int, current: Samples, padded: Samples, coarse: Vectors, hint: Vectors, lmbda: float, rows: slice
) -> Vectors:
    """Vectors of a level's blocks, in its whole samples, of which only some rows are filled in.

    padded: the reference; coarse: vectors of the level above; hint: of the frame before, in quarters of level 0.
    """
    unit = _QUARTERS << level
    radius = _COARSE_RADIUS if level == _LEVELS - 1 else 0
    vectors = np.empty(hint.shape, np.int32)
    strip = _STRIP if level == 0 else len(vectors[0])
    _kernels().whole_search(
        current, padded, coarse, hint // unit, unit, lmbda / 4**level, radius, vectors, rows.start, rows.stop, strip
    )
    return vectors


def _in_quarters(vectors: Vectors, level: int) -> Vectors:
    """Whole vectors of a level in legal quarters of the finest one."""
    return np.clip(vectors * (_QUARTERS << level), -MAX_VECTOR, MAX_VECTOR)


@cache
def _kernels() -> ModuleType:
    """The compiled inner loops."""
    try:
        from nacre import motion_kernels
    except ImportError as error:
        msg = "numba is not installed, which motion search needs: pip install numba"
        raise BackendError(msg) from error
    return motion_kernels


def _pyramid(plane: Samples, count: int = _LEVELS) -> list[Samples]:
    """The plane and its means of 2x2, 4x4, 8x8 samples and so on, `count` levels in all."""
    levels = [plane]
    for _ in range(count - 1):
        height, width = levels[-1].shape
        levels.append(np.empty((height // 2, width // 2), np.float32))
        _kernels().halve(levels[-2], levels[-1])
    return levels


def _quadtree(current: Samples, halves: Samples, found: list[Vectors], lmbda: float, rows: slice) -> Field:
    """Some rows of the best quadtree's field; found: vectors of blocks of 8, 16, 32 and 64 samples, in quarters."""
    kernels = _kernels()
    # of the quadtree's best vectors where those above a block are not known yet
    levels = [found[0], *(np.empty_like(vectors) for vectors in found[1:])]
    costs = [np.empty(vectors.shape[1:], np.float32) for vectors in levels]
    choices = [np.empty(vectors.shape[1:], np.uint8) for vectors in levels]
    parts = [(rows.start >> level, rows.stop >> level) for level in range(_LEVELS)]
    kernels.quarter_search(current, halves, found[1], lmbda, MAX_VECTOR, levels[0], costs[0], *parts[0])
    for level in range(_LEVELS - 1):
        kernels.merge(
            current,
            halves,
            levels[level],
            costs[level],
            found[level + 1],
            1 << level,
            lmbda,
            level == _LEVELS - 2,
            levels[level + 1],
            costs[level + 1],
            choices[level + 1],
            *parts[level + 1],
        )
    for level in range(_LEVELS - 1, 0, -1):
        kernels.inherit(levels[level], choices[level], levels[level - 1], choices[level - 1], *parts[level])
    return levels[0][:, rows].astype(np.int16)
