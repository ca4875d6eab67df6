"""Scene cuts: another scene is told from motion, noise and light."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba")

from nacre.scenecut import CutJudge, SceneCuts


def texture(seed: int) -> NDArray[np.uint8]:
    """Smooth blobs with some grain, uint8 (64, 96)."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (9, 13)).astype(np.float64)
    fine = np.kron(coarse, np.ones((8, 8)))[:64, :96]
    return np.clip(fine * 0.7 + random.normal(30, 6, fine.shape), 0, 255).astype(np.uint8)


def test_another_scene_is_a_cut() -> None:
    cuts = CutJudge()
    assert cuts.is_cut(texture(2), texture(1))
    assert not cuts.is_cut(texture(2), texture(2))
    assert cuts.is_cut(texture(3), texture(2))


@pytest.mark.parametrize("change", [0, 3, 12])
def test_noise_and_small_errors_are_none(change: int) -> None:
    luma = texture(1)
    noise = np.random.default_rng(3).integers(-change, change + 1, luma.shape)
    assert not CutJudge().is_cut(luma, np.clip(luma + noise * 0.2, 0, 255).astype(np.uint8))


def test_a_flat_frame_that_is_predicted_well_is_none() -> None:
    flat = np.full((64, 64), 90, np.uint8)
    assert not CutJudge().is_cut(flat, flat + 2)
    assert CutJudge().is_cut(flat, flat + 60)


def test_a_reference_that_is_always_bad_makes_one_cut_at_most() -> None:
    cuts = CutJudge()
    random = np.random.default_rng(4)
    found = []
    for _ in range(6):
        bad = np.clip(texture(1) + random.normal(0, 40, (64, 96)), 0, 255).astype(np.uint8)
        found.append(cuts.is_cut(texture(1), bad))
    assert found == [True] + [False] * 5


@pytest.mark.parametrize(("height", "width"), [(64, 64), (192, 320), (384, 640)])
def test_frames_of_a_clip(height: int, width: int) -> None:
    """Motion of a few samples is no cut at any size, nor is the first frame; the other scene is one, once."""
    random = np.random.default_rng(5)
    coarse = random.integers(0, 256, (2, 2 * height // 16, 2 * width // 16))
    scenes = np.kron(coarse, np.ones((1, 16, 16)))
    cuts, found = SceneCuts(), []
    for number in range(8):
        luma = scenes[number // 4][2 * number :, 3 * number :][:height, :width]
        found.append(cuts.is_cut(np.clip(luma + random.normal(0, 2, luma.shape), 0, 255).astype(np.uint8)))
    assert found == [number == 4 for number in range(8)]
