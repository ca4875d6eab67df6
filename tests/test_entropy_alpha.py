"""Alpha planes: every plane comes back exactly, every damage is refused, nothing is decompressed beyond the plane."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from nacre.bitstream import FormatError, InputError
from nacre.entropy import decode_alpha, encode_alpha

planes = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))


def disc(size: int = 64) -> NDArray[np.uint8]:
    """A soft disc: what alpha is like."""
    y, x = np.mgrid[0:size, 0:size]
    plane = np.clip(4 * (size / 2.5 - np.hypot(x - size / 2, y - size / 2)) + 128, 0, 255)
    alpha: NDArray[np.uint8] = plane.astype(np.uint8)
    return alpha


def ramps() -> NDArray[np.uint8]:
    """Rows that rise steadily, each at its own pace."""
    start, step = np.random.default_rng(1).integers(0, 256, (2, 64, 1))
    alpha: NDArray[np.uint8] = ((start + step * np.arange(64)) % 256).astype(np.uint8)
    return alpha


@given(planes)
def test_round_trip(plane: NDArray[np.uint8]) -> None:
    kind, data = encode_alpha(plane)
    decoded = decode_alpha(kind, data, *plane.shape)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, plane)


@given(planes, st.integers(0, 2))
def test_filters_as_the_specification_has_them(plane: NDArray[np.uint8], kind: int) -> None:
    """Each filter sample by sample, in integers that do not wrap around."""
    height, width = plane.shape
    filtered = bytearray()
    for y in range(height):
        for x in range(width):
            left = int(plane[y, x - 1]) if x else 0
            above = int(plane[y - 1, x]) if y else 0
            filtered.append((int(plane[y, x]) - (0, left, above)[kind]) % 256)
    np.testing.assert_array_equal(decode_alpha(kind, zlib.compress(filtered), height, width), plane)


def test_the_filter_that_gives_the_fewest_bytes() -> None:
    assert encode_alpha(ramps())[0] == 1
    assert encode_alpha(ramps().T)[0] == 2
    assert encode_alpha(np.random.default_rng(2).integers(0, 256, (64, 64), np.uint8))[0] == 0
    assert len(encode_alpha(np.full((1024, 1024), 77, np.uint8))[1]) < 1100
    assert len(encode_alpha(disc())[1]) < 64 * 64 / 4


def test_planes_that_are_views() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (20, 30, 4), np.uint8)
    plane = picture[3:15:2, ::-1, 3]
    np.testing.assert_array_equal(decode_alpha(*encode_alpha(plane), *plane.shape), plane)


@pytest.mark.parametrize(
    "plane",
    [np.zeros((2, 2), np.uint16), np.zeros((2, 2, 1), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8)],
)
def test_other_arrays_are_refused(plane: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match=r"must be uint8 \(height, width\)"):
        encode_alpha(plane)


@pytest.mark.parametrize("kind", [-1, 3, 255])
def test_unknown_filters(kind: int) -> None:
    with pytest.raises(FormatError, match=rf"alpha filter is {kind}, must be 0\.\.2"):
        decode_alpha(kind, zlib.compress(b"\0"), 1, 1)


def test_every_cut_and_every_changed_byte() -> None:
    plane = disc(24)
    kind, data = encode_alpha(plane)
    for length in range(len(data)):
        with pytest.raises(FormatError, match=r"cut off|cannot be decompressed"):
            decode_alpha(kind, data[:length], *plane.shape)
    unnoticed = 0
    for place in range(len(data)):
        for change in range(1, 256):
            damaged = data[:place] + bytes((data[place] ^ change,)) + data[place + 1 :]
            try:
                unnoticed += not np.array_equal(decode_alpha(kind, damaged, *plane.shape), plane)
            except FormatError:
                continue
    assert unnoticed < 3  # its checksum is a weak one; the unit around it has a CRC-32


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zlib.compress(bytes(11)), "holds 11 samples, must hold 12 for 4 x 3 pixels"),
        (zlib.compress(bytes(13)), "more than the 12 samples of 4 x 3 pixels"),
        (zlib.compress(bytes(12)) + b"\0", "1 bytes stand behind the alpha stream"),
        (zlib.compress(bytes(12)) * 2, "bytes stand behind"),
        (b"", "stream of 0 bytes is cut off after 0 of 12 samples"),
        (b"plain samples", "cannot be decompressed"),
        (zlib.compress(bytes(12), wbits=-15), "cannot be decompressed"),
        (zlib.compress(bytes(12), wbits=31), "cannot be decompressed"),
    ],
)
def test_streams_that_are_not_of_the_plane(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode_alpha(0, data, 3, 4)


def test_a_preset_dictionary_is_refused() -> None:
    deflater = zlib.compressobj(zdict=bytes(12))
    with pytest.raises(FormatError, match="cannot be decompressed"):
        decode_alpha(0, deflater.compress(bytes(12)) + deflater.flush(), 3, 4)


@given(st.integers(0, 2), st.binary(max_size=60), st.integers(1, 9), st.integers(1, 9))
def test_any_bytes(kind: int, data: bytes, height: int, width: int) -> None:
    for stream in (data, b"\x78\xda" + data):
        try:
            plane = decode_alpha(kind, stream, height, width)
        except FormatError:
            continue
        assert plane.shape == (height, width)


def test_a_bomb_is_not_unpacked() -> None:
    data = zlib.compress(bytes(1 << 28), 9)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more than the 256 samples"):
            decode_alpha(1, data, 16, 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
