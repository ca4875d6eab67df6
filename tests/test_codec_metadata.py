"""ICC profile, EXIF and XMP: carried byte for byte, left out when asked, never a reason to fail."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from conftest import make_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin
from profiles import rgb_profile
from rows import read_whole, saved

import nacre
from nacre.bitstream.units import UnitType
from nacre.colour import UNSPECIFIED
from nacre.media import FORMATS, ImageSink, write_image
from nacre.metadata import MAX_BYTES, parse_exif
from nacre.picture import Band

PIXELS = make_picture(12, 16)
ICC = rgb_profile()
XMP = '<?xpacket begin="\ufeff"?><x:xmpmeta xmlns:x="adobe:ns:meta/">größer</x:xmpmeta>'.encode()


def some_exif(orientation: int = 6) -> bytes:
    """EXIF data with its TIFF header in front, with tags of three directories."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.5, ExifTags.Base.UserComment: b"ASCII\0\0\0note"}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (52.0, 30.0, 1.0)}
    return exif.tobytes().removeprefix(b"Exif\0\0")


EXIF, UPRIGHT = some_exif(), some_exif(orientation=1)
ALL = {UnitType.ICC_PROFILE: ICC, UnitType.EXIF: EXIF, UnitType.XMP: XMP}


def with_all(form: str, exif: bytes = EXIF, xmp: bytes = XMP) -> bytes:
    """A file with all three kinds, written by Pillow."""
    if form == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
        return saved(Image.fromarray(PIXELS), form, icc_profile=ICC, exif=exif, pnginfo=chunks)
    prefix = b"Exif\0\0" if form == "JPEG" else b""
    return saved(Image.fromarray(PIXELS), form, icc_profile=ICC, exif=prefix + exif, xmp=xmp)


def sunk(picture: Any) -> Image.Image:
    """The PIL.Image of a picture that went through nacre without being coded."""
    found = read_whole(picture)
    sink = ImageSink()
    sink.start(found.form)
    sink.write(Band(found.pixels, found.alpha))
    return sink.image


def test_metadata_is_read_byte_for_byte() -> None:
    for form in ("JPEG", "PNG", "WEBP"):
        assert read_whole(with_all(form)).form.metadata == ALL
    # Pillow writes an orientation into AVIF as a property of the picture; without one it leaves EXIF data as it is.
    plain = Image.Exif()
    plain[ExifTags.Base.Artist] = "somebody"
    data = plain.tobytes().removeprefix(b"Exif\0\0")
    assert read_whole(with_all("AVIF", exif=data)).form.metadata == ALL | {UnitType.EXIF: data}
    turned = read_whole(with_all("AVIF")).form.metadata[UnitType.EXIF]
    assert dict(parse_exif(turned)) == dict(parse_exif(EXIF))


@pytest.mark.usefixtures("tiny_weights")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_metadata_goes_through_a_stream(form: str) -> None:
    stream = nacre.encode(with_all(form), 30)
    image = nacre.decode(stream)
    assert (image.info["icc_profile"], image.info["exif"], image.info["xmp"]) == (ICC, b"Exif\0\0" + EXIF, XMP)
    header = nacre.inspect(stream).header
    assert header.colour == UNSPECIFIED
    with pytest.warns(UserWarning, match="stripped"):
        stripped = nacre.encode(with_all(form), 30, strip=True)
    assert nacre.decode(stripped).info == {}
    assert nacre.inspect(stripped).header.colour == UNSPECIFIED


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "tiff"])
def test_metadata_survives_from_file_to_file(name: str) -> None:
    for source in ("JPEG", "PNG", "WEBP"):
        image = sunk(with_all(source))
        assert (image.info["icc_profile"], image.info["exif"], image.info["xmp"]) == (ICC, b"Exif\0\0" + EXIF, XMP)
        file = io.BytesIO()
        write_image(file, image, FORMATS[name])
        found = read_whole(file.getvalue()).form.metadata
        assert found[UnitType.ICC_PROFILE] == ICC
        assert found[UnitType.XMP] == XMP
        if name != "tiff":
            assert found == ALL
            continue
        # A TIFF has its tags in the file itself; the orientation is gone, since Pillow turns such pictures upright.
        exif, expected = parse_exif(found[UnitType.EXIF]), parse_exif(EXIF)
        assert exif[ExifTags.Base.Artist] == "somebody"
        assert ExifTags.Base.Orientation not in exif
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            assert exif.get_ifd(directory) == expected.get_ifd(directory)


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "tiff"])
def test_nothing_is_written_that_is_not_there(name: str) -> None:
    file = io.BytesIO()
    write_image(file, sunk(PIXELS), FORMATS[name])
    metadata = read_whole(file.getvalue()).form.metadata
    assert set(metadata) <= {UnitType.EXIF}
    assert name == "tiff" or not metadata


def test_orientation_is_kept_and_pixels_are_not_turned() -> None:
    for form in ("JPEG", "PNG", "WEBP"):
        found = read_whole(with_all(form))
        assert found.pixels.shape == PIXELS.shape
        assert parse_exif(found.form.metadata[UnitType.EXIF])[ExifTags.Base.Orientation] == 6


