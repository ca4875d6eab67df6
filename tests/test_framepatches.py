"""Frames as patches: the same as the training's, there and back."""

from __future__ import annotations

import numpy as np
import pytest

from nacre.compensation import Planes
from nacre.framepatches import crop, pad, to_patches, to_planes


def make_planes(height: int, width: int) -> Planes:
    random = np.random.default_rng(height * 1000 + width)
    chroma = (-(-height // 2), -(-width // 2))
    return Planes(*(random.integers(0, 256, shape, np.uint8) for shape in ((height, width), chroma, chroma)))


def test_there_and_back() -> None:
    planes = make_planes(128, 192)
    patches = to_patches(planes)
    assert patches.shape == (1, 96, 16, 24)
    for plane, again in zip(planes, to_planes(patches), strict=True):
        assert np.array_equal(plane, again)


def test_channels_are_those_of_the_training() -> None:
    torch = pytest.importorskip("torch")
    frames = pytest.importorskip("nacre.models.frames")
    planes = make_planes(64, 128)
    chroma = torch.from_numpy(np.stack(planes[1:]))[None]
    patches = frames.to_patches(frames.Planes(torch.from_numpy(planes.luma)[None, None], chroma))
    scale = np.full(96, frames.PIXEL_SCALE, np.float64)
    scale[64:] /= frames.CHROMA_SCALE
    samples = patches.numpy().astype(np.float64) * scale[:, None, None] + frames.PIXEL_CENTRE
    assert np.abs(samples - to_patches(planes)).max() < 1e-3


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 33), (64, 64), (65, 127)])
def test_padding_repeats_the_edge_and_is_cut_again(height: int, width: int) -> None:
    planes = make_planes(height, width)
    padded = pad(planes)
    rows, columns = -(-height // 64) * 64, -(-width // 64) * 64
    assert [plane.shape for plane in padded] == [(rows, columns)] + [(rows // 2, columns // 2)] * 2
    for plane, wide in zip(planes, padded, strict=True):
        assert (wide[:, plane.shape[1] :] == wide[:, plane.shape[1] - 1 : plane.shape[1]]).all()
        assert (wide[plane.shape[0] :] == wide[plane.shape[0] - 1]).all()
    for plane, again in zip(planes, crop(padded, height, width), strict=True):
        assert np.array_equal(plane, again)
