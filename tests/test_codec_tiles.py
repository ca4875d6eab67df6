"""Pictures of several tiles through ImageCodec, with the tiny model and small tiles."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, make_picture
from numpy.typing import NDArray
from test_codec_blend import reference

import nacre
import nacre.image
from nacre.bitstream import GREY, PictureStream, UnitType, read_picture, tiles, write_picture
from nacre.metrics import psnr
from nacre.picture import ArrayRows, ArraySink, Band, PictureForm
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoder, TileCoding, to_grey
from nacre.tiling import MAX_TILE_PIXELS, Tiling, check_tiles, choose_tiling
from nacre.weights import store

SIZES = [(1, 65), (70, 130), (130, 70), (64, 4097), (4097, 3), (129, 191), (200, 333)]


def small_tiling(width: int, height: int) -> Tiling:
    return Tiling(64, 16) if max(width, height) > 64 else Tiling(0, 0)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures above 64 x 64 pixels have tiles of 64 x 64 with a margin of 16."""
    monkeypatch.setattr(nacre.image, "choose_tiling", small_tiling)


@pytest.fixture(scope="module")
def codecs() -> dict[int, nacre.ImageCodec]:
    """By number of threads."""
    return {threads: nacre.ImageCodec(weights=TINY, threads=threads) for threads in (1, 2, 3)}


@pytest.fixture
def codec(codecs: dict[int, nacre.ImageCodec], small_tiles: None) -> nacre.ImageCodec:
    return codecs[2]


def make_array(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """A picture of 1 to 4 channels; the last of 2 or 4 is alpha of every value."""
    picture = make_picture(height, width, 1 if channels < 3 else 3)
    if channels in (2, 4):
        alpha = np.random.default_rng(5).integers(0, 256, (height, width), np.uint8)
        picture = np.dstack([picture, alpha])
    return picture


# The encoder's choice


@pytest.mark.parametrize(
    ("width", "height", "tiling"),
    [
        (1, 1, (0, 0)),
        (4096, 512, (0, 0)),
        (2048, 1024, (0, 0)),
        (4096, 513, (1024, 16)),
        (4097, 1, (1024, 16)),
        (1, 65535, (1024, 16)),
        (16384, 65535, (1024, 16)),
        (16385, 1, (512, 16)),
        (65535, 65535, (512, 16)),
    ],
)
def test_choice_of_tiles(width: int, height: int, tiling: tuple[int, int]) -> None:
    assert choose_tiling(width, height) == tiling


def test_a_large_picture_has_tiles(codecs: dict[int, nacre.ImageCodec]) -> None:
    picture = make_picture(1100, 2000, 1)
    data = codecs[2].encode(picture, 50)
    header = nacre.inspect(data).header
    assert (header.tile_size, header.tile_margin, header.tile_count) == (1024, 16, 4)
    assert psnr(picture, codecs[2].decode_array(data)) > 24


# Round trips


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_round_trip(codec: nacre.ImageCodec, height: int, width: int, channels: int) -> None:
    picture = make_array(height, width, channels)
    data = codec.encode(picture, 90)
    info = codec.inspect(data)
    assert info.header.tile_count == math.ceil(width / 64) * math.ceil(height / 64) > 1
    assert info.header.alpha == (channels in (2, 4))
    decoded = codec.decode_array(data)
    assert decoded.shape == picture.shape
    assert decoded.flags.c_contiguous
    planes = {1: np.s_[...], 2: np.s_[..., 0], 3: np.s_[...], 4: np.s_[..., :3]}[channels]
    assert psnr(picture[planes], decoded[planes]) > (24 if min(width, height) > 3 else 21)
    if channels in (2, 4):
        np.testing.assert_array_equal(decoded[..., -1], picture[..., -1])
    image = codec.decode(data)
    assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    np.testing.assert_array_equal(np.asarray(image), decoded)
    assert codec.verify(data).symbols > 0


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 33), (64, 64)])
def test_alpha_of_one_tile(codecs: dict[int, nacre.ImageCodec], height: int, width: int, channels: int) -> None:
    picture = make_array(height, width, channels)
    decoded = codecs[1].decode_array(codecs[1].encode(picture, 90))
    assert decoded.shape == picture.shape
    np.testing.assert_array_equal(decoded[..., -1], picture[..., -1])


def test_threads_do_not_change_bytes_or_pixels(codecs: dict[int, nacre.ImageCodec], small_tiles: None) -> None:
    picture = make_array(200, 333, 4)
    streams = [codec.encode(picture) for codec in codecs.values()]
    assert streams[0] == streams[1] == streams[2]
    pictures = [codec.decode_array(streams[0]) for codec in codecs.values()]
    for other in pictures[1:]:
        np.testing.assert_array_equal(other, pictures[0])


