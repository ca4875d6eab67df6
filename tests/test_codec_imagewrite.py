"""Decoded pictures as PIL.Images and files: what each format holds, what is refused and what is warned of."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
from conftest import make_picture
from numpy.typing import NDArray
from PIL import Image
from rows import read_whole

import nacre
from nacre.bitstream.cicp import Colour
from nacre.bitstream.units import UnitType
from nacre.media import FORMATS, ImageSink, Pixels, open_sink, output_format, read_picture, write_image, write_picture
from nacre.picture import Band, PictureForm, RowSink

PIXELS = make_picture(20, 30)
GREY = make_picture(20, 30, 1)
ALPHA = np.random.default_rng(1).integers(0, 256, (20, 30), np.uint8)
METADATA = {UnitType.ICC_PROFILE: b"profile" * 30, UnitType.EXIF: b"II*\0\x08\0\0\0\0\0\0\0\0\0", UnitType.XMP: b"<x/>"}


class Pipe(io.RawIOBase):
    """A file that takes 1000 bytes at a time and cannot seek."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.data += bytes(data[:1000])
        return min(len(data), 1000)


def fill(sink: RowSink, pixels: Pixels, alpha: NDArray[np.uint8] | None = None, **form: Any) -> None:
    """A picture to a sink in uneven bands, in arrays that are used again."""
    sink.start(PictureForm(pixels.shape[1], pixels.shape[0], pixels.ndim == 2, alpha is not None, **form))
    for rows in (slice(0, 1), slice(1, 14), slice(14, len(pixels))):
        band = Band(pixels[rows].copy(), None if alpha is None else alpha[rows].copy())
        sink.write(band)
        band.pixels[:] = 0


@pytest.mark.parametrize(("pixels", "mode"), [(PIXELS, "RGB"), (GREY, "L")])
def test_image_sink(pixels: Pixels, mode: str) -> None:
    sink = ImageSink()
    fill(sink, pixels)
    assert (sink.image.mode, sink.image.info) == (mode, {})
    np.testing.assert_array_equal(np.asarray(sink.image), pixels)
    fill(sink, pixels, ALPHA, metadata=METADATA, colour=Colour(12, 13, 0, 1))
    assert sink.image.mode == mode + "A"
    np.testing.assert_array_equal(np.asarray(sink.image), np.dstack([pixels, ALPHA]))
    assert sink.image.info == {
        "icc_profile": METADATA[UnitType.ICC_PROFILE],
        "exif": b"Exif\0\0" + METADATA[UnitType.EXIF],
        "xmp": b"<x/>",
        "cicp": (12, 13, 0, 1),
    }


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("pixels", [PIXELS, GREY], ids=["rgb", "grey"])
@pytest.mark.parametrize("alpha", [None, ALPHA], ids=["opaque", "alpha"])
def test_written_pictures_are_read_back(name: str, pixels: Pixels, alpha: NDArray[np.uint8] | None) -> None:
    output = output_format(f"x.{name.upper()}", None)
    samples = pixels if alpha is None else np.dstack([pixels, alpha])
    files = []
    for file in (io.BytesIO(), io.BufferedWriter(Pipe())):
        if alpha is not None and not output.alpha:
            with (
                pytest.raises(nacre.InputError, match=r"transparent pixels, .* holds none; use one of png, webp, tif"),
                open_sink(file, output) as sink,
            ):
                fill(sink, pixels, alpha)
            with pytest.raises(nacre.InputError, match="holds none"):
                write_picture(file, samples, output)
            continue
        with open_sink(file, output) as sink:
            fill(sink, pixels, alpha)
        file.flush()
        files.append(file.getvalue() if isinstance(file, io.BytesIO) else file.raw.data)
    if not files:
        return
    whole = io.BytesIO()
    write_picture(whole, samples, output)
    assert [whole.getvalue()] * 2 == files
    found = read_whole(whole.getvalue())
    back = found.pixels if found.pixels.ndim == pixels.ndim else found.pixels[..., 0]  # WebP has no grey
    tolerance = 25 if name in ("jpg", "jpeg") else 0
    np.testing.assert_allclose(back.astype(int), pixels.astype(int), atol=tolerance)
    if alpha is None:
        assert found.alpha is None
    else:
        np.testing.assert_array_equal(found.alpha, alpha)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_metadata_that_a_format_cannot_hold_is_said(name: str) -> None:
    sink = ImageSink()
    fill(sink, PIXELS, metadata=METADATA)
    for write in (
        lambda file: write_image(file, sink.image, FORMATS[name]),
        lambda file: _through_sink(file, name),
    ):
        file = io.BytesIO()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            write(file)
        texts = [str(warning.message) for warning in caught]
        if FORMATS[name].metadata:
            assert texts == []
        else:
            assert texts == [f"{FORMATS[name].name} cannot hold the picture's ICC profile, EXIF data, XMP packet"]


