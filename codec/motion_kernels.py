"""The inner loops of motion search, compiled by numba. Vectors are (dy, dx); sums are single-precision numbers.

Pictures are padded by MARGIN replicated samples; where a vector leads a block further away than that, it is moved back
to where it still sees replicated samples alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.interpolation import MAX_VECTOR
from nacre.entropy.compiled import compiled

Samples = NDArray[np.float32]
Vectors = NDArray[np.int32]

_Index = np.unsignedinteger[Any]

MARGIN = 24
_WHOLE = 16  # choice of a block that is not split
_SIZE = 8
_COLUMNS = np.uintp(8)
_MAX_DIFFERENCE = 2 * MAX_VECTOR
# What the tables of nacre.tools.motion_tables make of a component, by its magnitude, and of a split, about.
_BITS = np.append(0.5, 3.5 + np.log2(np.arange(1, _MAX_DIFFERENCE + 1))).astype(np.float32)
_WHOLE_BITS, _SPLIT_BITS = np.float32(0.4), np.float32(1.8)
_NEARLY_BITS = np.float32(8)
_REACH = 16  # how far outside a block's samples may begin; MARGIN less a step of the refinement and half samples


@compiled
def _vector_bits(dy: int, dx: int) -> np.float32:
    """About how many bits a vector difference costs, in quarter samples."""
    bits: np.float32 = _BITS[min(abs(dy), _MAX_DIFFERENCE)] + _BITS[min(abs(dx), _MAX_DIFFERENCE)]
    return bits


@compiled
def _square(x: np.float32) -> np.float32:
    return x * x


@compiled
def _difference(one: Samples, y: int, x: int, two: Samples, top: int, left: int) -> np.float32:
    """Sum of squared differences of the 8x8 samples at (y, x) of one picture and at (top, left) of another.

    Written out, and with indices that cannot be negative, so that the compiler makes vectors of the columns.
    """
    a, b, c, d, e, f, g, h = _rows(y)
    k, l, m, n, o, p, q, r = _rows(top)  # noqa: E741
    first, second = np.uintp(x), np.uintp(left)
    total = np.float32(0)
    for j in range(_COLUMNS):
        u, v = first + j, second + j
        total += (
            _square(one[a, u] - two[k, v])
            + _square(one[b, u] - two[l, v])
            + _square(one[c, u] - two[m, v])
            + _square(one[d, u] - two[n, v])
            + _square(one[e, u] - two[o, v])
            + _square(one[f, u] - two[p, v])
            + _square(one[g, u] - two[q, v])
            + _square(one[h, u] - two[r, v])
        )
    return total


@compiled
def _mean_difference(
    one: Samples, y: int, x: int, two: Samples, top: int, left: int, three: Samples, low: int, right: int
) -> np.float32:
    """The same with the means of two pictures' samples, at (top, left) and at (low, right)."""
    a, b, c, d, e, f, g, h = _rows(y)
    k, l, m, n, o, p, q, r = _rows(top)  # noqa: E741
    k1, l1, m1, n1, o1, p1, q1, r1 = _rows(low)
    first, second, third = np.uintp(x), np.uintp(left), np.uintp(right)
    total, half = np.float32(0), np.float32(0.5)
    for j in range(_COLUMNS):
        u, v, w = first + j, second + j, third + j
        total += (
            _square(one[a, u] - half * (two[k, v] + three[k1, w]))
            + _square(one[b, u] - half * (two[l, v] + three[l1, w]))
            + _square(one[c, u] - half * (two[m, v] + three[m1, w]))
            + _square(one[d, u] - half * (two[n, v] + three[n1, w]))
            + _square(one[e, u] - half * (two[o, v] + three[o1, w]))
            + _square(one[f, u] - half * (two[p, v] + three[p1, w]))
            + _square(one[g, u] - half * (two[q, v] + three[q1, w]))
            + _square(one[h, u] - half * (two[r, v] + three[r1, w]))
        )
    return total


@compiled
def _rows(y: int) -> tuple[_Index, _Index, _Index, _Index, _Index, _Index, _Index, _Index]:
    a = np.uintp(y)
    return (
        a,
        a + np.uintp(1),
        a + np.uintp(2),
        a + np.uintp(3),
        a + np.uintp(4),
        a + np.uintp(5),
        a + np.uintp(6),
        a + np.uintp(7),
    )


