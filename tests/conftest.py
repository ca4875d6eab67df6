"""What the tests share: the tiny seeded model of tests/data/tiny, pictures made on the spot, where larger data lies.

NACRE_DATA names a folder that may hold data/images/kodak, the 24 pictures, and anchors/kodak-rd.json, published curves;
by default the folder `shared` beside the checkout. Tests that need what is not there are skipped.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

# A runner that works in the background may start with SIGINT ignored, which processes that are started here inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = Path(__file__).parent / "data" / "tiny"
TINY_VIDEO = TINY.with_name("tiny-video")  # likewise, for clips
TINY_VIDEO_PRIOR = TINY.with_name("tiny-video-prior")  # likewise, with scales that see the frame before
DATA = Path(os.environ.get("NACRE_DATA") or Path(__file__).parents[2] / "shared")

# Machines under load are slow at random, which is no failure; a failure prints how to repeat it.
hypothesis.settings.register_profile("nacre", deadline=None, print_blob=True)
hypothesis.settings.load_profile("nacre")


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


def data_path(name: str) -> Path:
    """A path below NACRE_DATA; skips the test that asks where it does not exist."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} does not exist (NACRE_DATA)")
    return path


@pytest.fixture(scope="session")
def kodak_pictures() -> list[Path]:
    """The files of the Kodak pictures."""
    return sorted(data_path("data/images/kodak").glob("*.png"))


@pytest.fixture(scope="session")
def kodak_curves() -> Path:
    """The file of published rate-distortion curves on Kodak."""
    return data_path("anchors/kodak-rd.json")
