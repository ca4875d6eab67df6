"""Planar YUV 4:2:0 of 8 bits and RGB.

A frame is one array (3 H / 2, W) as PyAV gives it: H rows of Y, then all of U, then all of V, each (H / 2, W / 2).
Matrices and ranges are those of ITU-R BT.601, BT.709 and BT.2020 (H.273, MatrixCoefficients 5 and 6, 1, 9). Chroma
samples lie where H.264, H.265 and MPEG-2 put them by default: on the even columns, midway between two rows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nacre.tools.pictures import Picture

Matrix = Literal["bt601", "bt709", "bt2020"]
Frame = NDArray[np.uint8]  # (3 H / 2, W)
Frames = NDArray[np.uint8]  # (F, 3 H / 2, W)
Plane = NDArray[np.float32]

_RED_BLUE: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


def split(frames: Frames) -> tuple[Frames, Frames, Frames]:
    """Y (F, H, W), U and V (F, H / 2, W / 2) of frames; views."""
    count, rows, width = frames.shape
    height = rows * 2 // 3
    flat = frames.reshape(count, -1)
    luma, chroma = height * width, height * width // 4
    half = (count, height // 2, width // 2)
    return (
        flat[:, :luma].reshape(count, height, width),
        flat[:, luma : luma + chroma].reshape(half),
        flat[:, luma + chroma :].reshape(half),
    )


def _ranges(full_range: bool) -> tuple[float, float, float]:
    """Offset and span of Y, and span of U and V about 128, in steps of 8 bits."""
    return (0.0, 255.0, 255.0) if full_range else (16.0, 219.0, 224.0)


def to_rgb(frame: Frame, matrix: Matrix, full_range: bool) -> Picture:
    """The picture (H, W, 3) of a frame; chroma is interpolated linearly."""
    red, blue = _RED_BLUE[matrix]
    offset, span, chroma_span = _ranges(full_range)
    y, u, v = (plane[0].astype(np.float32) for plane in split(frame[np.newaxis]))
    luma = (y - offset) * (255.0 / span)
    u, v = ((_enlarge(plane) - 128.0) * (255.0 / chroma_span) for plane in (u, v))
    r = luma + 2.0 * (1.0 - red) * v
    b = luma + 2.0 * (1.0 - blue) * u
    g = (luma - red * r - blue * b) / (1.0 - red - blue)
    return _rounded(np.stack((r, g, b), axis=-1))


def from_rgb(picture: Picture, matrix: Matrix, full_range: bool) -> Frame:
    """The frame (3 H / 2, W) of a picture (H, W, 3) with even sides; chroma is averaged over its neighbours."""
    red, blue = _RED_BLUE[matrix]
    offset, span, chroma_span = _ranges(full_range)
    r, g, b = (picture[..., channel].astype(np.float32) for channel in range(3))
    luma = red * r + (1.0 - red - blue) * g + blue * b
    planes = [luma * (span / 255.0) + offset]
    for colour, weight in ((b, blue), (r, red)):
        chroma = (colour - luma) / (2.0 * (1.0 - weight))
        planes.append(_reduce(chroma) * (chroma_span / 255.0) + 128.0)
    flat = np.concatenate([_rounded(plane).ravel() for plane in planes])
    return flat.reshape(-1, picture.shape[1])


def _rounded(values: Plane) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0.0, 255.0).astype(np.uint8)


def _enlarge(plane: Plane) -> Plane:
    """(h, w) to (2 h, 2 w)."""
    padded = np.pad(plane, ((1, 1), (0, 1)), mode="edge")
    wide = np.empty((padded.shape[0], 2 * plane.shape[1]), np.float32)
    wide[:, ::2] = padded[:, :-1]
    wide[:, 1::2] = (padded[:, :-1] + padded[:, 1:]) / 2.0
    result = np.empty((2 * plane.shape[0], wide.shape[1]), np.float32)
    result[::2] = 0.75 * wide[1:-1] + 0.25 * wide[:-2]
    result[1::2] = 0.75 * wide[1:-1] + 0.25 * wide[2:]
    return result


def _reduce(plane: Plane) -> Plane:
    """(2 h, 2 w) to (h, w)."""
    rows = (plane[::2] + plane[1::2]) / 2.0
    padded = np.pad(rows, ((0, 0), (1, 0)), mode="edge")
    reduced: Plane = (padded[:, :-1:2] + 2.0 * padded[:, 1::2] + rows[:, 1::2]) / 4.0
    return reduced
