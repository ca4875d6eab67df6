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
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.errors import FormatError, InputError
from nacre.entropy.coder import SymbolDecoder, SymbolEncoder
from nacre.entropy.tables import IntArray, TableSet

LEVELS = 4
MOTION_TABLES = 88
_SPLIT_TABLES = 64
_SIZE_CLASS = np.array([0] + 3 * [1] + 12 * [2] + [3], np.uint8)  # of a magnitude, the last of those beyond
_CAPPED_CLASS = np.minimum(_SIZE_CLASS, 2)

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
    grids = _grids(*shape)
    present = np.arange(shape[0] * shape[1])
    vectors = np.zeros((2, present.size), np.int32)
    differences: list[Vectors] = []
    splits: list[NDArray[np.bool_]] = []
    for level, grid in enumerate(grids):
        guide = _guide(vectors, grid.parents.take(present, axis=1)) if level > 0 else _first_guide(vectors, previous)
        sign = np.where(guide < 0, np.int32(-1), np.int32(1))
        first = 16 * level + _SIZE_CLASS.take(np.abs(guide), mode="clip") * np.array([[1], [3]], np.uint8)
        given = None if known is None else known.differences[level].reshape(2, -1).take(present, axis=1) * sign
        dy = exchange(None if given is None else given[0], first[0])
        dx = exchange(None if given is None else given[1], first[1] + 4 + _CAPPED_CLASS.take(np.abs(dy), mode="clip"))
        difference = np.zeros((2, grid.rows * grid.columns), np.int32)
        difference[0, present] = dy * sign[0]
        difference[1, present] = dx * sign[1]
        differences.append(difference.reshape(2, grid.rows, grid.columns))
        if level == LEVELS - 1:
            break
        if level > 0:
            vectors = vectors.take(grid.parents[0], axis=1) + difference
        else:
            vectors = left_sums(differences[0]).reshape(2, -1)
        roughness = _roughness(vectors, present, grid.neighbours.take(present, axis=1))
        context = _SPLIT_TABLES + 8 * level + 2 * _SIZE_CLASS.take(roughness, mode="clip")
        if previous is not None:
            context += previous.splits[level].reshape(-1).take(present)
        flags = exchange(
            None if known is None else known.splits[level].reshape(-1).take(present).astype(np.int32), context
        )
        if flags.size and (flags.min() < 0 or flags.max() > 1):
            msg = f"split of a motion block is {flags.min()}..{flags.max()}, legal range 0..1"
            raise FormatError(msg)
        split = np.zeros((grid.rows, grid.columns), bool)
        split.reshape(-1)[present] = flags
        splits.append(split)
        present = np.flatnonzero(finer(split))
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


class _Grid(NamedTuple):
    """The blocks of a level and where those are that matter to each, as numbers in raster order.

    parents (3, n), on the level before: the block's own, that which it touches above or below this one, and that beside
    it. neighbours (4, n), on its own level: above, below, left and right. Beyond the frame's edge, what is at it.
    """

    rows: int
    columns: int
    parents: NDArray[np.intp]
    neighbours: NDArray[np.intp]


@lru_cache(maxsize=4)
def _grids(rows: int, columns: int) -> list[_Grid]:
    """The levels of a field of so many blocks of 64."""
    return [_grid(rows << level, columns << level) for level in range(LEVELS)]


def _grid(rows: int, columns: int) -> _Grid:
    def places(y: NDArray[np.intp], x: NDArray[np.intp], height: int, width: int) -> NDArray[np.intp]:
        return (np.clip(y, 0, height - 1)[:, None] * width + np.clip(x, 0, width - 1)).reshape(-1)

    y, x = np.arange(rows), np.arange(columns)
    up, left, size = y // 2, x // 2, (max(rows // 2, 1), max(columns // 2, 1))
    parents = [(up, left), (up - 1 + y % 2 * 2, left), (up, left - 1 + x % 2 * 2)]
    neighbours = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return _Grid(
        rows,
        columns,
        np.stack([places(*pair, *size) for pair in parents]),
        np.stack([places(*pair, rows, columns) for pair in neighbours]),
    )


def _first_guide(zeros: Vectors, previous: MotionSymbols | None) -> Vectors:
    """The guide of level 0."""
    return zeros if previous is None else previous.differences[0].reshape(2, -1)


def _guide(vectors: Vectors, parents: NDArray[np.intp]) -> Vectors:
    """The guide (2, n) of blocks whose parents (3, n) are some of the vectors (2, m)."""
    own, vertical, horizontal = vectors.take(parents, axis=1).swapaxes(0, 1)
    guide: Vectors = vertical + horizontal - 2 * own
    return guide


def _roughness(vectors: Vectors, blocks: NDArray[np.intp], neighbours: NDArray[np.intp]) -> Vectors:
    """The largest distance (n,) of blocks (n,) from their neighbours (4, n), all among the vectors (2, m)."""
    steps = np.abs(vectors.take(neighbours, axis=1) - vectors.take(blocks, axis=1)[:, None])
    roughness: Vectors = (steps[0] + steps[1]).max(axis=0)
    return roughness


def _check_tables(tables: TableSet) -> None:
    if len(tables) != MOTION_TABLES:
        msg = f"motion has {len(tables)} tables, must have {MOTION_TABLES}"
        raise InputError(msg)


def _shapes(symbols: MotionSymbols | None) -> list[tuple[int, ...]]:
    return [] if symbols is None else [array.shape for array in (*symbols.differences, *symbols.splits)]


def _legal_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    sizes = [tuple(side << level for side in shape) for level in range(LEVELS)]
    return [(2, *size) for size in sizes] + sizes[:-1]
