"""Kinds of pictures: what is taken, what is converted, what is refused, and how it is said."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile
from profiles import cmyk_profile
from rows import LIMITS, read_whole, saved

import nacre
from nacre.bitstream import Limits
from nacre.media import open_rows, read_picture

SIZES = [(1, 1), (2, 3), (17, 33), (300, 200)]
PIXELS = make_picture(20, 30)
GREY = make_picture(20, 30, 1)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: NDArray[Any], colour_type: int, depth: int = 8, width: int | None = None, extra: bytes = b"") -> bytes:
    """A PNG of rows (H, bytes or samples); extra: chunks in front of the samples."""
    height = len(samples)
    header = struct.pack(">IIBBBBB", width or samples.shape[1], height, depth, colour_type, 0, 0, 0)
    rows = (samples.astype(">u2") if depth == 16 else samples).reshape(height, -1)
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + body + chunk(b"IEND", b"")


def noise(width: int, height: int, channels: int, seed: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def rgba(width: int, height: int) -> Image.Image:
    image = Image.fromarray(noise(width, height, 4))
    image.putpixel((0, 0), (9, 8, 7, 6))  # never opaque everywhere
    return image


def in_mode(mode: str, width: int, height: int) -> Image.Image:
    colour = Image.fromarray(noise(width, height, 3))
    if mode in ("LA", "La", "RGBA", "RGBa"):
        return rgba(width, height).convert("LA" if mode == "La" else "RGBA").convert(mode)
    if mode == "PA":
        image = colour.convert("P").convert("PA")
        image.putalpha(rgba(width, height).getchannel("A"))
        return image
    if mode == "RGBX":
        return Image.fromarray(noise(width, height, 4)).convert("RGB").convert("RGBX")
    if mode.startswith("I;16"):
        samples = np.random.default_rng(5).integers(0, 65536, (height, width), np.uint16)
        raw = samples.astype(">u2" if mode.endswith("B") else "<u2").tobytes()
        return Image.frombytes(mode, (width, height), raw)
    if mode == "F":
        return Image.fromarray(np.random.default_rng(6).random((height, width), np.float32))
    if mode == "CMYK":
        image = Image.frombytes("CMYK", (width, height), noise(width, height, 4).tobytes())
        image.info["icc_profile"] = cmyk_profile()
        return image
    if mode == "LAB":
        return Image.frombytes("LAB", (width, height), noise(width, height, 3).tobytes())
    return colour.convert(mode)


# Mode, what Pillow converts it to for the same picture: grey or colour, and alpha.
PLAIN_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB"}
ALPHA_MODES = {"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("mode", PLAIN_MODES)
def test_modes_are_what_pillow_converts_them_to(mode: str, width: int, height: int) -> None:
    image = in_mode(mode, width, height)
    found = read_whole(image)
    np.testing.assert_array_equal(found.pixels, np.asarray(image.convert(PLAIN_MODES[mode])))
    form = found.form
    assert (form.width, form.height, form.grey, form.alpha) == (width, height, PLAIN_MODES[mode] == "L", False)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("mode", ALPHA_MODES)
def test_alpha_is_kept_exactly(mode: str, width: int, height: int) -> None:
    image = in_mode(mode, width, height)
    found = read_whole(image)
    expected = np.asarray(image.convert(ALPHA_MODES[mode]))
    assert found.alpha is not None
    np.testing.assert_array_equal(np.dstack([found.pixels, found.alpha]), expected)
    assert found.form.grey == (ALPHA_MODES[mode] == "LA")


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_16_bit_grey_is_reduced(mode: str, width: int, height: int) -> None:
    image = in_mode(mode, width, height)
    with pytest.warns(UserWarning, match="16-bit samples are reduced"):
        found = read_whole(image)
    assert found.form.grey
    np.testing.assert_array_equal(found.pixels, np.round(np.asarray(image) / 257.0))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_floats_are_scaled(width: int, height: int) -> None:
    image = in_mode("F", width, height)
    found = read_whole(image)
    assert found.form.grey
    np.testing.assert_array_equal(found.pixels, np.floor(np.asarray(image).astype(float) * 255 + 0.5))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("mode", sorted({*PLAIN_MODES, *ALPHA_MODES} - {"La", "PA", "RGBX", "RGBa", "YCbCr", "HSV"}))
def test_files_are_read_as_their_images(mode: str, width: int, height: int, tmp_path: Path) -> None:
    image = in_mode(mode, width, height)
    path = tmp_path / "picture.tif"
    image.save(path)
    found, expected = read_whole(path), read_whole(image)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.alpha, expected.alpha)  # type: ignore[arg-type]  # None equals None


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF", "WEBP", "TGA", "GIF", "JPEG2000", "AVIF"])
def test_formats_that_keep_pixels(form: str) -> None:
    lossless = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
    picture = GREY if form == "GIF" else PIXELS
    found = read_picture(saved(Image.fromarray(picture), form, **lossless.get(form, {})), LIMITS)
    np.testing.assert_allclose(found.astype(int), picture.astype(int), atol=3 if form == "AVIF" else 0)


def test_jpeg_is_read_as_rgb_and_as_grey() -> None:
    for picture in (PIXELS, GREY):
        data = saved(Image.fromarray(picture), "JPEG")
        np.testing.assert_array_equal(read_picture(data, LIMITS), np.asarray(Image.open(io.BytesIO(data))))


def test_opaque_alpha_is_dropped() -> None:
    for image in (Image.fromarray(PIXELS), Image.fromarray(GREY)):
        with_alpha = image.convert("RGBA" if image.mode == "RGB" else "LA")
        for picture in (with_alpha, saved(with_alpha, "PNG"), np.asarray(with_alpha)):
            found = read_whole(picture)
            assert not found.form.alpha
            np.testing.assert_array_equal(found.pixels, np.asarray(image))


def test_one_transparent_pixel_far_down_is_seen() -> None:
    image = Image.new("LA", (1000, 3000), (7, 255))
    image.putpixel((999, 2999), (7, 254))
    with open_rows(image, LIMITS) as rows:
        assert rows.form.alpha


def test_colours_that_stand_for_transparency() -> None:
    palette = Image.fromarray(PIXELS).convert("P")
    some = list(range(256))
    for data in (
        saved(palette, "PNG", transparency=int(np.asarray(palette)[0, 0])),
        saved(palette, "PNG", transparency=bytes(some)),
        saved(palette, "GIF", transparency=int(np.asarray(palette)[0, 0])),
        saved(Image.fromarray(GREY), "PNG", transparency=int(GREY[0, 0])),
        saved(Image.fromarray(PIXELS), "PNG", transparency=tuple(PIXELS[0, 0].tolist())),
        saved(Image.fromarray(GREY).convert("1"), "PNG", transparency=255),
    ):
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(image.convert("RGBA"))
        found = read_whole(data)
        assert found.alpha is not None
        assert found.alpha.min() < found.alpha.max()
        np.testing.assert_array_equal(found.alpha, expected[..., 3])
        pixels = found.pixels if found.pixels.ndim == 3 else np.dstack([found.pixels] * 3)
        np.testing.assert_array_equal(pixels, expected[..., :3])


def test_transparent_colour_of_few_and_of_many_bits() -> None:
    packed = np.array([[0x01, 0x23]], np.uint8)  # the grey levels 0, 1, 2, 3 of 15
    found = read_whole(png(packed, 0, depth=4, width=4, extra=chunk(b"tRNS", b"\0\2")))
    np.testing.assert_array_equal(found.pixels, [[0, 17, 34, 51]])
    np.testing.assert_array_equal(found.alpha, [[255, 255, 0, 255]])  # type: ignore[arg-type]
    wide = np.array([[0, 300, 301, 65535]], np.uint16)
    with pytest.warns(UserWarning, match="16-bit"):
        found = read_whole(png(wide, 0, depth=16, extra=chunk(b"tRNS", struct.pack(">H", 300))))
    np.testing.assert_array_equal(found.alpha, [[255, 0, 255, 255]])  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="16-bit"):
        found = read_whole(
            png(np.full((1, 1, 3), 0x1234, np.uint16), 2, 16, extra=chunk(b"tRNS", b"\x12\x34\x12\x34\x12\x34"))
        )
    np.testing.assert_array_equal(found.alpha, [[0]])  # type: ignore[arg-type]


def test_transparent_colour_that_is_none() -> None:
    image = Image.fromarray(PIXELS)
    image.info["transparency"] = b"\0\1"
    with pytest.raises(nacre.InputError, match=r"transparent colour .* must be three integers"):
        read_whole(image)


def test_palette_with_unused_transparency_is_opaque() -> None:
    image = Image.fromarray(PIXELS).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    found = read_whole(saved(image, "PNG", transparency=200))
    assert not found.form.alpha
    np.testing.assert_array_equal(found.pixels, np.asarray(image.convert("RGB")))


def test_grey_palette_is_coded_as_grey() -> None:
    image = Image.fromarray(GREY).quantize(200)
    found = read_whole(saved(image, "PNG"))
    assert found.form.grey
    np.testing.assert_array_equal(found.pixels, np.asarray(image.convert("L")))
    found = read_whole(saved(image, "PNG", transparency=0))
    assert found.form.grey
    assert found.form.alpha


def test_grey_with_alpha_of_16_bits_is_grey() -> None:
    samples = np.random.default_rng(1).integers(0, 65536, (5, 6, 2), np.uint16)
    with pytest.warns(UserWarning, match="16-bit"):
        found = read_whole(png(samples, 4, depth=16))
    assert found.form.grey
    np.testing.assert_array_equal(found.pixels, samples[..., 0] >> 8)
    np.testing.assert_array_equal(found.alpha, samples[..., 1] >> 8)  # type: ignore[arg-type]


def test_16_bit_files_are_reduced_with_a_warning() -> None:
    samples = np.array([[0, 128, 129, 257], [32767, 32768, 65406, 65535]], np.uint16)
    expected = np.round(samples / 257.0).astype(np.uint8)
    pgm = b"P5\n4 2\n65535\n" + samples.astype(">u2").tobytes()
    tiff = saved(Image.fromarray(samples), "TIFF")
    for picture in (png(samples, 0, depth=16), pgm, tiff, Image.fromarray(samples), samples):
        with pytest.warns(UserWarning, match="16-bit samples are reduced"):
            np.testing.assert_array_equal(read_picture(picture, LIMITS), expected)
    with pytest.warns(UserWarning, match="16-bit samples are reduced"):
        np.testing.assert_array_equal(read_picture(png(PIXELS.astype(np.uint16) * 257, 2, 16), LIMITS), PIXELS)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (Image.new("CMYK", (9, 9)), "CMYK ink amounts and no ICC profile"),
        (
            Image.fromarray(np.array([[-0.5, 1.0]], np.float32)),
            "floating-point samples from -0.5 to 1, must be in 0..1",
        ),
        (Image.fromarray(np.array([[0, np.nan]], np.float32)), "floating-point samples from nan to nan, must be"),
        (Image.fromarray(np.array([[0, np.inf]], np.float32)), "floating-point samples from 0 to inf, must be"),
        (Image.new("I", (9, 9), 70000), "32-bit integer samples, from 70000 to 70000, of no known range"),
    ],
)
def test_modes_that_are_refused(image: Image.Image, text: str) -> None:
    for picture in (image, saved(image, "TIFF")):
        with pytest.raises(nacre.InputError, match=text):
            read_whole(picture)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (7, 5, 2), (7, 5, 3), (7, 5, 4)])
def test_arrays(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(8)
    bytes_ = random.integers(0, 256, shape, np.uint8)
    bytes_[0, 0] = 3
    cases = [(bytes_, bytes_), (bytes_ > 99, np.where(bytes_ > 99, 255, 0))]
    wide = random.integers(0, 60000, shape, np.uint16)
    cases += [(wide, np.round(wide / 257.0)), (wide.astype(">u2"), np.round(wide / 257.0))]
    cases += [((bytes_ / 255.0).astype(kind), bytes_) for kind in (np.float32, np.float64)]
    for array, expected in cases:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = read_whole(np.asfortranarray(array))
        assert [str(warning.message) for warning in caught] == (
            ["16-bit samples are reduced to 8 bits"] if array.dtype.itemsize == 2 and array.dtype.kind == "u" else []
        )
        channels = expected.reshape(7, 5, -1)
        grey = channels.shape[2] <= 2
        assert (found.form.grey, found.form.alpha) == (grey, channels.shape[2] in (2, 4))
        np.testing.assert_array_equal(found.pixels, channels[..., 0] if grey else channels[..., :3])
        if found.alpha is not None:
            np.testing.assert_array_equal(found.alpha, channels[..., -1])


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((4, 4), 1.5), "floating-point samples from 1.5 to 1.5, must be in 0..1"),
        (np.full((4, 4), np.nan), "must be in 0..1"),
        (np.zeros((4, 4), np.int32), "the array is int32"),
        (np.zeros((4, 4), np.complex64), "the array is complex64"),
        (np.zeros((4, 4), object), "the array is object"),
        (np.zeros((4, 4, 5), np.uint8), "must be uint8"),
        (np.zeros(4, np.uint8), "must be uint8"),
        (np.zeros((0, 4, 3), np.uint8), "at least one sample"),
    ],
)
def test_arrays_that_are_refused(array: Any, text: str) -> None:
    with pytest.raises(nacre.InputError, match=text):
        read_whole(array)


def test_rows_can_be_read_again() -> None:
    for picture in (Image.fromarray(PIXELS), PIXELS, saved(Image.fromarray(PIXELS), "PPM"), saved(rgba(30, 20), "PNG")):
        with open_rows(picture, LIMITS) as rows:
            first = rows.read(7).pixels.copy()
            rows.read(3)
            rows.rewind()
            np.testing.assert_array_equal(rows.read(7).pixels, first)
            np.testing.assert_array_equal(rows.read(13).pixels, read_whole(picture).pixels[7:])


class Pipe(io.RawIOBase):
    """Bytes that come once, at most 5 at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(min(size, 5) if size >= 0 else 5)


