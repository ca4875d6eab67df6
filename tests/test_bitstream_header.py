"""The picture header: round trips, golden bytes, and a refusal for every field out of range."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.bitstream import Colour, FormatError, InputError, PictureHeader

HEADER = PictureHeader(
    width=768,
    height=512,
    chroma=1,
    quality=15360,
    profile="fast",
    digest=bytes.fromhex("0123456789abcdef"),
    live_channels=192,
    skip_threshold=3,
)
MINOR = 1
GOLDEN = bytes.fromhex("00030000 00020000 08 01 010d0001 04 66617374 0123456789abcdef 003c c000 03 0000 0000")
WITH_ALPHA = replace(HEADER, alpha=1)
GOLDEN_WITH_ALPHA = GOLDEN + b"\1"


@st.composite
def headers(draw: st.DrawFn) -> PictureHeader:
    """Any legal header."""
    width, height = draw(st.integers(1, 65535)), draw(st.integers(1, 65535))
    tile_size = 64 * draw(st.integers(0, 1023))
    margin = 0
    if 0 < tile_size < max(width, height):
        margin = 16 * draw(st.integers(0, tile_size // 64))
    byte = st.integers(0, 255)
    return PictureHeader(
        width=width,
        height=height,
        chroma=draw(st.integers(0, 1)),
        quality=draw(st.integers(0, 25600)),
        profile=draw(st.text("abcxyz0189_-", min_size=1, max_size=16)),
        digest=draw(st.binary(min_size=8, max_size=8)),
        live_channels=draw(st.integers(1, 1024)),
        skip_threshold=draw(st.integers(0, 63)),
        tile_size=tile_size,
        tile_margin=margin,
        colour=Colour(draw(byte), draw(byte), draw(byte), draw(st.integers(0, 1))),
        alpha=draw(st.integers(0, 1)),
    )


@given(headers())
def test_round_trip(header: PictureHeader) -> None:
    payload = header.pack()
    assert PictureHeader.parse(payload, header.minor) == header
    assert len(payload) <= 48 + header.alpha


def test_golden_bytes() -> None:
    assert HEADER.pack() == GOLDEN
    assert PictureHeader.parse(GOLDEN, MINOR) == HEADER
    assert WITH_ALPHA.pack() == GOLDEN_WITH_ALPHA
    assert PictureHeader.parse(GOLDEN_WITH_ALPHA, 3) == WITH_ALPHA
    assert (HEADER.minor, WITH_ALPHA.minor) == (1, 3)


@pytest.mark.parametrize("length", range(len(GOLDEN_WITH_ALPHA)))
def test_every_truncation(length: int) -> None:
    with pytest.raises(FormatError, match="picture header ends inside"):
        PictureHeader.parse(GOLDEN[:length], 3)
    if length < len(GOLDEN):
        with pytest.raises(FormatError, match="picture header ends inside"):
            PictureHeader.parse(GOLDEN[:length], MINOR)


def test_bytes_left_over() -> None:
    for minor, golden, header in ((1, GOLDEN, HEADER), (3, GOLDEN_WITH_ALPHA, WITH_ALPHA)):
        with pytest.raises(FormatError, match="1 bytes behind its last field"):
            PictureHeader.parse(golden + b"\0", minor)
        assert PictureHeader.parse(golden + b"\0", minor + 1) == header
    assert PictureHeader.parse(GOLDEN + b"\0\1\2", 255) == HEADER


def test_minor_version_2_has_no_fields_of_its_own() -> None:
    """Appended bytes that are not the field alpha of version 3, even where they look like it."""
    for appended in (b"", b"\1", b"\1\2\3"):
        assert PictureHeader.parse(GOLDEN + appended, 2) == HEADER


@given(st.binary(max_size=64), st.sampled_from((1, 3)))
def test_any_bytes_parse_or_are_refused(payload: bytes, minor: int) -> None:
    try:
        header = PictureHeader.parse(payload, minor)
    except FormatError:
        return
    assert header.pack() == payload[: len(header.pack())]


@given(st.integers(0, len(GOLDEN_WITH_ALPHA) - 1), st.integers(1, 255))
def test_changed_bytes_parse_or_are_refused(position: int, change: int) -> None:
    payload = bytearray(GOLDEN_WITH_ALPHA)
    payload[position] ^= change
    try:
        header = PictureHeader.parse(bytes(payload), 3)
    except FormatError:
        return
    assert header != WITH_ALPHA
    assert header.pack() == payload.removesuffix(b"\0" if position == len(GOLDEN) else b"")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, r"width is 0, must be 1\.\.65535"),
        ({"height": 65536}, r"height is 65536, must be 1\.\.65535"),
        ({"width": 1.0}, r"width is 1\.0, must be an integer"),
        ({"bit_depth": 10}, "bit_depth is 10, must be 8"),
        ({"chroma": 2}, r"chroma is 2, must be 0\.\.1"),
        ({"quality": -1}, r"quality is -1, must be 0\.\.25600"),
        ({"quality": 25601}, r"quality is 25601, must be 0\.\.25600"),
        ({"profile": ""}, "profile is '', must be 1 to 16"),
        ({"profile": "a" * 17}, "must be 1 to 16"),
        ({"profile": "Fast"}, "profile is 'Fast'"),
        ({"profile": "fast\n"}, "profile is"),
        ({"digest": b"short"}, "digest has 5 bytes, must be 8"),
        ({"live_channels": 0}, r"live_channels is 0, must be 1\.\.1024"),
        ({"live_channels": 1025}, r"live_channels is 1025, must be 1\.\.1024"),
        ({"skip_threshold": 64}, r"skip_threshold is 64, must be 0\.\.63"),
        ({"tile_size": 96}, "tile_size is 96, must be 0 or a multiple of 64"),
        ({"tile_size": 65536}, r"tile_size is 65536, must be 0\.\.65535"),
        ({"tile_margin": 16}, "tile_margin is 16, must be 0 for a picture of one tile"),
        ({"tile_size": 768, "tile_margin": 16}, "must be 0 for a picture of one tile"),
        ({"tile_size": 256, "tile_margin": 8}, r"tile_margin is 8, must be a multiple of 16 in 0\.\.64"),
        ({"tile_size": 256, "tile_margin": 80}, r"tile_margin is 80, must be a multiple of 16 in 0\.\.64"),
        ({"tile_size": 64, "tile_margin": 32}, r"multiple of 16 in 0\.\.16 \(tile_size / 4\)"),
        ({"alpha": 2}, r"alpha is 2, must be 0\.\.1"),
        ({"alpha": None}, "alpha is None, must be an integer"),
    ],
)
def test_fields_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(HEADER, **changes)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, b"\0\0\0\0", "width is 0"),
        (4, b"\0\0\1\0", "height is 65536"),
        (8, b"\x0a", "bit_depth is 10"),
        (9, b"\x02", "chroma is 2"),
        (13, b"\x02", r"colour full_range is 2, must be 0\.\.1"),
        (15, b"F", "profile is 'Fast'"),
        (27, b"\x01\x64", "quality is 25601"),
        (34, b"\x10\0", "tile_margin is 16"),
        (36, b"\x02", r"alpha is 2, must be 0\.\.1"),
    ],
)
def test_parser_names_field_and_range(position: int, value: bytes, message: str) -> None:
    payload = bytearray(GOLDEN_WITH_ALPHA)
    payload[position : position + len(value)] = value
    with pytest.raises(FormatError, match=f"picture header: {message}"):
        PictureHeader.parse(bytes(payload), 3)


def test_colour() -> None:
    assert Colour().describe() == "BT.709 / sRGB, sRGB, identity (RGB), full range"
    assert Colour(200, 201, 202, 0).describe() == "primaries 200, transfer 201, matrix 202, limited range"
    with pytest.raises(InputError, match=r"colour transfer is 256, must be 0\.\.255"):
        Colour(transfer=256)
    not_a_number: Any = None
    with pytest.raises(InputError, match="colour matrix is None, must be an integer"):
        Colour(matrix=not_a_number)
