"""Integers of motion compensation that the format fixes: vectors, interpolation filters, windows of overlapping blocks.

Taps are those of HEVC (ITU-T H.265, tables 8-11 and 8-12), which sum to 64. Of a filter of n taps, tap m weighs the
sample m - n / 2 + 1 positions after the one that the whole part of the vector points at.
"""

from __future__ import annotations

BLOCK = 8  # luma samples a side of the smallest block with a vector of its own; half that for chroma
ROOT_BLOCK = 64  # luma samples a side of the largest
MAX_VECTOR = 512  # largest magnitude of a component, in quarter luma samples

TAP_TOTAL = 64
LUMA_TAPS = (  # by quarter samples
    (0, 0, 0, 64, 0, 0, 0, 0),
    (-1, 4, -10, 58, 17, -5, 1, 0),
    (-1, 4, -11, 40, 40, -11, 4, -1),
    (0, 1, -5, 17, 58, -10, 4, -1),
)
CHROMA_TAPS = (  # by eighth samples
    (0, 64, 0, 0),
    (-2, 58, 10, -2),
    (-4, 54, 16, -2),
    (-6, 46, 28, -4),
    (-4, 36, 36, -4),
    (-4, 28, 46, -6),
    (-2, 16, 54, -4),
    (-2, 10, 58, -2),
)

# From the centre of one block to that of the next, a sample's weight in the later block; in the earlier it is what is
# missing to WINDOW_TOTAL.
WINDOW_TOTAL = 16
LUMA_WINDOW = (0, 0, 2, 6, 10, 14, 16, 16)
CHROMA_WINDOW = (0, 4, 12, 16)
