"""Damaged, cut and foreign streams: always an exception of the package, never another one, never a wrong picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_picture

import nacre
from nacre.bitstream import SIGNATURE, TileUnit, read_picture, write_picture


@pytest.fixture(scope="module")
def codec(tiny_folder: Path) -> nacre.ImageCodec:
    return nacre.ImageCodec(weights=tiny_folder, threads=1)


@pytest.fixture(scope="module")
def stream(codec: nacre.ImageCodec) -> bytes:
    return codec.encode(make_picture(48, 40), 70)


def test_cut_anywhere(codec: nacre.ImageCodec, stream: bytes) -> None:
    for length in range(len(stream)):
        with pytest.raises(nacre.TruncatedError):
            codec.decode_array(stream[:length])


def test_any_byte_changed(codec: nacre.ImageCodec, stream: bytes) -> None:
    expected = codec.decode_array(stream)
    for place in range(len(stream)):
        damaged = bytearray(stream)
        damaged[place] ^= 0x40
        with pytest.raises(nacre.FormatError):
            codec.decode_array(bytes(damaged))
        with pytest.raises(nacre.FormatError):
            codec.verify(bytes(damaged))
    minor = len(SIGNATURE) + 1
    same = stream[:minor] + b"\2" + stream[minor + 1 :]  # a version that is read as the stream's own
    np.testing.assert_array_equal(codec.decode_array(same), expected)


def test_payload_changed_under_a_right_checksum(codec: nacre.ImageCodec, stream: bytes) -> None:
    picture = read_picture(io.BytesIO(stream))
    (tile,) = picture.tiles
    random = np.random.default_rng(1)
    for _ in range(60):
        payload = bytearray(tile.payload)
        payload[random.integers(len(payload) - 1)] ^= 1 << int(random.integers(8))
        payload = payload[: random.integers(1, len(payload) + 1)]
        picture.tiles = [TileUnit(0, tile.check, bytes(payload).rstrip(b"\0"))]
        file = io.BytesIO()
        write_picture(file, picture)
        with pytest.raises(nacre.FormatError):
            codec.decode_array(file.getvalue())


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\nxxxxxxxxxxx", b"hello, this is text", bytes(1000)])
def test_foreign(codec: nacre.ImageCodec, data: bytes) -> None:
    for function in (codec.decode_array, codec.inspect, codec.verify):
        with pytest.raises(nacre.FormatError, match="no nacre stream"):
            function(data)


def test_empty(codec: nacre.ImageCodec, tmp_path: Path) -> None:
    path = tmp_path / "empty.ncr"
    path.touch()
    sources: list[Any] = [b"", io.BytesIO(), path]
    for source in sources:
        with pytest.raises(nacre.TruncatedError, match="is empty"):
            codec.decode_array(source)


def test_unknown_version(codec: nacre.ImageCodec, stream: bytes) -> None:
    newer = stream[:8] + bytes([7]) + stream[9:]
    with pytest.raises(nacre.UnsupportedVersionError, match="version 7"):
        codec.decode_array(newer)


def test_sources_that_cannot_be_read(codec: nacre.ImageCodec, tmp_path: Path) -> None:
    with pytest.raises(nacre.InputError, match=r"nowhere\.ncr: cannot be read: No such file"):
        codec.decode(tmp_path / "nowhere.ncr")
    with pytest.raises(nacre.InputError, match="cannot be read"):
        codec.decode(tmp_path)
    with pytest.raises(nacre.InputError, match="cannot be read"):
        codec.decode("a\0b")
    with pytest.raises(nacre.InputError, match="text mode"):
        codec.decode(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(nacre.InputError, match="must be a path, bytes or a file object"):
        codec.decode(17)  # type: ignore[arg-type]
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(nacre.InputError, match="closed file"):
        codec.decode(closed)


def test_errors_name_the_file(codec: nacre.ImageCodec, stream: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.ncr"
    path.write_bytes(stream[:60])
    with pytest.raises(nacre.TruncatedError, match=r"cut\.ncr: unit 1 \(TILE\) at byte 52"):
        codec.decode(path)
    with path.open("rb") as file, pytest.raises(nacre.TruncatedError, match=r"cut\.ncr: "):
        codec.decode(file)


def test_bytes_behind_the_end(codec: nacre.ImageCodec, stream: bytes) -> None:
    with pytest.raises(nacre.FormatError, match="behind its END"):
        codec.decode(stream + b"x")
