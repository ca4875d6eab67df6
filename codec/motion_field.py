"""A motion field as a quadtree: blocks of 64, 32, 16 and 8 luma samples, of which only the vectors of leaves count.

Arrays are dense, one per level: level 0 has a value for each block of 64, level 3 for each block of 8. A block of a
level is coded where all blocks around it, on the levels before, are split; elsewhere differences are 0 and nothing is
split.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError
from nacre.bitstream.interpolation import MAX_VECTOR
from nacre.compensation import Field
from nacre.entropy.motion import LEVELS, MotionSymbols, finer, left_differences, left_sums

Item = TypeVar("Item", bound=np.generic)


def to_symbols(field: Field) -> MotionSymbols:
    """The quadtree of a field, int16 (2, 8 h, 8 w): blocks are split where their vectors differ.

    A split block's own vector is that of its children's which is nearest to the others.
    """
    vectors = [field.astype(np.int32)]
    splits: list[NDArray[np.bool_]] = []
    uniform = np.ones(field.shape[1:], bool)
    for _ in range(LEVELS - 1):
        children = _children(vectors[0])
        alike = _children(uniform[None])[:, 0].all(axis=0) & (children == children[0]).all(axis=(0, 1))
        vectors.insert(0, _medoid(children))
        splits.insert(0, ~alike)
        uniform = alike
    differences = [left_differences(vectors[0])]
    differences += [fine - finer(coarse) for coarse, fine in pairwise(vectors)]
    return MotionSymbols(tuple(differences), tuple(splits))


def to_field(symbols: MotionSymbols) -> Field:
    """The field of a quadtree, int16 (2, 8 h, 8 w): the inverse of `to_symbols`.

    Raises FormatError: a vector outside -512..512.
    """
    vectors = left_sums(symbols.differences[0])
    for difference in symbols.differences[1:]:
        vectors = finer(vectors) + difference
    if vectors.max() > MAX_VECTOR or vectors.min() < -MAX_VECTOR:
        msg = f"motion vectors are in {vectors.min()}..{vectors.max()}, legal range {-MAX_VECTOR}..{MAX_VECTOR}"
        raise FormatError(msg)
    return vectors.astype(np.int16)


def _children(array: NDArray[Item]) -> NDArray[Item]:
    """The four children of every block, in raster order: (n, 2 h, 2 w) to (4, n, h, w)."""
    return np.stack([array[:, row::2, column::2] for row in (0, 1) for column in (0, 1)])


def _medoid(children: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of four vectors (4, 2, h, w) the one whose sum of distances to the others is least, the first among equals."""
    distances = np.abs(children[:, None] - children).sum(axis=(1, 2))
    medoid: NDArray[np.int32] = np.take_along_axis(children, distances.argmin(axis=0)[None, None], axis=0)[0]
    return medoid
