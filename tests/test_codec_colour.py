"""What samples mean: ICC profiles, CICP numbers, ranges and matrices, against Pillow and FFmpeg."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import av
import numpy as np
import pytest
from conftest import make_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from profiles import SRGB_PRIMARIES, WIDE_PRIMARIES, cmyk_profile, grey_profile, rgb_profile
from rows import LIMITS, read_whole, saved

import nacre
from nacre.bitstream.cicp import Colour
from nacre.bitstream.units import UnitType
from nacre.colour import UNSPECIFIED, is_srgb
from nacre.media import FORMATS, ImageSink, read_picture, write_image
from nacre.picture import Band, PictureForm

PIXELS = make_picture(40, 60)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with a chunk behind its header."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:33] + chunk + png[33:]


def form_of(picture: Any) -> PictureForm:
    return read_whole(picture).form


def ffmpeg_rgb(data: bytes) -> NDArray[np.uint8]:
    """The picture of a file as FFmpeg decodes it and swscale converts it: (H, W, 3)."""
    with av.open(io.BytesIO(data)) as container:
        frame = next(container.decode(video=0))
    rgb: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return rgb


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (SRGB, True),
        (rgb_profile(SRGB_PRIMARIES, None), True),
        (grey_profile(None), True),
        (rgb_profile(WIDE_PRIMARIES, None), False),
        (rgb_profile(SRGB_PRIMARIES, 1.8), False),
        (grey_profile(1.8), False),
        (cmyk_profile(), False),
        (SRGB[:200], False),
        (b"sRGB", False),
    ],
)
def test_srgb_is_recognized_by_what_a_profile_does(profile: bytes, expected: bool) -> None:
    assert is_srgb(profile) == expected


def test_colour_without_and_with_a_profile() -> None:
    image = Image.fromarray(PIXELS)
    assert form_of(image).colour == Colour()
    assert form_of(saved(image, "PNG", icc_profile=SRGB)).colour == Colour()
    wide = rgb_profile()
    for name in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        form = form_of(saved(image, name, icc_profile=wide))
        assert form.colour == UNSPECIFIED == Colour(2, 2, 0, 1)
        assert form.metadata[UnitType.ICC_PROFILE] == wide


def test_a_profile_that_is_not_of_the_samples_is_left_out() -> None:
    grey = Image.fromarray(PIXELS).convert("L")
    for profile in (SRGB, rgb_profile(), grey_profile(1.8), b"no profile at all"):
        assert form_of(saved(grey, "PNG", icc_profile=profile)).metadata[UnitType.ICC_PROFILE] == profile
    for image, profile, kind in (
        (Image.fromarray(PIXELS), grey_profile(1.8), "GRAY samples, the picture's are RGB"),
        (Image.fromarray(PIXELS), cmyk_profile(), "CMYK samples, the picture's are RGB"),
        (grey, cmyk_profile(), "CMYK samples, the picture's are grey"),
    ):
        with pytest.warns(UserWarning, match=f"ICC profile is left out: it is for {kind}"):
            form = form_of(saved(image, "PNG", icc_profile=profile))
        assert not form.metadata
        assert form.colour == Colour()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 3), (17, 33), (300, 200)])
def test_cmyk_goes_through_its_profile(width: int, height: int) -> None:
    samples = np.random.default_rng(4).integers(0, 256, (height, width, 4), np.uint8)
    image = Image.frombytes("CMYK", (width, height), samples.tobytes())
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile())),
        ImageCms.createProfile("sRGB"),
        "CMYK",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    expected = np.asarray(transform.apply(image))
    for picture in (saved(image, "TIFF", icc_profile=cmyk_profile()), image):
        if isinstance(picture, Image.Image):
            picture.info["icc_profile"] = cmyk_profile()
        found = read_whole(picture)
        np.testing.assert_array_equal(found.pixels, expected)
        assert found.form.colour == Colour()
        assert not found.form.metadata  # the profile was that of the inks


def test_cmyk_is_not_what_pillow_makes_of_it() -> None:
    image = Image.new("CMYK", (1, 1), (255, 0, 0, 0))
    image.info["icc_profile"] = cmyk_profile()
    (cyan,) = read_whole(image).pixels[0].tolist()
    assert cyan != [0, 255, 255]  # no press prints that
    assert cyan[0] < 60
    assert min(cyan[1:]) > 120


@pytest.mark.parametrize("profile", [SRGB, cmyk_profile()[:300], b"nonsense" * 30])
def test_cmyk_with_a_profile_that_does_not_convert_it(profile: bytes) -> None:
    with pytest.raises(nacre.InputError, match="an ICC profile by which they cannot be converted"):
        read_whole(saved(Image.new("CMYK", (3, 3)), "JPEG", icc_profile=profile))


@settings(max_examples=150)
@given(
    st.sampled_from([SRGB, rgb_profile(), grey_profile(1.8), cmyk_profile()]),
    st.integers(0, 4000),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8),
    st.sampled_from(["RGB", "L", "CMYK"]),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_profiles_do_no_harm(profile: bytes, cut: int, changes: list[tuple[int, int]], mode: str) -> None:
    damaged = bytearray(profile[: len(profile) - cut] or b"x")
    for place, value in changes:
        damaged[place % len(damaged)] = value
    image = Image.new(mode, (3, 2))
    image.info["icc_profile"] = bytes(damaged)
    try:
        found = read_whole(image)
    except nacre.InputError as error:
        assert mode == "CMYK"
        assert "CMYK ink amounts" in str(error)  # noqa: PT017  (only some of them are refused)
        return
    assert found.form.metadata.get(UnitType.ICC_PROFILE) in (None, bytes(damaged))


def test_cicp_of_png_is_read_and_written() -> None:
    png = saved(Image.fromarray(PIXELS), "PNG")
    for colour in (Colour(12, 13, 0, 1), Colour(9, 16, 0, 0)):
        data = with_chunk(png, b"cICP", bytes((colour.primaries, colour.transfer, 0, colour.full_range)))
        with Image.open(io.BytesIO(data)) as image:  # the file is there until the samples are loaded
            assert form_of(image).colour == colour
            np.testing.assert_array_equal(np.asarray(image), PIXELS)
        found = read_whole(data)
        assert found.form.colour == colour
        sink = ImageSink()
        sink.start(found.form)
        sink.write(Band(found.pixels, None))
        assert form_of(sink.image).colour == colour
        file = io.BytesIO()
        write_image(file, sink.image, FORMATS["png"])
        assert form_of(file.getvalue()).colour == colour
        with pytest.warns(UserWarning, match="JPEG cannot hold the picture's colour description"):
            write_image(io.BytesIO(), sink.image, FORMATS["jpg"])
    with_profile = with_chunk(
        saved(Image.fromarray(PIXELS), "PNG", icc_profile=rgb_profile()), b"cICP", b"\x09\x10\0\1"
    )
    assert form_of(with_profile).colour == Colour(9, 16, 0, 1)
    assert form_of(with_profile).metadata[UnitType.ICC_PROFILE] == rgb_profile()


@pytest.mark.parametrize("body", [b"\x09\x10\x09\1", b"\x09\x10\0\2", b"\x09\x10\0", b"\x09\x10\0\1\0"])
def test_cicp_that_png_does_not_allow_is_ignored(body: bytes) -> None:
    assert form_of(with_chunk(saved(Image.fromarray(PIXELS), "PNG"), b"cICP", body)).colour == Colour()


def test_cicp_in_info_must_be_legal() -> None:
    image = Image.fromarray(PIXELS)
    image.info["cicp"] = (9, 16, 0, 2)
    with pytest.raises(nacre.InputError, match="full_range is 2"):
        read_whole(image)


def test_cicp_of_avif_is_read() -> None:
    avif = saved(Image.fromarray(PIXELS), "AVIF")
    assert form_of(avif).colour == Colour()
    place = avif.index(b"colrnclx") + 8
    for primaries, transfer, expected in (
        (12, 13, Colour(12, 13)),
        (9, 16, Colour(9, 16)),
        (2, 2, Colour()),
        (300, 1, Colour()),
    ):
        changed = avif[:place] + struct.pack(">HH", primaries, transfer) + avif[place + 4 :]
        assert form_of(changed).colour == expected


def test_ycbcr_is_full_range_bt601_as_pillow_has_it() -> None:
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    samples = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(levels.size**2, -1, 3)
    image = Image.frombytes("YCbCr", (samples.shape[1], samples.shape[0]), samples.tobytes())
    found = read_whole(image).pixels
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))
    y, blue, red = np.moveaxis(samples.astype(float), -1, 0) - np.reshape([0.0, 128.0, 128.0], (3, 1, 1))
    exact = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=-1)
    np.testing.assert_allclose(found, np.clip(exact, 0, 255), atol=1.1)
    for level in (0, 16, 235, 255):  # black is 0 and white is 255, nothing is stretched
        grey = Image.new("YCbCr", (1, 1), (level, 128, 128))
        assert read_whole(grey).pixels.tolist() == [[[level] * 3]]


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "tiff", "bmp", "ppm"])
def test_pictures_that_are_written_look_alike_to_ffmpeg_and_pillow(name: str) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    colours = np.dstack(np.broadcast_arrays(ramp[:, None], ramp[None, :], ramp[::-1, None]))
    for samples in (np.ascontiguousarray(colours), make_picture(64, 96)):
        file = io.BytesIO()
        write_image(file, Image.fromarray(samples), FORMATS[name])
        with Image.open(io.BytesIO(file.getvalue())) as image:
            pillow = np.asarray(image.convert("RGB")).astype(int)
        difference = np.abs(ffmpeg_rgb(file.getvalue()).astype(int) - pillow)
        # FFmpeg decodes JPEG to Y, Cb, Cr of full range, and swscale rounds their conversion in its own way.
        assert difference.max() <= (4 if name == "jpg" else 0)
        assert difference.mean() < 0.7
        if name == "jpg":
            assert np.abs(pillow - samples).mean() < 2.5
        else:
            np.testing.assert_array_equal(pillow, samples)


def test_jpeg_is_read_as_ffmpeg_reads_it() -> None:
    data = saved(Image.fromarray(make_picture(64, 96)), "JPEG", quality=90, subsampling=0)
    difference = np.abs(read_picture(data, LIMITS).astype(int) - ffmpeg_rgb(data))
    assert difference.max() <= 4
    assert difference.mean() < 0.7
    # What a wrong range or a wrong matrix would give is far from that.
    limited = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float) * 219 / 255 + 16
    assert np.abs(limited - ffmpeg_rgb(data)).mean() > 5


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(0, 255)), max_size=10), st.sampled_from(["PNG", "AVIF"]))
@pytest.mark.filterwarnings("ignore")
def test_scans_of_damaged_files_end(changes: list[tuple[int, int]], name: str) -> None:
    from nacre.colour import file_colour

    damaged = bytearray(saved(Image.fromarray(PIXELS[:4, :4]), name))
    for place, value in changes:
        damaged[place % len(damaged)] = value
    found = file_colour(io.BytesIO(bytes(damaged)), name, False)
    assert found is None or isinstance(found, Colour)


def test_cicp_of_colour_differences_goes_into_no_png() -> None:
    image = Image.fromarray(PIXELS)
    image.info["cicp"] = (9, 16, 9, 1)
    assert form_of(image).colour == Colour()
    file = io.BytesIO()
    with pytest.warns(UserWarning, match="PNG cannot hold the picture's colour description"):
        write_image(file, image, FORMATS["png"])
    assert b"cICP" not in file.getvalue()