def test_sources(tmp_path: Path) -> None:
    for form in ("PNG", "PPM", "TIFF"):
        data = saved(Image.fromarray(PIXELS), form)
        path = tmp_path / "picture.bin"
        path.write_bytes(b"in front" + data)
        with open(path, "rb") as file:
            file.seek(8)
            for source in (data, bytearray(data), io.BytesIO(data), Pipe(data), file):
                np.testing.assert_array_equal(read_picture(source, LIMITS), PIXELS)
            assert not file.closed
    with open_rows(Pipe(saved(Image.fromarray(PIXELS), "PPM")), LIMITS) as rows:
        rows.read(1)
        with pytest.raises(nacre.InputError, match="cannot be read twice"):
            rows.rewind()


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO"])
def test_several_pictures_in_a_file(form: str) -> None:
    frames = [Image.fromarray(make_picture(20, 30, seed=seed)) for seed in range(3)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    if form == "TIFF":
        with pytest.warns(UserWarning, match="only the first of 3 pages"):
            np.testing.assert_array_equal(read_picture(data, LIMITS), np.asarray(frames[0]))
    elif form == "MPO":  # a photograph with a second picture beside it, as phones write them
        assert read_picture(data, LIMITS).shape == (20, 30, 3)
    else:
        with pytest.raises(nacre.InputError, match="animation of 3 frames; nacre codes single pictures"):
            read_picture(data, LIMITS)


def test_no_picture_at_all(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    with pytest.raises(nacre.InputError, match=r"notes\.txt: is no picture in a format that Pillow reads"):
        read_picture(text, LIMITS)
    with open(text) as file, pytest.raises(nacre.InputError, match="text mode"):
        read_picture(file, LIMITS)  # type: ignore[arg-type]
    for empty in (b"", io.BytesIO(), Pipe(b"")):
        with pytest.raises(nacre.InputError, match="is empty"):
            read_picture(empty, LIMITS)
    (tmp_path / "film.mkv").write_bytes(b"\x1a\x45\xdf\xa3")
    with pytest.raises(nacre.InputError, match=r"film\.mkv: is a video by its name"):
        read_picture(tmp_path / "film.mkv", LIMITS)
    with pytest.raises(nacre.InputError, match="a nacre stream already"):
        read_picture(nacre.bitstream.units.SIGNATURE + b"\0\1", LIMITS)
    with pytest.raises(nacre.InputError, match="0 x 5 pixels"):
        read_picture(Image.new("L", (0, 5)), LIMITS)


def test_transparent_pictures_are_not_for_read_picture() -> None:
    with pytest.raises(nacre.InputError, match="transparent pixels"):
        read_picture(rgba(3, 4), LIMITS)


def bombs() -> dict[str, bytes]:
    """Small files that announce 60000 x 60000 pixels."""
    size = 60000
    bmp = bytearray(saved(Image.new("L", (8, 8)), "BMP"))
    bmp[18:26] = struct.pack("<ii", size, size)
    jpeg = bytearray(saved(Image.new("L", (8, 8)), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", size, size)
    gif = bytearray(saved(Image.new("L", (8, 8)), "GIF"))
    gif[6:10] = struct.pack("<HH", size, size)
    tiff = saved(Image.new("L", (8, 8)), "TIFF")
    for tag in (256, 257):
        entry = struct.pack("<HHIHH", tag, 3, 1, 8, 0)
        assert entry in tiff or struct.pack("<HHII", tag, 4, 1, 8) in tiff
        tiff = tiff.replace(entry, struct.pack("<HHII", tag, 4, 1, size))
        tiff = tiff.replace(struct.pack("<HHII", tag, 4, 1, 8), struct.pack("<HHII", tag, 4, 1, size))
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    webp = bytearray(saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    webp[21:25] = ((16383 - 1) | (16383 - 1) << 14).to_bytes(4, "little")
    icon = bytearray(saved(Image.new("RGBA", (16, 16)), "ICO"))
    place = icon.index(b"IHDR") + 4
    icon[place : place + 8] = struct.pack(">II", size, size)
    icon[place + 13 : place + 17] = struct.pack(">I", zlib.crc32(icon[place - 4 : place + 13]))
    return {
        "bmp": bytes(bmp),
        "jpeg": bytes(jpeg),
        "gif": bytes(gif),
        "tiff": tiff,
        "png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body,
        "ppm": b"P6\n60000 60000\n255\n" + b"\0" * 100,
        "webp": bytes(webp),
        "ico": bytes(icon),
    }


@pytest.mark.parametrize("form", sorted(bombs()))
@pytest.mark.filterwarnings("ignore:Image size")
def test_bombs_are_refused_before_memory_is_taken(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bombs()[form]
    if form != "ico":  # whose picture lies inside, and is opened when the file is loaded
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail(f"{image} is loaded"))
    monkeypatch.setattr(Image.core, "fill", lambda *_: pytest.fail("memory is taken"))
    monkeypatch.setattr(Image.core, "new", lambda *_: pytest.fail("memory is taken"))
    tracemalloc.start()
    try:
        with pytest.raises(nacre.LimitError, match="max_pixels"):
            read_picture(data, Limits(max_pixels=100_000_000))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_sides_are_limited() -> None:
    with pytest.raises(nacre.LimitError, match="width is 4097"):
        read_picture(saved(Image.new("1", (4097, 1)), "PNG"), Limits(max_dimension=4096))
    with pytest.raises(nacre.LimitError, match="height is 4097"):
        read_picture(np.zeros((4097, 1), np.uint8), Limits(max_dimension=4096))


@pytest.mark.filterwarnings("error")
def test_our_limit_takes_the_place_of_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # what is more than 200 is an error
    for form in ("PNG", "TIFF", "WEBP"):
        data = saved(Image.fromarray(PIXELS), form)
        assert read_picture(data, Limits(max_pixels=600)).shape == (20, 30, 3)
        with pytest.raises(nacre.LimitError):
            read_picture(data, Limits(max_pixels=599))
    assert Image.MAX_IMAGE_PIXELS == 100


def test_pillows_limit_is_what_it_was_after_many_threads() -> None:
    before = Image.MAX_IMAGE_PIXELS
    data, failures = saved(Image.fromarray(PIXELS), "PNG"), []

    def work(number: int) -> None:
        for _ in range(20):
            try:
                read_picture(data if number % 2 else data[:60], Limits(max_pixels=before * 2 + number))
            except nacre.InputError:
                if number % 2:
                    failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert before == Image.MAX_IMAGE_PIXELS


def test_only_bands_are_held_beside_the_picture() -> None:
    image = Image.fromarray(noise(1000, 4000, 3))
    tracemalloc.start()
    try:
        with open_rows(image, LIMITS) as rows:
            for _ in range(40):
                rows.read(100)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20  # the picture has 12 million bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "PPM", "JPEG2000"])
def test_truncated_pictures(form: str) -> None:
    data = saved(Image.fromarray(PIXELS), form)
    random = np.random.default_rng(2)
    for length in random.integers(1, len(data) - 4, 12).tolist():
        try:
            read_picture(data[:length], LIMITS)
        except nacre.InputError as error:
            assert str(error)  # noqa: PT017  (some formats survive being cut at their last bytes)
    with pytest.raises(nacre.InputError):
        read_picture(data[: len(data) // 3], LIMITS)


EXIF = {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0"}
SEEDS = [
    saved(Image.fromarray(samples), form, **(EXIF if form in ("PNG", "JPEG", "WEBP") else {}))
    for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "TGA", "PPM", "AVIF", "ICO")
    for samples in (PIXELS, GREY)
]


@settings(max_examples=300)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12))
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        found = read_whole(bytes(damaged), Limits(max_pixels=1 << 20))
    except (nacre.InputError, nacre.LimitError):
        return
    assert found.pixels.shape[:2] == (found.form.height, found.form.width)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(saved(Image.fromarray(PIXELS), "PNG")))
    writer.start()
    np.testing.assert_array_equal(read_picture(path, LIMITS), PIXELS)
    writer.join()
