"""Motion compensation: the NumPy definition, the compiled form and the torch twin give one prediction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nacre.bitstream.errors import InputError
from nacre.bitstream.interpolation import (
    CHROMA_TAPS,
    CHROMA_WINDOW,
    LUMA_TAPS,
    LUMA_WINDOW,
    MAX_VECTOR,
    TAP_TOTAL,
    WINDOW_TOTAL,
)
from nacre.compensation import Field, Planes, compensate, compensate_reference, fast_form


def noise(height: int, width: int, seed: int = 0) -> Planes:
    """Samples at which filters over- and undershoot most: black, white and anything."""
    random = np.random.default_rng(seed)

    def plane(rows: int, columns: int) -> NDArray[np.uint8]:
        values = random.integers(0, 256, (rows, columns))
        return np.where(random.random((rows, columns)) < 0.5, values, 255 * (values > 128)).astype(np.uint8)

    return Planes(plane(height, width), plane(height // 2, width // 2), plane(height // 2, width // 2))


def random_field(height: int, width: int, largest: int, seed: int = 0) -> Field:
    random = np.random.default_rng(seed)
    return random.integers(-largest, largest + 1, (2, height // 8, width // 8)).astype(np.int16)


FIELDS = {
    "still": np.zeros((2, 8, 16), np.int16),
    "small": random_field(64, 128, 9),
    "extreme": random_field(64, 128, MAX_VECTOR),
    "corner": np.full((2, 8, 16), -MAX_VECTOR, np.int16),
    "other corner": np.full((2, 8, 16), MAX_VECTOR, np.int16),
    "large blocks": np.repeat(np.repeat(random_field(16, 32, 100), 4, axis=1), 4, axis=2),
}


def by_hand(plane: NDArray[np.uint8], field: Field, luma: bool, y: int, x: int) -> int:
    """One sample, as the text of the module says, in plain Python."""
    taps, window = (LUMA_TAPS, LUMA_WINDOW) if luma else (CHROMA_TAPS, CHROMA_WINDOW)
    steps, size, length = len(taps), len(window), len(taps[0])
    height, width = plane.shape
    total = 8192
    for below in (0, 1):
        for right in (0, 1):
            row, column = (y + size // 2) // size - 1 + below, (x + size // 2) // size - 1 + right
            later_y, later_x = window[(y + size // 2) % size], window[(x + size // 2) % size]
            weight = (later_y if below else 16 - later_y) * (later_x if right else 16 - later_x)
            row, column = min(max(row, 0), field.shape[1] - 1), min(max(column, 0), field.shape[2] - 1)
            dy, dx = int(field[0, row, column]), int(field[1, row, column])
            p = 32
            for m in range(length):
                for n in range(length):
                    top = min(max(y + dy // steps + m - length // 2 + 1, 0), height - 1)
                    left = min(max(x + dx // steps + n - length // 2 + 1, 0), width - 1)
                    p += taps[dy % steps][m] * taps[dx % steps][n] * int(plane[top, left])
            total += weight * (p >> 6)
    return min(max(total >> 14, 0), 255)


def test_the_integers_of_the_format() -> None:
    for taps in (LUMA_TAPS, CHROMA_TAPS):
        assert all(sum(row) == TAP_TOTAL for row in taps)
        # mirrored fractions have mirrored taps, so no direction is preferred
        for fraction in range(1, len(taps)):
            assert taps[fraction] == taps[-fraction][::-1]
    for window in (LUMA_WINDOW, CHROMA_WINDOW):
        assert [WINDOW_TOTAL - weight for weight in window[::-1]] == list(window)
    # all sums stay below 2 ** 24, where single precision still holds every integer
    widest = max(sum(map(abs, row)) for row in LUMA_TAPS)
    assert (255 * widest * widest + 32) // 64 * WINDOW_TOTAL**2 + 8192 < 1 << 24


@pytest.mark.parametrize("name", ["small", "extreme", "large blocks"])
def test_the_reference_is_what_the_text_says(name: str) -> None:
    frame, field = noise(64, 128), FIELDS[name]
    got = compensate_reference(frame, field)
    random = np.random.default_rng(3)
    for y, x in [(0, 0), (63, 127), (0, 127), *random.integers(0, (64, 128), (40, 2)).tolist()]:
        assert got.luma[y, x] == by_hand(frame.luma, field, True, y, x)
        assert got.cb[y // 2, x // 2] == by_hand(frame.cb, field, False, y // 2, x // 2)
        assert got.cr[y // 2, x // 2] == by_hand(frame.cr, field, False, y // 2, x // 2)


@pytest.mark.parametrize("name", FIELDS)
def test_the_compiled_form_equals_the_reference(name: str) -> None:
    pytest.importorskip("numba")
    assert fast_form() is not None
    frame, field = noise(64, 128), FIELDS[name]
    for got, expected in zip(compensate(frame, field), compensate_reference(frame, field), strict=True):
        assert got.dtype == np.uint8
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("threads", [2, 3, 8, 9, 40])
@pytest.mark.parametrize("name", ["extreme", "large blocks"])
def test_bands_of_rows_equal_the_reference(name: str, threads: int) -> None:
    pytest.importorskip("numba")
    frame, field = noise(64, 128), FIELDS[name]
    for got, expected in zip(compensate(frame, field, threads), compensate_reference(frame, field), strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("vector", [(0, 0), (4, -8), (1, 0), (0, 3), (-7, 2)])
def test_wide_areas_of_one_vector_equal_the_reference(vector: tuple[int, int]) -> None:
    frame = noise(32, 320)
    field = np.broadcast_to(np.array(vector, np.int16)[:, None, None], (2, 4, 40)).copy()
    field[:, 2, 37] = 5
    for got, expected in zip(compensate(frame, field), compensate_reference(frame, field), strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("name", FIELDS)
def test_the_torch_twin_equals_the_reference(name: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("compressai")
    from nacre.models.compensation import compensate as twin
    from nacre.models.frames import Planes as Tensors

    frames = [noise(64, 128, seed) for seed in (0, 1)]
    fields = [FIELDS[name], FIELDS[name][:, ::-1, ::-1].copy()]
    luma = torch.tensor(np.stack([frame.luma[None] for frame in frames]), dtype=torch.float32)
    chroma = torch.tensor(np.stack([np.stack(frame[1:]) for frame in frames]), dtype=torch.float32)
    got = twin(Tensors(luma, chroma), torch.tensor(np.stack(fields)))
    for number, (frame, field) in enumerate(zip(frames, fields, strict=True)):
        expected = compensate_reference(frame, field)
        assert np.array_equal(got.luma[number, 0].numpy(), expected.luma)
        assert np.array_equal(got.chroma[number].numpy(), np.stack(expected[1:]))


def test_the_torch_twin_gives_gradients() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("compressai")
    from nacre.models.compensation import compensate as twin
    from nacre.models.frames import Planes as Tensors

    luma = torch.full((1, 1, 64, 64), 100.0, requires_grad=True)
    chroma = torch.full((1, 2, 32, 32), 100.0, requires_grad=True)
    field = torch.tensor(random_field(64, 64, 40))[None]
    predicted = twin(Tensors(luma, chroma), field)
    (predicted.luma.sum() + predicted.chroma.sum()).backward()
    # every predicted sample takes weights that sum to 1 from the reference
    assert luma.grad.sum().item() == pytest.approx(64 * 64, rel=1e-5)
    assert chroma.grad.sum().item() == pytest.approx(2 * 32 * 32, rel=1e-5)


def test_whole_vectors_move_the_picture() -> None:
    frame = noise(64, 64)
    field = np.broadcast_to(np.array([8, -16], np.int16)[:, None, None], (2, 8, 8)).copy()
    moved = compensate(frame, field)
    assert np.array_equal(moved.luma[:-2, 4:], frame.luma[2:, :-4])
    assert np.array_equal(moved.cb[:-1, 2:], frame.cb[1:, :-2])
    assert (moved.luma[-3:, :4] == frame.luma[-1, 0]).sum() >= 8  # replicated below and beside the edge


def test_what_does_not_fit_is_refused() -> None:
    frame, field = noise(64, 64), np.zeros((2, 8, 8), np.int16)
    with pytest.raises(InputError, match=r"motion field is int16 \(2, 8, 7\), legal is int16 \(2, 8, 8\)"):
        compensate(frame, field[:, :, :7])
    with pytest.raises(InputError, match="motion field is int64"):
        compensate(frame, field.astype(np.int64))
    for beyond in (-MAX_VECTOR - 1, MAX_VECTOR + 1):
        with pytest.raises(InputError, match=r"legal range -512\.\.512"):
            compensate(frame, np.full_like(field, beyond))
    with pytest.raises(InputError, match="multiples of 8"):
        compensate(Planes(frame.luma[:63], frame.cb, frame.cr), field)
    with pytest.raises(InputError, match=r"legal are 4:2:0"):
        compensate(frame._replace(cb=frame.cb[:31]), field)
    with pytest.raises(InputError, match="legal is uint8"):
        compensate(frame._replace(cr=frame.cr.astype(np.float32)), field)