def test_metadata_and_colour_go_through(codec: nacre.ImageCodec) -> None:
    metadata = {UnitType.ICC_PROFILE: b"icc", UnitType.EXIF: b"II*\0", UnitType.XMP: b"<x/>"}
    colour = nacre.bitstream.Colour(9, 16, 0, 1)
    form = PictureForm(100, 80, False, False, metadata, colour)
    file = io.BytesIO()
    made = codec.encode_rows(ArrayRows(form, make_picture(80, 100)), file, 30)
    assert made.size == len(file.getvalue())
    sink = ArraySink()
    decoded = codec.decode_rows(file.getvalue(), sink, region=(10, 20, 30, 40))
    expected = replace(form, width=30, height=40)
    assert decoded.form == sink.form == expected
    assert decoded.losses == decoded.lost_tiles == []


def test_metadata_behind_the_tiles(codec: nacre.ImageCodec) -> None:
    stream = codec.encode(make_picture(80, 100))
    end = stream[-6:]
    unit = io.BytesIO()
    nacre.bitstream.write_unit(unit, UnitType.XMP, b"<late/>")
    assert codec.decode(stream[:-6] + unit.getvalue() + end).info["xmp"] == b"<late/>"


# What is decoded is what the specification says


def decoded_areas(data: bytes) -> list[NDArray[np.uint8]]:
    """The samples of every tile's area, each tile decoded by itself."""
    stream = read_picture(io.BytesIO(data))
    header = stream.header
    coder = TileCoder(store.load(folder=TINY), threads=1)
    areas = []
    places = tiles(header.width, header.height, header.tile_size, header.tile_margin)
    for tile, unit in zip(places, stream.tiles, strict=True):
        width, height = tile.area.width, tile.area.height
        coding = TileCoding(width, height, header.quality, header.live_channels, header.skip_threshold)
        symbols = coder.decode_symbols(unit.payload, unit.check, coding, Stopwatch())
        pixels = coder.reconstruct(symbols, coding, Stopwatch())
        areas.append(to_grey(pixels) if header.chroma == GREY else pixels.copy())
    return areas


@pytest.mark.parametrize(("width", "height", "channels"), [(130, 70, 3), (200, 150, 1), (75, 300, 3)])
def test_tiles_are_blended_by_the_rule(codec: nacre.ImageCodec, width: int, height: int, channels: int) -> None:
    data = codec.encode(make_picture(height, width, channels), 40)
    expected = reference(width, height, 64, 16, decoded_areas(data))
    np.testing.assert_array_equal(codec.decode_array(data), expected)


def test_grey_is_the_rounded_mean_of_the_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    expected = np.floor(pixels.mean(axis=2) + 0.5)
    np.testing.assert_array_equal(to_grey(pixels), expected)


# Regions


class CountingCoder(TileCoder):
    """Counts the tiles whose symbols it decodes."""

    decoded = 0

    def decode_symbols(self, *arguments: Any) -> Any:
        type(self).decoded += 1
        return super().decode_symbols(*arguments)


@pytest.mark.parametrize("channels", [1, 4])
def test_regions_are_crops(codec: nacre.ImageCodec, channels: int) -> None:
    data = codec.encode(make_array(150, 210, channels), 50)
    whole = codec.decode_array(data)
    random = np.random.default_rng(channels)
    regions = [(0, 0, 210, 150), (0, 0, 1, 1), (209, 149, 1, 1), (50, 50, 28, 28), (48, 47, 1, 2), (79, 80, 2, 70)]
    for _ in range(30):
        x, y = int(random.integers(0, 210)), int(random.integers(0, 150))
        regions.append((x, y, int(random.integers(1, 211 - x)), int(random.integers(1, 151 - y))))
    for x, y, width, height in regions:
        found = codec.decode_array(data, region=(x, y, width, height))
        np.testing.assert_array_equal(found, whole[y : y + height, x : x + width])
    assert codec.decode(data, region=(3, 4, 5, 6)).size == (5, 6)


