"""Tiles to multiples of 64 pixels, the hyper-latent's step."""

from __future__ import annotations

import numpy as np

from nacre.bitstream.geometry import padded_size
from nacre.picture import Pixels


def pad(pixels: Pixels) -> Pixels:
    """Pixels (H, W, 3), or (H, W) in three equal channels, with the last column and row repeated to multiples of 64."""
    height, width = pixels.shape[:2]
    padded_width, padded_height = padded_size(width, height)
    if (padded_height, padded_width, 3) == pixels.shape:
        return pixels
    padded = np.empty((padded_height, padded_width, 3), np.uint8)
    padded[:height, :width] = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    padded[:height, width:] = padded[:height, width - 1 : width]
    padded[height:] = padded[height - 1]
    return padded
