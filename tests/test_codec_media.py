"""Kinds of pictures: what is taken, what is converted, what is refused, and how it is said."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_picture
from PIL import Image, ImageCms

import nacre
from nacre.bitstream import Limits
from nacre.media import FORMATS, output_format, read_picture, write_picture

LIMITS = Limits(max_dimension=4096)
PIXELS = make_picture(20, 30)
GREY = make_picture(20, 30, 1)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    return file.getvalue()


def png_of_16_bits(samples: np.ndarray[Any, Any]) -> bytes:
    """A PNG of uint16 samples (H, W) or (H, W, 3)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if samples.ndim == 2 else 2, 0, 0, 0)
    rows = samples.astype(">u2").reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF", "WEBP", "TGA"])
def test_formats_that_keep_pixels(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = saved(Image.fromarray(PIXELS), form, **options)
    np.testing.assert_array_equal(read_picture(data, LIMITS), PIXELS)


def test_jpeg_is_read_as_rgb_and_as_grey() -> None:
    assert read_picture(saved(Image.fromarray(PIXELS), "JPEG"), LIMITS).shape == (20, 30, 3)
    assert read_picture(saved(Image.fromarray(GREY), "JPEG"), LIMITS).shape == (20, 30)


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("1", (20, 30)), ("L", (20, 30)), ("P", (20, 30, 3)), ("YCbCr", (20, 30, 3)), ("HSV", (20, 30, 3))],
)
def test_modes_that_are_converted(mode: str, shape: tuple[int, ...]) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    expected = np.asarray(image.convert("L" if len(shape) == 2 else "RGB"))
    np.testing.assert_array_equal(read_picture(image, LIMITS), expected)


def test_opaque_alpha_is_dropped() -> None:
    for image in (Image.fromarray(PIXELS), Image.fromarray(GREY)):
        with_alpha = image.convert("RGBA" if image.mode == "RGB" else "LA")
        np.testing.assert_array_equal(read_picture(saved(with_alpha, "PNG"), LIMITS), np.asarray(image))


def transparent_pictures() -> list[Any]:
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[3, 4] = 254
    rgba = Image.fromarray(np.dstack([PIXELS, alpha]))
    palette = Image.fromarray(PIXELS).convert("P")
    return [
        np.dstack([PIXELS, alpha]),
        np.dstack([GREY, alpha]),
        rgba,
        rgba.convert("RGBa"),
        rgba.convert("LA"),
        saved(rgba, "PNG"),
        saved(palette, "PNG", transparency=int(np.asarray(palette)[0, 0])),
        saved(Image.fromarray(GREY), "PNG", transparency=int(GREY[0, 0])),
        saved(Image.fromarray(PIXELS), "PNG", transparency=tuple(PIXELS[0, 0].tolist())),
    ]


@pytest.mark.parametrize("picture", transparent_pictures())
def test_transparency_is_refused(picture: Any) -> None:
    with pytest.raises(nacre.InputError, match=r"transparent pixels .* alpha comes with a later version"):
        read_picture(picture, LIMITS)


def test_palette_with_unused_transparency_is_taken() -> None:
    image = Image.fromarray(PIXELS).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    np.testing.assert_array_equal(
        read_picture(saved(image, "PNG", transparency=200), LIMITS), np.asarray(image.convert("RGB"))
    )


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (Image.new("CMYK", (9, 9)), "CMYK ink amounts"),
        (Image.new("F", (9, 9)), "floating-point samples"),
        (Image.new("I", (9, 9), 70000), "32-bit integer samples"),
        (Image.new("LAB", (9, 9)), "samples of mode LAB"),
    ],
)
def test_modes_that_are_refused(image: Image.Image, what: str) -> None:
    with pytest.raises(nacre.InputError, match=f"{what}, which this version does not code"):
        read_picture(image, LIMITS)


def test_cmyk_jpeg_and_float_tiff_are_refused() -> None:
    for data in (saved(Image.new("CMYK", (9, 9)), "JPEG"), saved(Image.new("F", (9, 9)), "TIFF")):
        with pytest.raises(nacre.InputError, match="does not code"):
            read_picture(data, LIMITS)


def test_16_bit_grey_is_reduced_with_a_warning() -> None:
    samples = np.array([[0, 128, 129, 257], [32767, 32768, 65406, 65535]], np.uint16)
    expected = np.round(samples / 257.0).astype(np.uint8)
    pgm = b"P5\n4 2\n65535\n" + samples.astype(">u2").tobytes()
    for picture in (png_of_16_bits(samples), pgm, saved(Image.fromarray(samples), "TIFF"), Image.fromarray(samples)):
        with pytest.warns(UserWarning, match="16-bit samples are reduced"):
            np.testing.assert_array_equal(read_picture(picture, LIMITS), expected)