@compiled
def _whole_difference(current: Samples, y: int, x: int, reference: Samples, dy: int, dx: int) -> np.float32:
    """Sum of squared differences of the 8x8 samples at (y, x) and those moved by a whole vector."""
    limit_y, limit_x = current.shape[0] + _REACH - _SIZE, current.shape[1] + _REACH - _SIZE
    top = min(max(y + dy, -_REACH), limit_y) + MARGIN
    left = min(max(x + dx, -_REACH), limit_x) + MARGIN
    return _difference(current, y, x, reference, top, left)


@compiled
def whole_search(
    current: Samples,
    reference: Samples,
    coarse: Vectors,
    hint: Vectors,
    unit: int,
    weight: float,
    radius: int,
    out: Vectors,
    start: int,
    stop: int,
    strip: int,
) -> None:
    """Whole vectors of the 8x8 blocks of one level of the pyramid, each found near candidates.

    Only the rows from start to stop, so that several threads may work on one frame; so do the functions below. Every
    `strip` rows, no candidates are taken from above: there work may start.

    coarse (2, H / 16, W / 16): vectors of the level above; hint (2, H / 8, W / 8): in this level's samples. Differences
    to what coarse says cost `weight` for each bit of a vector whose samples are `unit` quarter samples. With a radius,
    everything up to it is tried.
    """
    for row in range(start, stop):
        for column in range(out.shape[2]):
            y, x = row * _SIZE, column * _SIZE
            r, c = min(row // 2, coarse.shape[1] - 1), min(column // 2, coarse.shape[2] - 1)
            mid_y, mid_x = 2 * coarse[0, r, c], 2 * coarse[1, r, c]
            best_y, best_x = mid_y, mid_x
            best = _whole_difference(current, y, x, reference, mid_y, mid_x)
            for candidate in range(8):
                if candidate == 0:
                    dy, dx = 0, 0
                elif candidate == 1:
                    dy, dx = hint[0, row, column], hint[1, row, column]
                elif candidate == 2:
                    if column == 0:
                        continue
                    dy, dx = out[0, row, column - 1], out[1, row, column - 1]
                elif candidate == 3:
                    if row % strip == 0:
                        continue
                    dy, dx = out[0, row - 1, column], out[1, row - 1, column]
                else:
                    other_r, other_c = r, c
                    if candidate == 4:
                        other_r = r - 1
                    elif candidate == 5:
                        other_r = r + 1
                    elif candidate == 6:
                        other_c = c - 1
                    else:
                        other_c = c + 1
                    if other_r < 0 or other_c < 0 or other_r >= coarse.shape[1] or other_c >= coarse.shape[2]:
                        continue
                    dy, dx = 2 * coarse[0, other_r, other_c], 2 * coarse[1, other_r, other_c]
                if (dy == mid_y and dx == mid_x) or (dy == best_y and dx == best_x):
                    continue
                cost = _whole_difference(current, y, x, reference, dy, dx)
                cost += weight * _vector_bits(unit * (dy - mid_y), unit * (dx - mid_x))
                if cost < best:
                    best, best_y, best_x = cost, dy, dx
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    cost = _whole_difference(current, y, x, reference, dy, dx)
                    cost += weight * _vector_bits(unit * (dy - mid_y), unit * (dx - mid_x))
                    if cost < best:
                        best, best_y, best_x = cost, dy, dx
            for _ in range(4):
                from_y, from_x = best_y, best_x
                for side in range(4):
                    dy = from_y + (side == 0) - (side == 1)
                    dx = from_x + (side == 2) - (side == 3)
                    cost = _whole_difference(current, y, x, reference, dy, dx)
                    cost += weight * _vector_bits(unit * (dy - mid_y), unit * (dx - mid_x))
                    if cost < best:
                        best, best_y, best_x = cost, dy, dx
                if best_y == from_y and best_x == from_x:
                    break
            out[0, row, column], out[1, row, column] = best_y, best_x


@compiled
def halve(plane: Samples, out: Samples) -> None:
    """Means of 2x2 samples: plane (2 h, 2 w), out (h, w)."""
    for y in range(out.shape[0]):
        above, below, means = plane[2 * y], plane[2 * y + 1], out[y]
        for x in range(out.shape[1]):
            means[x] = np.float32(0.25) * (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1])