def test_tiff_is_turned_upright_by_pillow() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    found = read_whole(saved(Image.fromarray(PIXELS), "TIFF", exif=exif))
    np.testing.assert_array_equal(found.pixels, np.rot90(PIXELS, 3))
    assert (found.form.width, found.form.height) == (12, 16)
    assert not found.form.metadata


def test_strip_leaves_everything_out_and_says_what_that_changes() -> None:
    with (
        pytest.warns(UserWarning, match="ICC profile that is stripped is not sRGB"),
        pytest.warns(UserWarning, match="has the orientation 6: the picture will look turned"),
    ):
        found = read_whole(with_all("PNG"), strip=True)
    assert not found.form.metadata


@pytest.mark.filterwarnings("error")
def test_strip_is_silent_where_it_changes_nothing() -> None:
    for exif in (UPRIGHT, b"nonsense"):
        data = saved(Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0" + exif, xmp=XMP)
        assert not read_whole(data, strip=True).form.metadata


def test_exif_as_text_in_png() -> None:
    text = f"\nexif\n{len(EXIF) + 6:8d}\n" + (b"Exif\0\0" + EXIF).hex() + "\n"
    for body, expected in ((text, EXIF), ("\nexif\n 4\nnonsense\n", None), ("", None)):
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("Raw profile type exif", body, zip=True)
        data = saved(Image.fromarray(PIXELS), "PNG", pnginfo=chunks)
        if "nonsense" in body:
            with pytest.warns(UserWarning, match="EXIF data is left out"):
                found = read_whole(data)
        else:
            found = read_whole(data)
        assert found.form.metadata.get(UnitType.EXIF) == expected


def test_tags_of_a_tiff_become_exif() -> None:
    tags = {ExifTags.Base.Make: "a camera", ExifTags.Base.Copyright: "nobody"}
    found = read_whole(saved(Image.fromarray(PIXELS), "TIFF", tiffinfo=tags, compression="tiff_lzw"))
    assert dict(parse_exif(found.form.metadata[UnitType.EXIF])) == tags
    assert not read_whole(saved(Image.fromarray(PIXELS), "TIFF")).form.metadata


def test_metadata_in_the_info_of_an_image() -> None:
    image = Image.fromarray(PIXELS)
    image.info |= {"icc_profile": bytearray(ICC), "exif": b"Exif\0\0" + EXIF, "xmp": XMP.decode()}
    assert read_whole(image).form.metadata == ALL
    image.info |= {"icc_profile": None, "exif": b"", "xmp": 7}
    assert not read_whole(image).form.metadata


def test_too_large_metadata_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BYTES == 16 << 20
    monkeypatch.setattr("nacre.metadata.MAX_BYTES", len(ICC))
    image = Image.fromarray(PIXELS)
    image.info |= {"icc_profile": ICC, "xmp": b"x" * (len(ICC) + 1)}
    with pytest.warns(UserWarning, match=f"XMP packet is left out: it has {len(ICC) + 1} bytes, at most {len(ICC)}"):
        assert set(read_whole(image).form.metadata) == {UnitType.ICC_PROFILE}


CORRUPT = [
    b"nonsense",
    b"II*\0\xff\xff\xff\xff",
    UPRIGHT[:20],
    UPRIGHT[:-30],
    b"MM\0*\0\0\0\x08\xff\xff" + b"\1" * 50,
    b"\0",
]


@pytest.mark.parametrize("exif", CORRUPT)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_corrupt_exif_and_xmp_are_carried_as_they_are(form: str, exif: bytes) -> None:
    xmp = b"\xff\xfe not XML"
    data = saved(Image.fromarray(PIXELS), form, exif=(b"Exif\0\0" if form == "JPEG" else b"") + exif)
    if form == "PNG":
        body = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + xmp
        data = data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
        image = sunk(data)
    else:
        image = sunk(data)
        image.info["xmp"] = xmp
    assert image.info["exif"] == b"Exif\0\0" + exif
    for name in ("png", "jpg", "webp"):
        file = io.BytesIO()
        write_image(file, image, FORMATS[name])
        assert read_whole(file.getvalue()).form.metadata == {UnitType.EXIF: exif, UnitType.XMP: xmp}


@pytest.mark.parametrize("exif", CORRUPT)
@pytest.mark.filterwarnings("ignore")
def test_corrupt_exif_is_no_reason_not_to_write_a_tiff(exif: bytes) -> None:
    image = Image.fromarray(PIXELS)
    image.info["exif"] = b"Exif\0\0" + exif
    file = io.BytesIO()
    write_image(file, image, FORMATS["tiff"])
    np.testing.assert_array_equal(read_whole(file.getvalue()).pixels, PIXELS)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=20), st.integers(0, 60))
@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_never_stops_a_picture(changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(EXIF[: len(EXIF) - cut])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    for form in ("JPEG", "PNG", "WEBP"):
        data = saved(Image.fromarray(PIXELS), form, exif=b"Exif\0\0" + bytes(damaged))
        found = read_whole(data, strip=True)
        assert found.pixels.shape == PIXELS.shape
        assert read_whole(data).form.metadata == {UnitType.EXIF: bytes(damaged)}
    image = Image.fromarray(PIXELS)
    image.info["exif"] = b"Exif\0\0" + bytes(damaged)
    file = io.BytesIO()
    write_image(file, image, FORMATS["tiff"])
    assert sorted(read_whole(file.getvalue()).pixels.shape) == [3, 12, 16]  # it may be turned