def _through_sink(file: io.BytesIO, name: str) -> None:
    with open_sink(file, FORMATS[name]) as sink:
        fill(sink, PIXELS, metadata=METADATA)


def test_metadata_that_is_too_long_for_jpeg_is_said_and_left_out() -> None:
    image = Image.fromarray(PIXELS)
    longest = {"icc_profile": b"i" * (255 * 65519), "exif": b"Exif\0\0" + b"e" * 65527, "xmp": b"x" * 65504}
    image.info |= longest
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_image(file, image, FORMATS["jpg"])
    with Image.open(io.BytesIO(file.getvalue())) as back:
        assert {key: back.info[key] for key in longest} == longest
    image.info |= {key: value + b"!" for key, value in longest.items()}
    with pytest.warns(UserWarning, match="JPEG cannot hold the picture's ICC profile, EXIF data, XMP packet"):
        write_image(file := io.BytesIO(), image, FORMATS["jpg"])
    with Image.open(io.BytesIO(file.getvalue())) as back:
        assert not back.info.keys() & longest.keys()


def test_pixels_under_full_transparency_are_kept() -> None:
    samples = np.dstack([PIXELS, np.zeros((20, 30), np.uint8)])
    for name in ("png", "webp", "tiff", "tga", "pam"):
        file = io.BytesIO()
        write_picture(file, samples, FORMATS[name])
        np.testing.assert_array_equal(read_whole(file.getvalue()).pixels, PIXELS)


@pytest.mark.parametrize(("name", "side"), [("webp", 16384), ("jpg", 65501)])
def test_sides_that_a_format_does_not_have_are_refused(name: str, side: int) -> None:
    with (
        pytest.raises(nacre.InputError, match=f"{side} x 1 pixels, .* holds sides of at most {side - 1}"),
        open_sink(io.BytesIO(), FORMATS[name]) as sink,
    ):
        sink.start(PictureForm(side, 1, True, False))
    file = io.BytesIO()
    write_picture(file, np.zeros((1, side - 1), np.uint8), FORMATS[name])
    assert read_picture(file.getvalue(), nacre.bitstream.Limits()).shape[1] == side - 1


def fail_behind_start(file: io.BytesIO) -> None:
    with open_sink(file, FORMATS["png"]) as sink:
        sink.start(PictureForm(3, 3, True, False))
        raise nacre.FormatError


def test_a_failed_decoding_writes_nothing() -> None:
    file = io.BytesIO()
    with pytest.raises(nacre.FormatError):
        fail_behind_start(file)
    assert file.getvalue() == b""


def test_output_formats() -> None:
    assert output_format("-", None).name == "PNG"
    assert output_format("-", "ppm").name == "PPM"
    assert output_format("a.pam", None).alpha
    assert output_format("a.png", "JPEG").name == "JPEG"
    for target, chosen in (("a", None), ("a.xyz", None), ("a.png", "xyz"), ("a.mp4", None)):
        with pytest.raises(nacre.InputError, match="one of png"):
            output_format(target, chosen)
