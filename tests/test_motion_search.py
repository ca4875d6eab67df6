"""The encoder's search for motion."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError
from nacre.compensation import Planes, compensate
from nacre.motion_field import to_symbols

pytest.importorskip("numba")

from nacre.motion_search import search

Plane = NDArray[np.uint8]


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.float64]:
    """Smooth noise on the 0..255 scale, of which shifted parts can be told from each other at every scale."""
    random = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(random.normal(size=(height, width)))
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    smooth = np.fft.irfft2(spectrum / (0.01 + y**2 + x**2), (height, width))
    return 128 + 40 * (smooth - smooth.mean()) / smooth.std()


def shifted(samples: NDArray[np.float64], dy: float, dx: float) -> Plane:
    """The picture, which repeats itself on all sides, moved so that it must be sought at (dy, dx)."""
    y, x = np.fft.fftfreq(len(samples))[:, None], np.fft.rfftfreq(samples.shape[1])
    turned = np.fft.rfft2(samples) * np.exp(2j * np.pi * (y * dy + x * dx))
    return np.clip(np.round(np.fft.irfft2(turned, samples.shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("vector", [(0, 0), (12, -20), (-56, 80), (160, 240), (2, 0), (1, 1), (-3, 6), (5, -7)])
def test_known_shifts_are_found(vector: tuple[int, int]) -> None:
    large = picture(192, 256)
    reference, current = shifted(large, 0, 0), shifted(large, vector[0] / 4, vector[1] / 4)
    field = search(reference, current, 4.0)
    assert field.shape == (2, 24, 32)
    assert field.dtype == np.int16
    # blocks that come from outside the frame have no right vector
    y, x = np.mgrid[0:24, 0:32] * 8
    inside = (
        (y + vector[0] / 4 >= 0)
        & (y + vector[0] / 4 + 8 <= 192)
        & (x + vector[1] / 4 >= 0)
        & (x + vector[1] / 4 + 8 <= 256)
    )
    right = (field[0] == vector[0]) & (field[1] == vector[1])
    assert right[inside].mean() > 0.95


def test_two_motions_are_told_apart() -> None:
    large = picture(128, 192)
    reference, current = shifted(large, 0, 0), shifted(large, 0, 0)
    current[32:96, 64:128] = shifted(large, -6, 9)[32:96, 64:128]
    field = search(reference, current, 4.0)
    assert (field[:, 5:11, 9:15] == np.array([-24, 36])[:, None, None]).mean() > 0.9
    assert not field[:, :, :6].any()
    gray = np.full((64, 96), 128, np.uint8)
    predicted = compensate(Planes(reference, gray, gray), field).luma
    assert np.mean((predicted.astype(float) - current) ** 2) < np.mean((reference.astype(float) - current) ** 2) / 10


def test_bits_that_cost_more_make_larger_blocks() -> None:
    large = picture(128, 128)
    noise = np.random.default_rng(1).normal(0, 60, large.shape)
    reference = shifted(large, 0, 0)
    current = np.clip(shifted(large, 1.5, -2.25) + noise, 0, 255).astype(np.uint8)
    coded = [to_symbols(search(reference, current, lmbda)).in_order().size for lmbda in (0.0, 2000.0, 16000.0)]
    assert coded[0] > coded[1] > coded[2]


def test_the_frame_before_helps_where_motion_is_far() -> None:
    large = picture(192, 256)
    reference, current = shifted(large, 0, 0), shifted(large, 0, 124)
    previous = np.broadcast_to(np.array([0, 496], np.int16)[:, None, None], (2, 24, 32)).copy()
    field = search(reference, current, 4.0, previous)
    assert (field[1, :, :12] == 496).mean() > 0.95


def test_strips_of_a_high_picture_are_the_same_whatever_the_threads() -> None:
    large = picture(9 * 64, 128)
    reference, current = shifted(large, 0, 0), shifted(large, 3.5, -2)
    previous = search(reference, current, 4.0)
    assert (previous[:, 2:-2, 2:-2] == np.array([14, -8])[:, None, None]).mean() > 0.95
    current[200:400] = shifted(large, -5, 1.25)[200:400]
    field = search(reference, current, 4.0, previous)
    assert (field[:, 26:49, 2:-2] == np.array([-20, 5])[:, None, None]).mean() > 0.95
    for threads in (2, 3, 4, 9):
        assert np.array_equal(search(reference, current, 4.0, previous, threads), field)


def test_sides_are_padded_to_multiples_of_64() -> None:
    reference = shifted(picture(90, 130), 0, 0)
    field = search(reference, reference, 4.0)
    assert field.shape == (2, 16, 24)
    assert not field.any()


def test_vectors_stay_legal_on_noise() -> None:
    random = np.random.default_rng(2)
    frames = random.integers(0, 256, (2, 64, 128)).astype(np.uint8)
    previous = np.full((2, 8, 16), 512, np.int16)
    for lmbda in (0.0, 20.0):
        assert np.abs(search(frames[0], frames[1], lmbda, previous)).max() <= 512


def test_what_does_not_fit_is_refused() -> None:
    plane = np.zeros((64, 64), np.uint8)
    with pytest.raises(InputError, match="legal are two of one shape"):
        search(plane, plane[:32], 4.0)
    with pytest.raises(InputError, match=r"previous field is \(2, 8, 7\), legal is \(2, 8, 8\)"):
        search(plane, plane, 4.0, np.zeros((2, 8, 7), np.int16))
