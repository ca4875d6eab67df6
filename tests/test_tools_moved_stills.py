"""Shots made of pictures."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("numba")

from nacre.compensation import Planes, compensate
from nacre.motion_search import search
from nacre.scene import draw_scene
from nacre.tools.moved_stills import FRAMES, SIDE, moved_stills
from nacre.tools.shots import Shot


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return moved_stills([draw_scene(), np.ascontiguousarray(draw_scene()[::-1, :400])], 6, 5)


def test_they_are_the_same_for_a_seed(shots: list[Shot]) -> None:
    again = moved_stills([draw_scene(), np.ascontiguousarray(draw_scene()[::-1, :400])], 2, 5)
    for first, second in zip(shots, again, strict=False):
        assert first.name == second.name
        assert np.array_equal(first.frames, second.frames)
    assert len({shot.name for shot in shots}) == len(shots)


def test_frames_move_and_motion_explains_them(shots: list[Shot]) -> None:
    explained = 0
    for shot in shots:
        assert shot.frames.shape == (FRAMES, SIDE * 3 // 2, SIDE)
        assert shot.frames.dtype == np.uint8
        before, now = (np.ascontiguousarray(shot.frames[time, :SIDE]) for time in (0, 1))
        assert not np.array_equal(before, now)
        chroma = np.full((SIDE // 2, SIDE // 2), 128, np.uint8)
        predicted = compensate(Planes(before, chroma, chroma), search(before, now, 8.0)).luma
        still, moved = (np.square(now.astype(float) - other).mean() for other in (before, predicted))
        assert moved <= 1.05 * still + 1.0
        explained += moved < 0.5 * still
    assert explained >= 3