def test_16_bit_rgb_is_reduced_with_a_warning() -> None:
    samples = PIXELS.astype(np.uint16) * 257
    with pytest.warns(UserWarning, match="16-bit samples are reduced"):
        np.testing.assert_array_equal(read_picture(png_of_16_bits(samples), LIMITS), PIXELS)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_several_pictures_in_a_file(form: str) -> None:
    frames = [Image.fromarray(make_picture(20, 30, seed=seed)) for seed in range(3)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    if form == "TIFF":
        with pytest.warns(UserWarning, match="only the first of 3 pages"):
            np.testing.assert_array_equal(read_picture(data, LIMITS), np.asarray(frames[0]))
    elif form == "MPO":  # a photograph with a second picture beside it, as phones write them
        assert read_picture(data, LIMITS).shape == (20, 30, 3)
    else:
        with pytest.raises(
            nacre.InputError, match="animation of 3 frames; this version codes single pictures, not video"
        ):
            read_picture(data, LIMITS)


def test_what_is_not_kept_is_said() -> None:
    image = Image.fromarray(PIXELS)
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.warns(UserWarning, match="ICC colour profile is not kept"):
        read_picture(saved(image, "PNG", icc_profile=other), LIMITS)
    with pytest.warns(UserWarning, match="EXIF orientation is not kept"):
        assert read_picture(saved(image, "JPEG", exif=exif), LIMITS).shape == (20, 30, 3)
    quiet = [saved(image, "PNG", icc_profile=standard), saved(image, "PNG", exif=b"Exif\0\0nonsense")]
    for data in quiet:
        np.testing.assert_array_equal(read_picture(data, LIMITS), PIXELS)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damaged_pictures(form: str) -> None:
    data = saved(Image.fromarray(PIXELS), form)
    random = np.random.default_rng(2)
    for length in random.integers(1, len(data) - 4, 12).tolist():
        try:
            read_picture(data[:length], LIMITS)
        except nacre.InputError as error:
            assert "picture" in str(error)  # noqa: PT017  (some formats survive being cut at their last bytes)
    with pytest.raises(nacre.InputError):
        read_picture(data[: len(data) // 3], LIMITS)


def test_no_picture_at_all(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    with pytest.raises(nacre.InputError, match=r"notes\.txt: is no picture in a format that Pillow reads"):
        read_picture(text, LIMITS)
    with pytest.raises(nacre.InputError, match="is empty"):
        read_picture(b"", LIMITS)
    (tmp_path / "film.mkv").write_bytes(b"\x1a\x45\xdf\xa3")
    with pytest.raises(nacre.InputError, match=r"film\.mkv: is a video by its name"):
        read_picture(tmp_path / "film.mkv", LIMITS)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((4, 4), np.float32), "the array is float32"),
        (np.zeros((4, 4, 5), np.uint8), "must be uint8"),
        (np.zeros(4, np.uint8), "must be uint8"),
        (np.zeros((0, 4, 3), np.uint8), "at least one sample"),
    ],
)
def test_arrays_that_are_refused(array: Any, text: str) -> None:
    with pytest.raises(nacre.InputError, match=text):
        read_picture(array, LIMITS)


def test_size_is_checked_before_pixels_are_decoded() -> None:
    data = bytearray(saved(Image.new("L", (8, 8)), "BMP"))
    data[18:22], data[22:26] = struct.pack("<i", 60000), struct.pack("<i", 60000)
    with pytest.raises(nacre.LimitError):
        read_picture(bytes(data), LIMITS)
    with pytest.raises(nacre.LimitError, match="width is 4097"):
        read_picture(saved(Image.new("1", (4097, 1)), "PNG"), LIMITS)


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("pixels", [PIXELS, GREY], ids=["rgb", "grey"])
def test_written_pictures_are_read_back(name: str, pixels: Any) -> None:
    file = io.BytesIO()
    write_picture(file, pixels, output_format(f"x.{name.upper()}", None))
    back = read_picture(file.getvalue(), LIMITS)
    if back.ndim > pixels.ndim:  # WebP has no grey
        back = back[..., 0]
    tolerance = 25 if name in ("jpg", "jpeg") else 0
    np.testing.assert_allclose(back.astype(int), pixels.astype(int), atol=tolerance)


def test_output_formats() -> None:
    assert output_format("-", None).name == "PNG"
    assert output_format("-", "ppm").name == "PPM"
    assert output_format("a.png", "JPEG").name == "JPEG"
    for target, chosen in (("a", None), ("a.xyz", None), ("a.png", "xyz"), ("a.mp4", None)):
        with pytest.raises(nacre.InputError, match="one of png"):
            output_format(target, chosen)