@pytest.mark.parametrize(
    ("region", "needed"),
    [
        ((0, 0, 48, 48), 1),
        ((0, 0, 49, 48), 2),
        ((0, 0, 49, 49), 4),
        ((80, 80, 32, 32), 1),
        ((79, 80, 32, 32), 2),
        ((80, 80, 33, 32), 2),
        ((64, 64, 64, 64), 9),
        ((0, 0, 210, 150), 12),
        ((207, 0, 1, 1), 2),  # the last tile's core is 18 pixels wide, so the zone before it reaches to 208
        ((208, 0, 1, 1), 1),
    ],
)
def test_only_the_tiles_of_a_region_are_decoded(
    codec: nacre.ImageCodec, monkeypatch: pytest.MonkeyPatch, region: nacre.image.Region, needed: int
) -> None:
    data = codec.encode(make_picture(150, 210), 50)
    monkeypatch.setattr(nacre.image, "TileCoder", CountingCoder)
    CountingCoder.decoded = 0
    fresh = nacre.ImageCodec(weights=TINY, threads=2)
    calls: list[tuple[int, int]] = []
    fresh.decode_rows(data, ArraySink(), region=region, progress=lambda *call: calls.append(call))
    assert CountingCoder.decoded == needed
    assert calls == [(done + 1, needed) for done in range(needed)]


def test_a_region_of_one_tile(codecs: dict[int, nacre.ImageCodec]) -> None:
    data = codecs[1].encode(make_array(40, 50, 4), 50)
    whole = codecs[1].decode_array(data)
    np.testing.assert_array_equal(codecs[1].decode_array(data, region=(7, 8, 20, 10)), whole[8:18, 7:27])


@pytest.mark.parametrize(
    "region",
    [(0, 0, 0, 1), (0, 0, 211, 1), (-1, 0, 5, 5), (0, 150, 1, 1), (0, 0, 1, -1), (1, 2, 3), (0, 0, 1.5, 1), "abcd", 7],
)
def test_regions_outside(codec: nacre.ImageCodec, region: Any) -> None:
    data = codec.encode(make_picture(150, 210), 50)
    with pytest.raises(nacre.InputError, match=r"region is"):
        codec.decode_array(data, region=region)


def test_damage_outside_of_a_region_is_found(codec: nacre.ImageCodec) -> None:
    data = bytearray(codec.encode(make_picture(150, 210), 50))
    data[-20] ^= 1
    with pytest.raises(nacre.ChecksumError):
        codec.decode_array(bytes(data), region=(0, 0, 10, 10))


# Rows


class Watched(ArrayRows):
    """Notes how many rows were read, and how many at once."""

    def __init__(self, form: PictureForm, pixels: NDArray[np.uint8]) -> None:
        super().__init__(form, pixels)
        self.done = self.most = 0

    def read(self, count: int) -> Band:
        assert 1 <= count <= self.form.height - self.done
        self.done += count
        self.most = max(self.most, count)
        return super().read(count)


