"""The order of coding of a motion field's quadtree, and the table of every symbol, the same at both ends.

Blocks of 64, 32, 16 and 8 luma samples are the levels 0 to 3. Level by level come dy of all present blocks in raster
order, then dx, then (not on level 3) whether each is split, each in one call of the coder. On level 0 all blocks are
present, on the others those whose parent is split. A vector is coded as its difference from the parent's; on level 0,
from the left neighbour's, in the first column from that above, in the first block from 0.

Tables are chosen by what is known at both ends, with the size class of a magnitude: 0 for 0, 1 to 3, 4 to 15, 16 or
more. The guide of a block is, on level 0, the previous field's difference there (0 where there is none), on the others
twice the parent's vector subtracted from the sum of the vectors of the two blocks beside and above or below the parent
that the block touches; frames repeat their edge. Where a component of the guide is negative, the difference's sign is
turned.

    dy      16 level + class(guide dy)
    dx      16 level + 4 + 3 class(guide dx) + min(class(dy difference), 2)
    split   64 + 8 level + 2 class(roughness) + (1 where the previous field has the block split)

Roughness is the largest distance, |dy| + |dx|, of the block's vector from those of its four neighbours on its level,
where a block that is not present has its parent's vector. A split is coded as the symbol 1, otherwise 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError, InputError
from nacre.entropy.coder import SymbolDecoder, SymbolEncoder
from nacre.entropy.tables import IntArray, TableSet

LEVELS = 4
MOTION_TABLES = 88
_SPLIT_TABLES = 64
_CLASSES = (1, 4, 16)

Vectors = NDArray[np.int32]
Item = TypeVar("Item", bound=np.generic)
Exchange = Callable[[IntArray | None, IntArray], IntArray]


class MotionSymbols(NamedTuple):
    """The quadtree of a field, dense arrays for each level.

    differences: int32 (2, h, w), (2, 2h, 2w), (2, 4h, 4w) and (2, 8h, 8w), 0 where a block is not present; splits: bool
    (h, w), (2h, 2w) and (4h, 4w), false where it is not.
    """

    differences: tuple[Vectors, ...]
    splits: tuple[NDArray[np.bool_], ...]

    def in_order(self) -> NDArray[np.int32]:
        """All coded values, int32 (n,), in the order of coding: what the frame's check is taken over."""
        parts: list[NDArray[np.generic]] = []
        present = np.ones(self.differences[0].shape[1:], bool)
        for level, difference in enumerate(self.differences):
            parts += [difference[0][present], difference[1][present]]
            if level < LEVELS - 1:
                parts.append(self.splits[level][present])
                present = finer(self.splits[level])
        return np.concatenate(parts).astype(np.int32)


def encode_motion(
    encoder: SymbolEncoder, symbols: MotionSymbols, tables: TableSet, previous: MotionSymbols | None
) -> None:
    """Codes a quadtree; previous: that of the frame before, None where it has none.

    Raises InputError: shapes that do not fit, or another number of tables than 88.
    """

    def exchange(values: IntArray | None, index: IntArray) -> IntArray:
        assert values is not None
        encoder.encode(values, index, tables)
        return values

    _check_tables(tables)
    walk(exchange, symbols.splits[0].shape, symbols, previous)


def decode_motion(
    decoder: SymbolDecoder, shape: tuple[int, ...], tables: TableSet, previous: MotionSymbols | None
) -> MotionSymbols:
    """The quadtree of a frame of (h, w) blocks of 64: the inverse of `encode_motion`.

    Raises FormatError: the bytes cannot be a code, or give a split other than 0 or 1; InputError as `encode_motion`.
    """

    def exchange(values: IntArray | None, index: IntArray) -> IntArray:
        return decoder.decode(index, tables)

    _check_tables(tables)
    return walk(exchange, shape, None, previous)


