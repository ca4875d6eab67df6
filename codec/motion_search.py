"""The encoder's search for a motion field: where the samples of a frame were in the frame before it.

Whole vectors are found from coarse to fine over a pyramid of pictures, from candidates of the level above, of
neighbours and of the frame before, refined to quarter samples, and then joined from the bottom into the quadtree whose
sum of absolute differences and weighted bits is least. Nothing here is part of the format.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import pairwise
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import BackendError, InputError
from nacre.bitstream.interpolation import BLOCK, LUMA_TAPS, MAX_VECTOR, ROOT_BLOCK, TAP_TOTAL
from nacre.compensation import Field, Plane
from nacre.parallel import at_once

Samples = NDArray[np.float32]
Vectors = NDArray[np.int32]

_LEVELS = 4  # of the pyramid; blocks of 8x8 at level l are blocks of the quadtree of 8 << l luma samples
_QUARTERS = 4
_COARSE_RADIUS = 12  # samples of the coarsest level, tried without exception: 96 of the frame's
_HALF_TAPS = np.array(LUMA_TAPS[2], np.float32) / TAP_TOTAL


def search(reference: Plane, current: Plane, lmbda: float, previous: Field | None = None, threads: int = 1) -> Field:
    """The motion field that predicts the luma plane `current` from `reference`: int16 (2, H64 / 8, W64 / 8).

    Planes are uint8 (H, W); H64 and W64 are their sides, rounded up to multiples of 64, to which samples at the edge
    are repeated. A bit of the field may cost `lmbda` of the sum of absolute differences. previous: the field of the
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
    halves = np.empty((4, *padded.shape), np.float32)
    hint = np.zeros((2, height // BLOCK, width // BLOCK), np.int32) if previous is None else previous.astype(np.int32)
    _, found = at_once(
        threads,
        lambda: kernels.half_samples(padded, _HALF_TAPS, halves),
        lambda: _whole_vectors(fine, finest, padded, hint, lmbda),
    )
    return _quadtree(fine, halves, found, lmbda, threads)


def _whole_vectors(current: Samples, reference: Samples, padded: Samples, hint: Vectors, lmbda: float) -> list[Vectors]:
    """Vectors of whole samples, in quarters, for blocks of 8, 16, 32 and 64 samples; padded: the reference."""
    kernels = _kernels()
    currents, references = _pyramid(current), _pyramid(reference)
    vectors = np.zeros((2, 1, 1), np.int32)
    found = []
    for level in reversed(range(_LEVELS)):
        coarse = vectors
        vectors = np.empty((2, len(currents[level]) // BLOCK, currents[level].shape[1] // BLOCK), np.int32)
        unit = _QUARTERS << level
        kernels.whole_search(
            currents[level],
            padded if level == 0 else np.pad(references[level], kernels.MARGIN, mode="edge"),
            coarse,
            np.ascontiguousarray(hint[:, :: 1 << level, :: 1 << level]) // unit,
            unit,
            lmbda / 4**level,
            _COARSE_RADIUS if level == _LEVELS - 1 else 0,
            vectors,
        )
        found.append(np.clip(vectors * unit, -MAX_VECTOR, MAX_VECTOR))
    return found[::-1]


@cache
def _kernels() -> ModuleType:
    """The compiled inner loops."""
    try:
        from nacre import motion_kernels
    except ImportError as error:
        msg = "numba is not installed, which motion search needs: pip install numba"
        raise BackendError(msg) from error
    return motion_kernels


def _pyramid(plane: Samples) -> list[Samples]:
    """The plane and its means of 2x2, 4x4 and 8x8 samples."""
    levels = [plane]
    for _ in range(_LEVELS - 1):
        fine = levels[-1]
        rows = fine[::2] + fine[1::2]
        levels.append((rows[:, ::2] + rows[:, 1::2]) * np.float32(0.25))
    return levels


def _quadtree(current: Samples, halves: Samples, found: list[Vectors], lmbda: float, threads: int) -> Field:
    """The field of the best quadtree; found: vectors of blocks of 8, 16, 32 and 64 samples, in quarters."""
    kernels = _kernels()
    # of the quadtree's best vectors where those above a block are not known yet
    levels = [found[0], *(np.empty_like(vectors) for vectors in found[1:])]
    costs = [np.empty(vectors.shape[1:], np.float32) for vectors in levels]
    choices = [np.empty(vectors.shape[1:], np.uint8) for vectors in levels[1:]]

    def work(start: int, stop: int) -> None:
        """The rows of root blocks from start to stop."""
        rows = start << (_LEVELS - 1), stop << (_LEVELS - 1)
        kernels.quarter_search(current, halves, found[1], lmbda, MAX_VECTOR, levels[0], costs[0], *rows)
        for level in range(_LEVELS - 1):
            kernels.merge(
                current,
                halves,
                levels[level],
                costs[level],
                found[level + 1],
                1 << level,
                lmbda,
                levels[level + 1],
                costs[level + 1],
                choices[level],
                *(row >> (level + 1) for row in rows),
            )

    roots = levels[-1].shape[1]
    bands = min(threads, roots)
    edges = [roots * band // bands for band in range(bands + 1)]
    at_once(threads, *(partial(work, *edge) for edge in pairwise(edges)))
    vectors = levels[-1]
    inherited = np.zeros(vectors.shape[1:], bool)  # whether the vector of a block around holds for all of it
    for level in reversed(range(_LEVELS - 1)):
        choice = choices[level]
        leaf = np.empty(levels[level].shape[1:], bool)
        for child in range(4):
            leaf[child // 2 :: 2, child % 2 :: 2] = inherited | (choice >= 16) | (choice >> child & 1).astype(bool)
        vectors = np.where(leaf, vectors.repeat(2, 1).repeat(2, 2), levels[level])
        inherited = leaf
    return vectors.astype(np.int16)