def test_rows_are_read_and_written_as_tiles_need_them(codec: nacre.ImageCodec) -> None:
    picture = make_picture(1000, 150)
    source = Watched(PictureForm(150, 1000, False, False), picture)
    seen = []
    file = io.BytesIO()
    codec.encode_rows(source, file, 50, progress=lambda done, total: seen.append((done, total, source.done)))
    assert [call[:2] for call in seen] == [(done, 48) for done in range(1, 49)]
    assert source.done == 1000
    assert source.most <= 96
    # A row of tiles is three tiles; reading is ahead of writing by at most three tiles and a row of them.
    assert all(read <= 64 * (done // 3 + 2) + 16 for done, _, read in seen)
    expected = nacre.ImageCodec(weights=TINY, threads=1).encode(picture, 50)
    assert file.getvalue() == expected

    class Heights(ArraySink):
        heights: list[int]

        def start(self, form: PictureForm) -> None:
            super().start(form)
            self.heights = []

        def write(self, band: Band) -> None:
            self.heights.append(len(band.pixels))
            super().write(band)

    sink = Heights()
    codec.decode_rows(expected, sink)
    assert sum(sink.heights) == 1000
    assert max(sink.heights) <= 64
    np.testing.assert_array_equal(sink.array(), codec.decode_array(expected))


def test_progress_of_one_tile(codecs: dict[int, nacre.ImageCodec]) -> None:
    calls: list[tuple[int, int]] = []
    file = io.BytesIO()
    codecs[2].encode_to(make_picture(20, 30), file, progress=lambda *call: calls.append(call))
    codecs[2].decode_rows(file.getvalue(), ArraySink(), progress=lambda *call: calls.append(call))
    assert calls == [(1, 1), (1, 1)]


def test_errors_of_a_source_end_the_encode(codec: nacre.ImageCodec) -> None:
    class Broken(ArrayRows):
        def read(self, count: int) -> Band:
            msg = "the source broke"
            raise nacre.InputError(msg)

    source = Broken(PictureForm(150, 150, False, False), make_picture(150, 150))
    with pytest.raises(nacre.InputError, match="the source broke"):
        codec.encode_rows(source, io.BytesIO(), 50)


def test_the_stopwatch_accounts_for_all_time(codec: nacre.ImageCodec) -> None:
    encoding, decoding = Stopwatch(), Stopwatch()
    codec.decode_array(codec.encode(make_picture(300, 300), 50, encoding), decoding)
    for clock, idle in ((encoding, {"refinement", "synthesis"}), (decoding, {"colour", "analysis", "refinement"})):
        assert {part for part, seconds in clock.seconds.items() if seconds <= 0} == idle | {"motion"}


# Streams that ask for too much


def changed(data: bytes, change: Callable[[PictureStream], None]) -> bytes:
    stream = read_picture(io.BytesIO(data))
    change(stream)
    file = io.BytesIO()
    write_picture(file, stream)
    return file.getvalue()


def test_tiles_too_large_to_decode(codecs: dict[int, nacre.ImageCodec]) -> None:
    def enlarge(stream: PictureStream) -> None:
        stream.header = replace(stream.header, width=2049, height=2048)

    data = changed(codecs[1].encode(make_picture(8, 8)), enlarge)
    for read in (codecs[1].decode, codecs[1].decode_array, codecs[1].verify):
        with pytest.raises(nacre.LimitError, match=r"^a tile has 2049 x 2048 = 4196352 pixels, the limit is 4194304$"):
            read(data)
    assert nacre.inspect(data).header.width == 2049


@pytest.mark.parametrize(
    ("width", "height", "size", "margin", "legal"),
    [
        (2048, 2048, 0, 0, True),
        (2048, 2049, 0, 0, False),
        (65535, 64, 0, 0, True),
        (65535, 65, 0, 0, False),
        (65535, 6000, 1984, 32, True),  # 2048 with both margins
        (65535, 6000, 2048, 16, False),
        (2000, 2090, 4096, 0, True),  # a tile is no larger than the picture
    ],
)
def test_largest_tiles(
    codecs: dict[int, nacre.ImageCodec], width: int, height: int, size: int, margin: int, *, legal: bool
) -> None:
    header = nacre.inspect(codecs[1].encode(make_picture(8, 8))).header
    header = replace(header, width=width, height=height, tile_size=size, tile_margin=margin)
    if legal:
        check_tiles(header)
        return
    with pytest.raises(nacre.LimitError, match=f"pixels, the limit is {MAX_TILE_PIXELS}$"):
        check_tiles(header)


@pytest.mark.parametrize("side", [1, 64, 511, 512, 513, 1024, 2048, 2049, 4096, 4097, 16384, 16385, 65535])
def test_tiles_of_the_encoder_are_decoded(side: int) -> None:
    """However large a picture is: a tile of the encoder has at most half of what is decoded."""
    for other in (1, 64, 511, 512, 513, 1024, 1025, 2048, 4096, 4097, 16384, 65535):
        tiling = choose_tiling(side, other)
        edge = tiling.size + 2 * tiling.margin
        area = min(side, edge) * min(other, edge) if tiling.size else side * other
        assert 2 * area <= MAX_TILE_PIXELS


def test_wrong_symbols_name_their_tile(codec: nacre.ImageCodec) -> None:
    def spoil(stream: PictureStream) -> None:
        stream.tiles[4] = replace(stream.tiles[4], check=stream.tiles[4].check ^ 1)

    data = changed(codec.encode(make_picture(150, 210), 50), spoil)
    with pytest.raises(nacre.ChecksumError, match=r"^tile 4: the check of the symbols"):
        codec.decode(data)
    with pytest.raises(nacre.ChecksumError, match=r"^tile 4: "):
        codec.verify(data)


def test_wrong_alpha_names_its_tile(codec: nacre.ImageCodec) -> None:
    def spoil(stream: PictureStream) -> None:
        stream.alpha[3] = replace(stream.alpha[3], data=stream.alpha[3].data[:-3])

    data = changed(codec.encode(make_array(150, 210, 4), 50), spoil)
    for read in (codec.decode, codec.verify):
        with pytest.raises(nacre.FormatError, match=r"^tile 3: the alpha stream"):
            read(data)


def test_the_public_functions_take_the_same_arguments(tiny_weights: Path, small_tiles: None) -> None:
    picture = make_array(70, 130, 4)
    file = io.BytesIO()
    made = nacre.api.encode_to(picture, file, 70, threads=2)
    data = nacre.encode(picture, 70, threads=1)
    assert file.getvalue() == data
    assert (made.size, made.header.quality) == (len(data), 70 * 256)
    whole = nacre.decode_array(data, threads=1)
    np.testing.assert_array_equal(nacre.decode_array(data, region=(5, 6, 100, 50), threads=1), whole[6:56, 5:105])
    assert nacre.decode(data, region=(5, 6, 100, 50), keep_going=True, threads=1).size == (100, 50)