@compiled
def half_samples(padded: Samples, taps: Samples, out: Samples) -> None:
    """Samples between the samples: out (4 h, w) is the picture, then moved by half a sample right, down, and both.

    padded (h, w) is rounded to whole numbers nowhere; what lies within four samples of its edge is copied.
    """
    height, width = padded.shape
    a, b, c, d, e, f, g, h = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5], taps[6], taps[7]
    for y in range(height):
        s, copy, right = padded[y], out[y], out[height + y]
        for x in range(width):
            copy[x] = s[x]
            right[x] = s[x]
        for x in range(width - 7):
            first = a * s[x] + b * s[x + 1] + c * s[x + 2] + d * s[x + 3]
            right[x + 3] = first + (e * s[x + 4] + f * s[x + 5] + g * s[x + 6] + h * s[x + 7])
    for k in range(2):
        for y in range(height):
            down = out[(2 + k) * height + y]
            if y < 3 or y >= height - 4:
                s = out[k * height + y]
                for x in range(width):
                    down[x] = s[x]
                continue
            z = k * height + y
            p, q, r, s = out[z - 3], out[z - 2], out[z - 1], out[z]
            t, u, v, w = out[z + 1], out[z + 2], out[z + 3], out[z + 4]
            for x in range(width):
                first = a * p[x] + b * q[x] + c * r[x] + d * s[x]
                down[x] = first + (e * t[x] + f * u[x] + g * v[x] + h * w[x])


@compiled
def _quarter_difference(current: Samples, halves: Samples, row: int, column: int, dy: int, dx: int) -> np.float32:
    """Sum of squared differences of one 8x8 block at a vector in quarter samples.

    Samples at odd quarters are means of the two nearest half samples, as in H.264.
    """
    if dy & 1 and dx & 1:
        first_y, first_x = (dy + 1) >> 2 << 1, (dx >> 2 << 1) + 1
        second_y, second_x = (dy >> 2 << 1) + 1, (dx + 1) >> 2 << 1
    else:
        first_y, first_x = dy >> 1, dx >> 1
        second_y, second_x = (dy + 1) >> 1, (dx + 1) >> 1
    y, x = row * _SIZE, column * _SIZE
    limit_y, limit_x = current.shape[0] + _REACH - _SIZE, current.shape[1] + _REACH - _SIZE
    height = current.shape[0] + 2 * MARGIN  # of each of the four pictures, one below the other
    top = min(max(y + (first_y >> 1), -_REACH), limit_y) + MARGIN + ((first_y & 1) * 2 + (first_x & 1)) * height
    left = min(max(x + (first_x >> 1), -_REACH), limit_x) + MARGIN
    if not (dy | dx) & 1:
        return _difference(current, y, x, halves, top, left)
    low = min(max(y + (second_y >> 1), -_REACH), limit_y) + MARGIN + ((second_y & 1) * 2 + (second_x & 1)) * height
    right = min(max(x + (second_x >> 1), -_REACH), limit_x) + MARGIN
    return _mean_difference(current, y, x, halves, top, left, halves, low, right)


