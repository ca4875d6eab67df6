"""Round trips through the public functions and ImageCodec with the tiny model."""

from __future__ import annotations

import dataclasses
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_picture
from PIL import Image

import nacre
from nacre.bitstream import read_picture, write_picture
from nacre.metrics import psnr
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoder, TileCoding
from nacre.weights import store

SIZES = [(1, 1), (1, 200), (17, 33), (64, 64), (65, 64), (200, 100)]


@pytest.fixture(scope="module")
def codec(tiny_folder: Path) -> nacre.ImageCodec:
    return nacre.ImageCodec(weights=tiny_folder, threads=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_round_trip(codec: nacre.ImageCodec, height: int, width: int, channels: int) -> None:
    picture = make_picture(height, width, channels)
    data = codec.encode(picture, 90)
    decoded = codec.decode_array(data)
    assert decoded.shape == picture.shape
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert psnr(picture, decoded) > 24
    image = codec.decode(data)
    assert image.mode == ("L" if channels == 1 else "RGB")
    np.testing.assert_array_equal(np.asarray(image), decoded)


def test_more_quality_is_more_bytes_and_less_error(codec: nacre.ImageCodec) -> None:
    picture = make_picture(128, 192)
    streams = [codec.encode(picture, quality) for quality in (0, 25, 50, 75, 100)]
    assert sorted(len(data) for data in streams) == [len(data) for data in streams]
    distortions = [psnr(picture, codec.decode_array(data)) for data in streams]
    assert distortions[0] < distortions[2] < distortions[4]


def test_the_quality_is_60_unless_given(codec: nacre.ImageCodec) -> None:
    picture = make_picture(20, 30)
    assert codec.encode(picture) == codec.encode(picture, None) == codec.encode(picture, 60)


def test_quality_is_kept_in_steps(codec: nacre.ImageCodec) -> None:
    for quality, kept in ((0, 0.0), (60, 60.0), (33.3, 33.30078125), (100, 100.0)):
        assert codec.inspect(codec.encode(make_picture(8, 8), quality)).quality == kept


def test_overhead_is_at_most_96_bytes(codec: nacre.ImageCodec) -> None:
    info = codec.inspect(codec.encode(make_picture(200, 300)))
    assert info.size - info.payload_size <= 96
    assert sum(part.size for part in info.parts) == info.size
    assert info.bits_per_pixel == info.size * 8 / 60000


def test_every_kind_of_input_gives_the_same_stream(tiny_weights: Path, tmp_path: Path) -> None:
    pixels = make_picture(40, 50)
    image = Image.fromarray(pixels)
    path = tmp_path / "picture.png"
    image.save(path)
    expected = nacre.encode(pixels, threads=1)
    strided = np.zeros((40, 100, 3), np.uint8)
    strided[:, ::2] = pixels
    opaque = np.dstack([pixels, np.full((40, 50), 255, np.uint8)])
    read_only = pixels.copy()
    read_only.setflags(write=False)
    inputs: list[Any] = [image, path, str(path), path.read_bytes(), bytearray(path.read_bytes())]
    inputs += [io.BytesIO(path.read_bytes()), strided[:, ::2], opaque, Image.fromarray(opaque), read_only]
    for value in inputs:
        assert nacre.encode(value, threads=1) == expected
    with path.open("rb") as file:
        assert nacre.encode(file, threads=1) == expected


def test_every_kind_of_source_decodes_the_same(tiny_weights: Path, tmp_path: Path) -> None:
    data = nacre.encode(make_picture(40, 50), threads=1)
    path = tmp_path / "stream.ncr"
    path.write_bytes(data)
    expected = nacre.decode_array(data, threads=1)

    class Dribble(io.RawIOBase):
        def __init__(self) -> None:
            self.file = io.BytesIO(data)

        def read(self, size: int = -1) -> bytes:
            return self.file.read(min(size, 3))

    sources: list[Any] = [bytearray(data), memoryview(data), path, str(path), io.BytesIO(data), Dribble()]
    for source in sources:
        np.testing.assert_array_equal(nacre.decode_array(source, threads=1), expected)
    np.testing.assert_array_equal(np.asarray(nacre.decode(path)), expected)
    assert nacre.inspect(path) == nacre.inspect(data)
    assert nacre.verify(path).symbols == nacre.verify(data).symbols > 0


def test_grey_array_forms_agree(codec: nacre.ImageCodec) -> None:
    grey = make_picture(30, 20, 1)
    expected = codec.encode(grey)
    assert codec.encode(grey[..., np.newaxis]) == expected
    assert codec.encode(np.dstack([grey, np.full_like(grey, 255)])) == expected
    assert codec.inspect(expected).header.chroma == 0


def test_same_bytes_twice_and_from_another_codec(codec: nacre.ImageCodec, tiny_folder: Path) -> None:
    picture = make_picture(100, 130)
    assert codec.encode(picture) == codec.encode(picture)
    assert nacre.ImageCodec(weights=tiny_folder, threads=1).encode(picture) == codec.encode(picture)


def test_symbols_do_not_depend_on_threads(codec: nacre.ImageCodec, tiny_folder: Path) -> None:
    data = codec.encode(make_picture(150, 250), 80)
    stream = read_picture(io.BytesIO(data))
    header, (tile,) = stream.header, stream.tiles
    coding = TileCoding(250, 150, header.quality, header.live_channels, header.skip_threshold)
    weights = store.load(folder=tiny_folder)
    one, two = (
        TileCoder(weights, threads).decode_symbols(tile.payload, tile.check, coding, Stopwatch()) for threads in (1, 2)
    )
    np.testing.assert_array_equal(one.z, two.z)
    np.testing.assert_array_equal(one.scale_index, two.scale_index)
    np.testing.assert_array_equal(one.y, two.y)
    assert np.count_nonzero(one.y) > 0


def test_threads_share_a_codec(tiny_folder: Path) -> None:
    codec = nacre.ImageCodec(weights=tiny_folder, threads=1)
    pictures = [make_picture(40 + 8 * number, 70, seed=number) for number in range(4)]
    results: dict[int, bytes] = {}

    def work(number: int) -> None:
        results[number] = codec.encode(pictures[number])
        codec.decode_array(results[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[number] for number in range(4)] == [codec.encode(picture) for picture in pictures]


def test_stopwatch_accounts_for_all_time(codec: nacre.ImageCodec) -> None:
    stopwatch = Stopwatch()
    codec.decode_array(codec.encode(make_picture(64, 64), 60, stopwatch, effort=3), stopwatch)
    assert {part for part, seconds in stopwatch.seconds.items() if seconds <= 0} == {"motion"}
    assert stopwatch.total == pytest.approx(sum(stopwatch.seconds.values()))


@pytest.mark.parametrize("quality", [-1, 100.5, float("nan"), "60", True])
def test_quality_out_of_range(codec: nacre.ImageCodec, quality: Any) -> None:
    with pytest.raises(nacre.InputError, match=r"quality is .*, must be a number in 0\.\.100"):
        codec.encode(make_picture(8, 8), quality)


@pytest.mark.parametrize("arguments", [{"threads": 0}, {"threads": 10_000}, {"max_pixels": 0}])
def test_arguments_out_of_range(arguments: dict[str, int]) -> None:
    with pytest.raises(nacre.InputError, match="must be"):
        nacre.ImageCodec(**arguments)  # type: ignore[arg-type]


def test_limits_hold_at_both_ends(codec: nacre.ImageCodec, tiny_folder: Path) -> None:
    small = nacre.ImageCodec(weights=tiny_folder, max_pixels=99)
    with pytest.raises(nacre.LimitError, match="10 x 10 = 100 pixels, the limit max_pixels is 99"):
        small.encode(make_picture(10, 10))
    with pytest.raises(nacre.LimitError, match="max_pixels is 99"):
        small.decode(codec.encode(make_picture(10, 10)))
    with pytest.raises(nacre.LimitError, match="width is 65536 pixels"):
        codec.encode(np.zeros((1, 65536), np.uint8))


def test_unknown_profile(tiny_folder: Path) -> None:
    with pytest.raises(nacre.WeightsNotFoundError, match="'slow' are not installed"):
        nacre.ImageCodec("slow", weights=tiny_folder).encode(make_picture(8, 8))


def with_header(data: bytes, **fields: Any) -> bytes:
    """The stream with other header fields, checksums made right."""
    stream = read_picture(io.BytesIO(data))
    stream.header = dataclasses.replace(stream.header, **fields)
    file = io.BytesIO()
    write_picture(file, stream)
    return file.getvalue()


def test_streams_of_other_weights_are_named(codec: nacre.ImageCodec) -> None:
    data = codec.encode(make_picture(8, 8))
    with pytest.raises(nacre.WeightsMismatchError, match="'tiny' with digest 0000000000000000 are not installed, only"):
        codec.decode(with_header(data, digest=bytes(8)))
    with pytest.raises(nacre.WeightsNotFoundError, match="'other' with digest"):
        codec.decode(with_header(data, profile="other"))


def test_more_live_channels_than_the_weights_have(codec: nacre.ImageCodec) -> None:
    with pytest.raises(nacre.FormatError, match="live channels are 1024"):
        codec.decode(with_header(codec.encode(make_picture(8, 8)), live_channels=1024))
