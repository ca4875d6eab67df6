"""The encoder's search for a motion field: where the samples of a frame were in the frame before it.

Whole vectors are found from coarse to fine over a pyramid of pictures, from candidates of the level above, of
neighbours and of the frame before, refined to quarter samples, and then joined from the bottom into the quadtree whose
sum of absolute differences and weighted bits is least. Nothing here is part of the format.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import BackendError, InputError
from nacre.bitstream.interpolation import BLOCK, LUMA_TAPS, MAX_VECTOR, ROOT_BLOCK, TAP_TOTAL
from nacre.compensation import Field, Plane

_LEVELS = 4  # of the pyramid; blocks of 8x8 at level l are blocks of the quadtree of 8 << l luma samples
_QUARTERS = 4
_COARSE_RADIUS = 12  # samples of the coarsest level, tried without exception: 96 of the frame's
_HALF_TAPS = np.array(LUMA_TAPS[2], np.float32) / TAP_TOTAL


def search(reference: Plane, current: Plane, lmbda: float, previous: Field | None = None) -> Field:
    """The motion field that predicts the luma plane `current` from `reference`: int16 (2, H64 / 8, W64 / 8).

    Planes are uint8 (H, W); H64 and W64 are their sides, rounded up to multiples of 64, to which samples at the edge
    are repeated. A bit of the field may cost `lmbda` of the sum of absolute differences. previous: the field of the
    frame before, whose vectors are tried. Blocks of 64, 32 or 16 samples that share a vector are those that the
    quadtree does not split.

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
    reference, current = np.pad(reference, margins, mode="edge"), np.pad(current, margins, mode="edge")
    references, currents = _pyramid(reference), _pyramid(current)
    hint = np.zeros((2, height // BLOCK, width // BLOCK), np.int32) if previous is None else previous.astype(np.int32)
    vectors = np.zeros((2, 1, 1), np.int32)
    found = []
    for level in reversed(range(_LEVELS)):
        coarse = vectors
        vectors = np.empty((2, (height >> level) // BLOCK, (width >> level) // BLOCK), np.int32)
        unit = _QUARTERS << level
        kernels.whole_search(
            currents[level],
            np.pad(references[level], kernels.MARGIN, mode="edge"),
            coarse,
            np.ascontiguousarray(hint[:, :: 1 << level, :: 1 << level]) // unit,
            unit,
            lmbda / 4**level,
            _COARSE_RADIUS if level == _LEVELS - 1 else 0,
            vectors,
        )
        found.append(np.clip(vectors * unit, -MAX_VECTOR, MAX_VECTOR))
    halves = _halves(references[0])
    vectors = found[-1]
    costs = np.empty(vectors.shape[1:], np.float32)
    kernels.quarter_search(currents[0], halves, found[-2], lmbda, MAX_VECTOR, vectors, costs)
    return _quadtree(currents[0], halves, found[::-1], costs, lmbda)


@cache
def _kernels() -> ModuleType:
    """The compiled inner loops."""
    try:
        from nacre import motion_kernels
    except ImportError as error:
        msg = "numba is not installed, which motion search needs: pip install 'nacre[video]'"
        raise BackendError(msg) from error
    return motion_kernels


def _pyramid(plane: Plane) -> list[NDArray[np.float32]]:
    """The plane and its means of 2x2, 4x4 and 8x8 samples, float32."""
    levels = [plane.astype(np.float32)]
    for _ in range(_LEVELS - 1):
        fine = levels[-1]
        rows = fine[::2] + fine[1::2]
        levels.append((rows[:, ::2] + rows[:, 1::2]) * np.float32(0.25))
    return levels


def _halves(reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `motion_kernels.half_samples` makes of the padded reference."""
    padded = np.pad(reference, _kernels().MARGIN, mode="edge")
    halves = np.empty((4, *padded.shape), np.float32)
    _kernels().half_samples(padded, _HALF_TAPS, halves)
    return halves


def _quadtree(
    current: NDArray[np.float32],
    halves: NDArray[np.float32],
    found: list[NDArray[np.int32]],
    costs: NDArray[np.float32],
    lmbda: float,
) -> Field:
    """The field of the best quadtree; found: vectors in quarter samples of blocks of 8, 16, 32 and 64 samples."""
    vectors, choices, levels = found[0], [], [found[0]]
    for level in range(_LEVELS - 1):
        coarse = np.empty_like(found[level + 1])
        coarse_costs = np.empty(coarse.shape[1:], np.float32)
        choice = np.empty(coarse.shape[1:], np.uint8)
        _kernels().merge(
            current, halves, vectors, costs, found[level + 1], 1 << level, lmbda, coarse, coarse_costs, choice
        )
        vectors, costs = coarse, coarse_costs
        choices.append(choice)
        levels.append(vectors)
    inherited = np.zeros(vectors.shape[1:], bool)  # whether the vector of a block around holds for all of it
    for level in reversed(range(_LEVELS - 1)):
        choice = choices[level]
        leaf = np.empty(levels[level].shape[1:], bool)
        for child in range(4):
            leaf[child // 2 :: 2, child % 2 :: 2] = inherited | (choice >= 16) | (choice >> child & 1).astype(bool)
        vectors = np.where(leaf, vectors.repeat(2, 1).repeat(2, 2), levels[level])
        inherited = leaf
    return vectors.astype(np.int16)