@compiled
def quarter_search(
    current: Samples,
    halves: Samples,
    coarse: Vectors,
    weight: float,
    limit: int,
    vectors: Vectors,
    costs: Samples,
    start: int,
    stop: int,
) -> None:
    """Refines vectors (2, H / 8, W / 8), in quarter samples, first by half samples, then by quarters.

    coarse (2, H / 16, W / 16): what differences are counted from, in quarter samples. costs (H / 8, W / 8) becomes the
    sums of squared differences at the vectors found.
    """
    for row in range(start, stop):
        for column in range(vectors.shape[2]):
            mid_y, mid_x = coarse[0, row // 2, column // 2], coarse[1, row // 2, column // 2]
            best_y, best_x = vectors[0, row, column], vectors[1, row, column]
            distortion = _quarter_difference(current, halves, row, column, best_y, best_x)
            best = distortion + weight * _vector_bits(best_y - mid_y, best_x - mid_x)
            for step in (2, 1):
                from_y, from_x = best_y, best_x
                for k in range(9):
                    dy = from_y + (k // 3 - 1) * step
                    dx = from_x + (k % 3 - 1) * step
                    if k == 4 or abs(dy) > limit or abs(dx) > limit:
                        continue
                    bits = weight * _vector_bits(dy - mid_y, dx - mid_x)
                    if bits >= best:
                        continue
                    found = _quarter_difference(current, halves, row, column, dy, dx)
                    if found + bits < best:
                        best, distortion, best_y, best_x = found + bits, found, dy, dx
            vectors[0, row, column], vectors[1, row, column] = best_y, best_x
            costs[row, column] = distortion


@compiled
def merge(
    current: Samples,
    halves: Samples,
    children: Vectors,
    child_costs: Samples,
    extra: Vectors,
    size: int,
    weight: float,
    chained: bool,
    vectors: Vectors,
    costs: Samples,
    choice: NDArray[np.uint8],
    start: int,
    stop: int,
) -> None:
    """One level of the quadtree from the bottom: for each block, whether it is split, and its vector.

    children (2, 2h, 2w) and child_costs (2h, 2w): vectors and costs (distortion and weighted bits, without those of
    the vector itself) of blocks of `size` blocks of 8x8; extra (2, h, w): another candidate for the whole. vectors (2,
    h, w) and costs (h, w) become the same of the blocks of 2 * size; choice (h, w) is 16 where a block is not split,
    otherwise bits 0..3 say which children become leaves with the block's own vector.
    chained: the blocks are the roots, whose vectors are coded as differences from the left neighbour's.

    Where one vector for the whole is nearly best, those around it are tried, too.
    """
    candidates = np.empty((11, 2), np.int32)
    best_whole = np.empty(2, np.int32)
    for row in range(start, stop):
        for column in range(vectors.shape[2]):
            count = 0
            for k in range(4):
                y, x = 2 * row + k // 2, 2 * column + k % 2
                count = _add(candidates, count, children[0, y, x], children[1, y, x])
            count = _add(candidates, count, extra[0, row, column], extra[1, row, column])
            count = _add(candidates, count, 0, 0)
            behind = chained and column > 0
            left_y, left_x = (vectors[0, row, column - 1], vectors[1, row, column - 1]) if behind else (0, 0)
            if behind:
                count = _add(candidates, count, left_y, left_x)
            best = least = np.float32(np.inf)
            tried = 0
            for attempt in range(2):
                if attempt == 1:
                    if least > best + weight * _NEARLY_BITS:
                        break
                    for k in range(4):
                        dy, dx = best_whole[0] + (k == 0) - (k == 1), best_whole[1] + (k == 2) - (k == 3)
                        count = _add(candidates, count, dy, dx)
                while tried < count:
                    dy, dx = candidates[tried, 0], candidates[tried, 1]
                    tried += 1
                    bits = _vector_bits(dy - left_y, dx - left_x) if behind else np.float32(0)
                    whole, split, leaves = weight * (_WHOLE_BITS + bits), weight * (_SPLIT_BITS + bits), 0
                    for k in range(4):
                        y, x = 2 * row + k // 2, 2 * column + k % 2
                        own = child_costs[y, x] + weight * _vector_bits(children[0, y, x] - dy, children[1, y, x] - dx)
                        if size == 1 and dy == children[0, y, x] and dx == children[1, y, x]:
                            same = child_costs[y, x]
                        else:
                            # from there on it can make neither the whole nor this child better
                            enough = max(least - whole, own)
                            same = _block_difference(current, halves, y, x, size, dy, dx, enough)
                        whole += same
                        same += weight * _vector_bits(0, 0)
                        split += min(same, own)
                        if same < own:
                            leaves |= 1 << k
                        if whole >= least and split >= best:
                            break
                    if whole < least:
                        least = whole
                        best_whole[0], best_whole[1] = dy, dx
                    if min(whole, split) < best:
                        best = min(whole, split)
                        vectors[0, row, column], vectors[1, row, column] = dy, dx
                        choice[row, column] = _WHOLE if whole <= split else leaves
            costs[row, column] = best


@compiled
def inherit(
    vectors: Vectors,
    choice: NDArray[np.uint8],
    children: Vectors,
    child_choice: NDArray[np.uint8],
    start: int,
    stop: int,
) -> None:
    """Gives a level's vectors to those children that `merge` has made leaves, which are not split then."""
    for row in range(start, stop):
        for column in range(vectors.shape[2]):
            for k in range(4):
                if choice[row, column] == _WHOLE or choice[row, column] >> k & 1:
                    y, x = 2 * row + k // 2, 2 * column + k % 2
                    children[0, y, x], children[1, y, x] = vectors[0, row, column], vectors[1, row, column]
                    child_choice[y, x] = _WHOLE


@compiled
def _add(candidates: Vectors, count: int, dy: int, dx: int) -> int:
    """Appends a vector to `count` candidates, if it is new and legal; how many there are then."""
    if abs(dy) > MAX_VECTOR or abs(dx) > MAX_VECTOR:
        return count
    for k in range(count):
        if candidates[k, 0] == dy and candidates[k, 1] == dx:
            return count
    candidates[count, 0], candidates[count, 1] = dy, dx
    return count + 1


@compiled
def _block_difference(
    current: Samples, halves: Samples, row: int, column: int, size: int, dy: int, dx: int, enough: np.float32
) -> np.float32:
    """Sum of squared differences of a block of size * size blocks of 8x8, or a part of it that is at least `enough`."""
    total = np.float32(0)
    for y in range(row * size, (row + 1) * size):
        for x in range(column * size, (column + 1) * size):
            total += _quarter_difference(current, halves, y, x, dy, dx)
            if total >= enough:
                return total
    return total
