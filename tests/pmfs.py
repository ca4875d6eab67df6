"""Probabilities for the tests of entropy coding."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nacre.entropy.scales import LOG_SCALE_MIN, LOG_SCALE_STEP, SCALE_LEVELS


def scale_levels() -> NDArray[np.float64]:
    """The standard deviation of every scale index, (64,), in symbol steps."""
    levels: NDArray[np.float64] = np.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * np.arange(SCALE_LEVELS))
    return levels


def gaussian_pmf(sigma: float, radius: int) -> NDArray[np.float64]:
    """Probabilities of a rounded zero-mean Gaussian, (2 * radius + 2,): -radius..radius, then the escape."""
    upper = np.array([0.5 * math.erfc((k + 0.5) / (sigma * math.sqrt(2.0))) for k in range(radius + 1)])
    right = -np.diff(upper)
    return np.concatenate([right[::-1], [1.0 - 2.0 * upper[0]], right, [2.0 * upper[-1]]])
