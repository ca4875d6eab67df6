"""Streams as a format of Pillow, and of imageio through it."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from profiles import rgb_profile

import nacre
from nacre.bitstream.units import SIGNATURE
from nacre.imagefile import StreamImageFile

pytestmark = pytest.mark.usefixtures("tiny_weights")

PIXELS = make_picture(40, 56)
ALPHA = np.random.default_rng(1).integers(0, 256, (40, 56), np.uint8)
PICTURES = {
    "L": PIXELS[..., 0],
    "LA": np.dstack([PIXELS[..., 0], ALPHA]),
    "RGB": PIXELS,
    "RGBA": np.dstack([PIXELS, ALPHA]),
}
ICC, XMP = rgb_profile(), b"<x/>"


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    return tags


def stream(mode: str = "RGB") -> bytes:
    return nacre.encode(np.ascontiguousarray(PICTURES[mode]), 40)


@pytest.mark.parametrize("mode", PICTURES)
def test_open_is_lazy_and_load_decodes(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.ncr"
    path.write_bytes(stream(mode))
    with monkeypatch.context() as patch:
        patch.setattr("nacre.imagefile.decode", lambda *_, **__: pytest.fail("decoded too early"))
        image = Image.open(path)
        assert isinstance(image, StreamImageFile)
        assert (image.format, image.mode, image.size) == ("NACRE", mode, (56, 40))
        assert image.get_format_mimetype() == "image/x-nacre"
        assert image.info == {"nacre_quality": 40.0}
    with image:
        np.testing.assert_array_equal(np.asarray(image), nacre.decode_array(path))
        assert image.fp is None  # the file is closed once the picture is there
        image.load()
        np.testing.assert_array_equal(np.asarray(image.crop((3, 4, 30, 20))), nacre.decode_array(path)[4:20, 3:30])
        np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(image))), np.asarray(image))


@pytest.mark.parametrize("mode", PICTURES)
def test_save(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.ascontiguousarray(PICTURES[mode]))
    image.save(tmp_path / "photo.NCR", quality=40)
    assert (tmp_path / "photo.NCR").read_bytes() == stream(mode)
    file = io.BytesIO()
    image.save(file, format="nacre")
    assert file.getvalue() == nacre.encode(image)
    with Image.open(file) as back:
        assert back.info["nacre_quality"] == 60


def test_targets_and_their_errors(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS)
    file = io.BytesIO()
    image.save(file, format="NACRE", size=len(stream()) + 20)
    assert len(file.getvalue()) <= len(stream()) + 20
    for options in ({"quality": 101}, {"quality": 50, "bpp": 1.0}, {"size": 3}):
        with pytest.raises(ValueError, match=r"quality|bpp|size"):
            image.save(tmp_path / "photo.ncr", **options)
        assert not (tmp_path / "photo.ncr").exists()


def test_metadata_of_info_is_saved_and_opened() -> None:
    image = Image.fromarray(PIXELS)
    given_info = {"icc_profile": ICC, "exif": exif().tobytes(), "xmp": XMP}
    image.info |= given_info
    file = io.BytesIO()
    image.save(file, format="NACRE")
    assert image.info == given_info
    with Image.open(file) as back:
        assert back.info == given_info | {"nacre_quality": 60}
        assert back.getexif()[ExifTags.Base.Orientation] == 6
        again = io.BytesIO()
        back.save(again, format="NACRE", quality=back.info["nacre_quality"])
    with Image.open(again) as back:
        assert back.info == given_info | {"nacre_quality": 60}
    with pytest.warns(UserWarning, match="stripped"):
        image.save(file := io.BytesIO(), format="NACRE", strip=True)
    assert Image.open(file).info == {"nacre_quality": 60}


def test_metadata_of_arguments_comes_first() -> None:
    image = Image.fromarray(PIXELS)
    image.info |= {"icc_profile": b"other", "exif": b"other", "xmp": b"other"}
    for tags in (exif(), exif().tobytes(), exif().tobytes()[6:]):
        file = io.BytesIO()
        image.save(file, format="NACRE", icc_profile=ICC, exif=tags, xmp=XMP.decode())
        with Image.open(file) as back:
            assert back.info == {"icc_profile": ICC, "exif": exif().tobytes(), "xmp": XMP, "nacre_quality": 60}
    file = io.BytesIO()
    image.save(file, format="NACRE", icc_profile=None, exif=b"", xmp=None)
    assert Image.open(file).info == {"nacre_quality": 60}
    assert image.info["exif"] == b"other"


def test_other_modes_are_saved_as_they_are_encoded() -> None:
    image = Image.fromarray(PIXELS).convert("P")
    file = io.BytesIO()
    image.save(file, format="NACRE", quality=40)
    assert file.getvalue() == nacre.encode(image.convert("RGB"), 40)
    with pytest.raises(nacre.InputError, match="CMYK"):
        Image.new("CMYK", (3, 3)).save(io.BytesIO(), format="NACRE")


def test_seek_and_tell() -> None:
    with Image.open(io.BytesIO(stream())) as image:
        assert image.tell() == 0
        image.seek(0)
        with pytest.raises(EOFError):
            image.seek(1)


def test_verify() -> None:
    data = bytearray(stream())
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
    data[-20] ^= 1
    with Image.open(io.BytesIO(data)) as image, pytest.raises(OSError, match="damaged"):
        image.verify()


def test_truncated_streams() -> None:
    data = stream()
    for length in range(len(SIGNATURE), len(data)):
        file = io.BytesIO(data[:length])
        try:
            image = Image.open(file)
        except OSError:
            assert length < 100  # the header is cut
            continue
        with pytest.raises(OSError, match=r"ends at byte|is cut off"):
            image.load()
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data[: len(SIGNATURE) - 1]))


def test_damage_is_an_os_error_unless_pillow_is_to_load_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.tiling.ONE_TILE_PIXELS", 4096)
    monkeypatch.setattr("nacre.tiling.TILE_SIZE", 64)
    data = bytearray(nacre.encode(make_picture(40, 150), threads=1))
    data[-20] ^= 1
    with pytest.raises(OSError, match="damaged"):
        Image.open(io.BytesIO(data)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(data)) as image, pytest.warns(UserWarning, match="tile 2"):
        assert np.asarray(image).shape == (40, 150, 3)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10000), st.integers(0, 255)), min_size=1, max_size=5))
@pytest.mark.filterwarnings("ignore")
def test_damaged_streams_raise_what_users_of_pillow_expect(changes: list[tuple[int, int]]) -> None:
    good = stream()
    damaged = bytearray(good)
    for place, value in changes:
        damaged[len(SIGNATURE) + place % (len(damaged) - len(SIGNATURE))] = value
    try:
        with Image.open(io.BytesIO(damaged)) as image:
            image.load()
    except OSError:
        assert damaged != good
        return
    # Only the minor version is covered by no checksum.
    assert damaged[: len(SIGNATURE) + 1] + damaged[len(SIGNATURE) + 2 :] == good[:9] + good[10:]


def test_closed_images() -> None:
    image = Image.open(io.BytesIO(stream()))
    image.close()
    with pytest.raises(ValueError, match="closed image"):
        image.load()


def test_bombs_are_pillows_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(stream()))


def test_parser_takes_streams_in_pieces() -> None:
    data, parser = stream(), ImageFile.Parser()
    for start in range(0, len(data), 100):
        parser.feed(data[start : start + 100])
    np.testing.assert_array_equal(np.asarray(parser.close()), nacre.decode_array(data))


def test_import_alone_registers() -> None:
    code = (
        "import nacre, sys; from PIL import Image; Image.init();"
        "assert Image.registered_extensions()['.ncr'] == 'NACRE' and Image.MIME['NACRE'] == 'image/x-nacre';"
        "assert not {'numpy', 'onnxruntime', 'nacre.imagefile'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_imageio(tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v3")
    path = tmp_path / "photo.ncr"
    for picture in PICTURES.values():
        imageio.imwrite(path, picture, quality=40)
        assert path.read_bytes() == nacre.encode(np.ascontiguousarray(picture), 40)
        np.testing.assert_array_equal(imageio.imread(path), nacre.decode_array(path))
        np.testing.assert_array_equal(imageio.imread(path.read_bytes()), nacre.decode_array(path))
    data = imageio.imwrite("<bytes>", PIXELS, plugin="pillow", extension=".ncr", format="NACRE")
    assert data == nacre.encode(PIXELS)
    assert imageio.immeta(path)["nacre_quality"] == 40
    assert imageio.improps(path).shape == (40, 56, 4)