def walk(
    exchange: Exchange, shape: tuple[int, ...], known: MotionSymbols | None, previous: MotionSymbols | None
) -> MotionSymbols:
    """Goes through a quadtree in the order of coding and returns it.

    exchange(values, index) is called with the tables of the next symbols and, where the quadtree is known, with their
    values, otherwise None; it returns the values.

    Raises InputError: shapes that do not fit; FormatError: a split other than 0 or 1.
    """
    if len(shape) != 2 or any(
        given is not None and _shapes(given) != _legal_shapes(shape) for given in (known, previous)
    ):
        msg = f"motion symbols have the shapes {_shapes(known or previous)}, legal are {_legal_shapes(shape)}"
        raise InputError(msg)
    present = np.ones(shape, bool)
    vectors = np.zeros((2, *shape), np.int32)
    differences: list[Vectors] = []
    splits: list[NDArray[np.bool_]] = []
    for level in range(LEVELS):
        guide = _guide(vectors) if level > 0 else _first_guide(vectors, previous)
        sign = np.where(guide < 0, -1, 1).astype(np.int32)
        difference = np.zeros((2, *present.shape), np.int32)
        context = 16 * level + _size_class(guide[0])
        for component in (0, 1):
            values = None if known is None else (known.differences[level][component] * sign[component])[present]
            difference[component][present] = exchange(values, context[present]) * sign[component][present]
            context = 16 * level + 4 + 3 * _size_class(guide[1]) + np.minimum(_size_class(difference[0]), 2)
        differences.append(difference)
        vectors = finer(vectors) + difference if level > 0 else left_sums(difference)
        if level < LEVELS - 1:
            context = _SPLIT_TABLES + 8 * level + 2 * _size_class(_roughness(vectors))
            if previous is not None:
                context += previous.splits[level]
            values = None if known is None else known.splits[level][present].astype(np.int32)
            flags = exchange(values, context[present])
            if flags.size and (flags.min() < 0 or flags.max() > 1):
                msg = f"split of a motion block is {flags.min()}..{flags.max()}, legal range 0..1"
                raise FormatError(msg)
            split = np.zeros(present.shape, bool)
            split[present] = flags.astype(bool)
            splits.append(split)
            present = finer(split)
    return MotionSymbols(tuple(differences), tuple(splits))


def finer(array: NDArray[Item]) -> NDArray[Item]:
    """A level's values for the blocks of the next one: (..., h, w) to (..., 2h, 2w)."""
    return array.repeat(2, axis=-2).repeat(2, axis=-1)


def left_differences(vectors: Vectors) -> Vectors:
    """Level 0: vectors (2, h, w) less the left neighbour's, in the first column less that above."""
    differences = np.diff(vectors, axis=-1, prepend=np.int32(0))
    differences[..., 0] = np.diff(vectors[..., 0], axis=-1, prepend=np.int32(0))
    return differences


def left_sums(differences: Vectors) -> Vectors:
    """The inverse of `left_differences`."""
    sums = differences.copy()
    sums[..., 0] = np.cumsum(sums[..., 0], axis=-1)
    return np.cumsum(sums, axis=-1, dtype=np.int32)


def _first_guide(zeros: Vectors, previous: MotionSymbols | None) -> Vectors:
    """The guide of level 0."""
    return zeros if previous is None else previous.differences[0]


def _guide(parents: Vectors) -> Vectors:
    """The guide of the children of parents (2, h, w): int32 (2, 2h, 2w)."""
    padded = np.pad(parents, ((0, 0), (1, 1), (1, 1)), mode="edge")
    guide = -2 * finer(parents)
    for child, near in ((0, slice(None, -2)), (1, slice(2, None))):
        guide[:, child::2] += padded[:, near, 1:-1].repeat(2, axis=-1)
        guide[:, :, child::2] += padded[:, 1:-1, near].repeat(2, axis=-2)
    return guide


def _roughness(vectors: Vectors) -> Vectors:
    """The largest distance of each vector (2, h, w) from its four neighbours: int32 (h, w)."""
    roughness = np.zeros(vectors.shape[1:], np.int32)
    for axis in (0, 1):
        steps = np.abs(np.diff(vectors, axis=axis + 1)).sum(axis=0, dtype=np.int32)
        for part in (slice(None, -1), slice(1, None)):
            near = roughness[part] if axis == 0 else roughness[:, part]
            np.maximum(near, steps, out=near)
    return roughness


def _size_class(values: IntArray) -> NDArray[np.intp]:
    return np.digitize(np.abs(values), _CLASSES)


def _check_tables(tables: TableSet) -> None:
    if len(tables) != MOTION_TABLES:
        msg = f"motion has {len(tables)} tables, must have {MOTION_TABLES}"
        raise InputError(msg)


def _shapes(symbols: MotionSymbols | None) -> list[tuple[int, ...]]:
    return [] if symbols is None else [array.shape for array in (*symbols.differences, *symbols.splits)]


def _legal_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    sizes = [tuple(side << level for side in shape) for level in range(LEVELS)]
    return [(2, *size) for size in sizes] + sizes[:-1]
