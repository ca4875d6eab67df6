"""Distortion between pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def psnr(reference: NDArray[np.uint8], picture: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 arrays of one shape; inf where they are equal."""
    difference = np.subtract(reference, picture, dtype=np.int32)
    error = float(np.mean(np.square(difference), dtype=np.float64))
    return math.inf if error == 0.0 else 10.0 * math.log10(255.0**2 / error)
