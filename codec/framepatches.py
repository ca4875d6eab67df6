"""Frames of 8-bit YUV 4:2:0 padded to whole blocks, and as the patches that the networks see.

A patch of 8x8 luma samples has 64 + 16 + 16 channels: the luma samples in raster order, then 4x4 of each chroma plane.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nacre.bitstream.geometry import padded_size
from nacre.compensation import Plane, Planes

PATCH = 8
PATCH_CHANNELS = 96

Patches = NDArray[np.uint8]
"""(1, 96, H / 8, W / 8)."""


def pad(planes: Planes) -> Planes:
    """The planes with their last column and row repeated: luma up to multiples of 64, chroma to half of that."""
    height, width = planes.luma.shape
    padded_width, padded_height = padded_size(width, height)
    if (padded_height, padded_width) == (height, width):
        return planes
    return Planes(
        _extended(planes.luma, padded_height, padded_width),
        *(_extended(plane, padded_height // 2, padded_width // 2) for plane in planes[1:]),
    )


def crop(planes: Planes, height: int, width: int) -> Planes:
    """Copies of the first rows and columns of padded planes: luma (height, width), chroma half of that, rounded up."""
    rows, columns = -(-height // 2), -(-width // 2)
    return Planes(planes.luma[:height, :width].copy(), *(plane[:rows, :columns].copy() for plane in planes[1:]))


def to_patches(planes: Planes) -> Patches:
    """Padded planes as patches."""
    rows, columns = planes.luma.shape[0] // PATCH, planes.luma.shape[1] // PATCH
    patches = np.empty((1, PATCH_CHANNELS, rows, columns), np.uint8)
    start = 0
    for plane, side in zip(planes, (PATCH, PATCH // 2, PATCH // 2), strict=True):
        stop = start + side * side
        blocks = plane.reshape(rows, side, columns, side).transpose(1, 3, 0, 2)
        patches[0, start:stop].reshape(side, side, rows, columns)[:] = blocks
        start = stop
    return patches


def to_planes(patches: Patches) -> Planes:
    """The inverse of `to_patches`."""
    rows, columns = patches.shape[2:]
    planes = []
    start = 0
    for side in (PATCH, PATCH // 2, PATCH // 2):
        stop = start + side * side
        blocks = patches[0, start:stop].reshape(side, side, rows, columns).transpose(2, 0, 3, 1)
        plane = np.empty((rows, side, columns, side), np.uint8)
        for column in range(side):  # one by one, or NumPy would copy a few samples at a time
            plane[..., column] = blocks[..., column]
        planes.append(plane.reshape(rows * side, columns * side))
        start = stop
    return Planes(*planes)


def _extended(plane: Plane, rows: int, columns: int) -> Plane:
    return np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), mode="edge")
