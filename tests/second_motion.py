"""A second reader of motion fields and a second motion compensation, written from bitstream/SPEC.md alone.

They share no line with the product, go block by block and sample by sample, and are slow. Numbers in brackets name
sections of the specification.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from second_parser import RangeDecoder, Table, read_array, require

Vector: TypeAlias = tuple[int, int]  # dy, dx
Block: TypeAlias = tuple[int, int, int]  # level, row, column
Plane: TypeAlias = Sequence[Sequence[int]]

LUMA = (
    (0, 0, 0, 64, 0, 0, 0, 0),
    (-1, 4, -10, 58, 17, -5, 1, 0),
    (-1, 4, -11, 40, 40, -11, 4, -1),
    (0, 1, -5, 17, 58, -10, 4, -1),
)
CHROMA = (
    (0, 64, 0, 0),
    (-2, 58, 10, -2),
    (-4, 54, 16, -2),
    (-6, 46, 28, -4),
    (-4, 36, 36, -4),
    (-4, 28, 46, -6),
    (-2, 16, 54, -4),
    (-2, 10, 58, -2),
)
WINDOWS = {8: (0, 0, 2, 6, 10, 14, 16, 16), 4: (0, 4, 12, 16)}  # by block size


@dataclass
class Motion:
    """[20]"""

    differences: dict[Block, Vector] = field(default_factory=dict)  # of present blocks
    vectors: dict[Block, Vector] = field(default_factory=dict)  # of all blocks
    splits: set[Block] = field(default_factory=set)
    numbers: list[int] = field(default_factory=list)  # in the order of coding

    def check(self) -> int:
        """The part of the frame check that is taken over the motion field. [19]"""
        return zlib.crc32(b"".join(number.to_bytes(2, "little", signed=True) for number in self.numbers))


def size_class(value: int) -> int:
    return 0 if value == 0 else 1 if abs(value) <= 3 else 2 if abs(value) <= 15 else 3


def read_motion(decoder: RangeDecoder, tables: list[Table], rows: int, columns: int, before: Motion | None) -> Motion:
    """The motion field of a frame of this many blocks of 64; before: that of the frame before, if it has one. [20]"""
    motion = Motion()
    for level in range(4):
        grid = [(level, y, x) for y in range(rows << level) for x in range(columns << level)]
        present = [block for block in grid if level == 0 or parent(block) in motion.splits]
        guides = {block: guide(block, motion, before) for block in present}
        steps: list[dict[Block, int]] = []
        for component in (0, 1):
            numbers = []
            for block in present:
                turned = size_class(guides[block][component])
                if component == 0:
                    numbers.append(16 * level + turned)
                else:
                    numbers.append(16 * level + 4 + 3 * turned + min(size_class(steps[0][block]), 2))
            values = [int(value) for value in read_array(decoder, tables, np.array(numbers, np.int64))]
            signs = [-1 if guides[block][component] < 0 else 1 for block in present]
            steps.append({block: s * v for block, s, v in zip(present, signs, values, strict=True)})
            motion.numbers += steps[component].values()
        for block in grid:
            if block in guides:
                motion.differences[block] = steps[0][block], steps[1][block]
                motion.vectors[block] = plus(motion.differences[block], base(block, motion))
            else:
                motion.vectors[block] = motion.vectors[parent(block)]
        if level < 3:
            numbers = [
                64 + 8 * level + 2 * size_class(roughness(block, motion))
                + int(before is not None and block in before.splits)
                for block in present
            ]  # fmt: skip
            flags = [int(flag) for flag in read_array(decoder, tables, np.array(numbers, np.int64))]
            require(all(flag in (0, 1) for flag in flags), "a split is neither 0 nor 1")
            motion.splits.update(block for block, flag in zip(present, flags, strict=True) if flag)
            motion.numbers += flags
    leaves = [vector for (level, _, _), vector in motion.vectors.items() if level == 3]
    require(all(abs(part) <= 512 for vector in leaves for part in vector), "a vector is too long")
    return motion


def parent(block: Block) -> Block:
    level, y, x = block
    return level - 1, y // 2, x // 2


def plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1]


def base(block: Block, motion: Motion) -> Vector:
    """What a difference is added to. [20]"""
    level, y, x = block
    if level > 0:
        return motion.vectors[parent(block)]
    if x > 0:
        return motion.vectors[0, y, x - 1]
    return motion.vectors[0, y - 1, 0] if y > 0 else (0, 0)


def guide(block: Block, motion: Motion, before: Motion | None) -> Vector:
    """[20]"""
    level, y, x = block
    if level == 0:
        return (0, 0) if before is None else before.differences[block]
    above, py, px = parent(block)
    middle = motion.vectors[above, py, px]
    vertical = motion.vectors.get((above, py + (1 if y % 2 else -1), px), middle)
    horizontal = motion.vectors.get((above, py, px + (1 if x % 2 else -1)), middle)
    return vertical[0] + horizontal[0] - 2 * middle[0], vertical[1] + horizontal[1] - 2 * middle[1]


def roughness(block: Block, motion: Motion) -> int:
    """[20]"""
    level, y, x = block
    own = motion.vectors[block]
    around = [(level, y - 1, x), (level, y + 1, x), (level, y, x - 1), (level, y, x + 1)]
    near = [motion.vectors[other] for other in around if other in motion.vectors]
    return max((abs(own[0] - other[0]) + abs(own[1] - other[1]) for other in near), default=0)


def predict(plane: Plane, motion: Motion, luma: bool) -> list[list[int]]:
    """The prediction of one plane of the padded size. [21]"""
    taps, size = (LUMA, 8) if luma else (CHROMA, 4)
    height, width = len(plane), len(plane[0])
    window = WINDOWS[size]

    def sample(y: int, x: int, row: int, column: int) -> int:
        row, column = min(max(row, 0), height // size - 1), min(max(column, 0), width // size - 1)
        dy, dx = motion.vectors[3, row, column]
        down, across = taps[dy % len(taps)], taps[dx % len(taps)]
        origin = len(down) // 2 - 1
        total = 32
        for m, weight in enumerate(down):
            line = plane[min(max(y + dy // len(taps) + m - origin, 0), height - 1)]
            for n, other in enumerate(across):
                total += weight * other * line[min(max(x + dx // len(taps) + n - origin, 0), width - 1)]
        return total >> 6

    result = []
    for y in range(height):
        i, u = divmod(y + size // 2, size)
        line = []
        for x in range(width):
            j, v = divmod(x + size // 2, size)
            upper = (16 - window[v]) * sample(y, x, i - 1, j - 1) + window[v] * sample(y, x, i - 1, j)
            lower = (16 - window[v]) * sample(y, x, i, j - 1) + window[v] * sample(y, x, i, j)
            total = (16 - window[u]) * upper + window[u] * lower
            line.append(min(max((total + 8192) >> 14, 0), 255))
        result.append(line)
    return result
