"""What the tests share: the tiny seeded model of tests/data/tiny, and pictures made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

TINY = Path(__file__).parent / "data" / "tiny"


def make_picture(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A gradient with an edge and a little noise: uint8 (height, width, 3), or (height, width) for one channel."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = [
        (60 + 90 * x / width + 40 * y / height + 50 * (x + y > (width + height) / 2)) * gain for gain in (1.0, 0.8, 0.6)
    ]
    noisy = np.stack(planes[:channels], axis=-1) + random.normal(0, 3, (height, width, channels))
    picture: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    if channels == 1:
        picture = picture[..., 0]
    return picture


@pytest.fixture(scope="session")
def tiny_folder() -> Path:
    """The folder of the tiny model, in the layout of published weights."""
    return TINY


@pytest.fixture
def tiny_weights(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the tiny model the installed one, by NACRE_WEIGHTS."""
    monkeypatch.setenv("NACRE_WEIGHTS", str(TINY))
    return TINY
