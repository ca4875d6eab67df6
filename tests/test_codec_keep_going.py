"""Damaged streams decoded as far as they go, with the tiny model and small tiles."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable

import numpy as np
import pytest
from conftest import TINY, make_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_codec_blend import reference
from test_codec_tiles import changed, decoded_areas

import nacre
import nacre.image
from nacre.bitstream import PictureStream, tiles
from nacre.decoder import Decoded
from nacre.picture import ArraySink
from nacre.tiling import Tiling

WIDTH, HEIGHT, SIZE, MARGIN = 210, 150, 64, 16
ALL = list(tiles(WIDTH, HEIGHT, SIZE, MARGIN))


def encode(codec: nacre.ImageCodec, picture: NDArray[np.uint8]) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nacre.image, "choose_tiling", lambda *_: Tiling(SIZE, MARGIN))
        return codec.encode(picture, 50)


@pytest.fixture(scope="module")
def codec() -> nacre.ImageCodec:
    return nacre.ImageCodec(weights=TINY, threads=2)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    alpha = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8)
    return np.dstack([make_picture(HEIGHT, WIDTH), alpha])


@pytest.fixture(scope="module")
def stream(codec: nacre.ImageCodec, picture: NDArray[np.uint8]) -> bytes:
    """12 tiles, with alpha."""
    return encode(codec, picture)


def recover(codec: nacre.ImageCodec, data: bytes) -> tuple[Decoded, NDArray[np.uint8]]:
    sink = ArraySink()
    return codec.decode_rows(data, sink, keep_going=True), sink.array()


def parts(codec: nacre.ImageCodec, data: bytes, name: str) -> list[tuple[int, int]]:
    """(offset, size) of the units of a name."""
    return [(part.offset, part.size) for part in codec.inspect(data).parts if part.name == name]


def influenced(indices: Iterable[int]) -> NDArray[np.bool_]:
    """The pixels that some tiles have a weight in: their cores, and the zones around them."""
    found = np.zeros((HEIGHT, WIDTH), np.bool_)
    for index in indices:
        x, y, width, height = ALL[index].core
        found[max(y - MARGIN, 0) : y + height + MARGIN, max(x - MARGIN, 0) : x + width + MARGIN] = True
    return found


def test_nothing_is_lost_of_a_good_stream(codec: nacre.ImageCodec, stream: bytes) -> None:
    decoded, pixels = recover(codec, stream)
    assert decoded.losses == decoded.lost_tiles == []
    np.testing.assert_array_equal(pixels, codec.decode_array(stream))


@pytest.mark.parametrize("lost", [0, 5, 11])
@pytest.mark.parametrize("how", ["damaged", "missing", "symbols"])
def test_a_lost_tile_is_grey_and_the_others_are_exact(
    codec: nacre.ImageCodec, picture: NDArray[np.uint8], stream: bytes, lost: int, how: str
) -> None:
    whole = codec.decode_array(stream)
    offset, size = parts(codec, stream, "TILE")[lost]
    data = bytearray(stream)
    if how == "damaged":
        data[offset + size // 2] ^= 4
    elif how == "missing":
        del data[offset : offset + size]
    else:

        def spoil(contents: PictureStream) -> None:
            tile = contents.tiles[lost]
            contents.tiles[lost] = nacre.bitstream.TileUnit(tile.index, tile.check ^ 1, tile.payload)

        data[:] = changed(stream, spoil)
    with pytest.raises(nacre.FormatError):
        codec.decode_array(bytes(data))
    decoded, pixels = recover(codec, bytes(data))
    assert decoded.lost_tiles == [lost]
    x, y, width, height = ALL[lost].core
    place = rf"tile {lost} \(x {x}\.\.{x + width - 1}, y {y}\.\.{y + height - 1}\) is lost: "
    reason = "the check of the symbols" if how == "symbols" else "its TILE unit is damaged or missing"
    assert sum(bool(re.match(place + reason, loss)) for loss in decoded.losses) == 1
    touched = influenced([lost])
    np.testing.assert_array_equal(pixels[~touched], whole[~touched])
    inside = pixels[y + MARGIN : y + height - MARGIN, x + MARGIN : x + width - MARGIN, :3]
    assert (inside == 128).all()
    np.testing.assert_array_equal(pixels[..., 3], picture[..., 3])  # alpha is a unit of its own


def test_lost_tiles_are_blended_like_others(codec: nacre.ImageCodec) -> None:
    data = encode(codec, make_picture(HEIGHT, WIDTH, 1))
    offset, size = parts(codec, data, "TILE")[5]
    areas = decoded_areas(data)
    areas[5][:] = 128
    _, pixels = recover(codec, data[:offset] + data[offset + size :])
    np.testing.assert_array_equal(pixels, reference(WIDTH, HEIGHT, SIZE, MARGIN, areas))


def test_lost_alpha_is_opaque(codec: nacre.ImageCodec, picture: NDArray[np.uint8], stream: bytes) -> None:
    offset, size = parts(codec, stream, "ALPHA")[6]
    data = bytearray(stream)
    data[offset + size // 2] ^= 4
    decoded, pixels = recover(codec, bytes(data))
    assert decoded.lost_tiles == []
    x, y, width, height = ALL[6].core
    place = f"the alpha of tile 6 (x {x}..{x + width - 1}, y {y}..{y + height - 1}) is lost, it is opaque: "
    assert any(loss.startswith(place) for loss in decoded.losses)
    np.testing.assert_array_equal(pixels[..., :3], codec.decode_array(stream)[..., :3])
    expected = picture[..., 3].copy()
    expected[y : y + height, x : x + width] = 255
    np.testing.assert_array_equal(pixels[..., 3], expected)


def test_a_stream_that_is_cut(codec: nacre.ImageCodec, stream: bytes) -> None:
    offset, _ = parts(codec, stream, "TILE")[8]
    whole = codec.decode_array(stream)
    decoded, pixels = recover(codec, stream[: offset + 3])
    assert decoded.lost_tiles == [8, 9, 10, 11]
    assert any("END" in loss for loss in decoded.losses)
    touched = influenced(decoded.lost_tiles)
    np.testing.assert_array_equal(pixels[~touched], whole[~touched])


def test_tiles_out_of_order(codec: nacre.ImageCodec, stream: bytes) -> None:
    (first, first_size), (second, second_size) = parts(codec, stream, "TILE")[2:4]
    data = stream[:first] + stream[second : second + second_size] + stream[first:second]
    data += stream[second + second_size :]
    with pytest.raises(nacre.FormatError):
        codec.decode_array(data)
    decoded, pixels = recover(codec, data)
    assert decoded.lost_tiles == []
    assert decoded.losses
    assert first_size
    np.testing.assert_array_equal(pixels, codec.decode_array(stream))


def test_regions_name_only_their_own_lost_tiles(codec: nacre.ImageCodec, stream: bytes) -> None:
    offset, size = parts(codec, stream, "TILE")[11]
    data = stream[:offset] + stream[offset + size :]
    sink = ArraySink()
    decoded = codec.decode_rows(data, sink, region=(0, 0, 60, 60), keep_going=True)
    assert decoded.lost_tiles == []
    np.testing.assert_array_equal(sink.array(), codec.decode_array(stream)[:60, :60])


def test_losses_are_warnings(codec: nacre.ImageCodec, stream: bytes) -> None:
    offset, size = parts(codec, stream, "TILE")[0]
    data = stream[:offset] + stream[offset + size :]
    for decode in (codec.decode, codec.decode_array):
        with pytest.warns(UserWarning, match=r"tile 0 \(x 0\.\.63, y 0\.\.63\) is lost"):
            decode(data, keep_going=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.decode(stream, keep_going=True)


def test_a_picture_of_which_nothing_is_left(codec: nacre.ImageCodec) -> None:
    data = bytearray(codec.encode(make_picture(40, 50)))
    data[-20] ^= 1
    with pytest.raises(nacre.FormatError, match="nothing is left of the picture"):
        recover(codec, bytes(data))


def test_a_damaged_header_is_an_error(codec: nacre.ImageCodec, stream: bytes) -> None:
    data = bytearray(stream)
    data[15] ^= 1
    with pytest.raises(nacre.FormatError):
        recover(codec, bytes(data))


@settings(max_examples=40)
@given(data=st.data())
def test_any_damage_behind_the_header(codec: nacre.ImageCodec, stream: bytes, data: st.DataObject) -> None:
    """Whatever happens behind the header, a picture comes, and tiles that are not named as lost are exact."""
    start = parts(codec, stream, "TILE")[0][0]
    damaged = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(start, len(damaged) - 1))
        if data.draw(st.booleans()):
            damaged[place] ^= data.draw(st.integers(1, 255))
        else:
            del damaged[place : place + data.draw(st.integers(1, 300))]
        if len(damaged) <= start:
            break
    decoded, pixels = recover(codec, bytes(damaged))
    assert bool(decoded.losses) == (damaged != stream)
    whole = codec.decode_array(stream)
    touched = influenced(decoded.lost_tiles)
    np.testing.assert_array_equal(pixels[~touched][:, :3], whole[~touched][:, :3])
