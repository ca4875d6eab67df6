"""Pictures in and out: which kinds and files are accepted, and how Pillow reads and writes them."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from nacre.bitstream.errors import InputError, LimitError
from nacre.bitstream.limits import Limits
from nacre.bitstream.units import SIGNATURE
from nacre.sources import Source, naming, open_source, read_all, reason, source_name

Pixels = NDArray[np.uint8]
"""A picture: (H, W) grey or (H, W, 3) RGB."""
Picture = Source | Image.Image | NDArray[np.uint8]

STREAM_SUFFIX = ".ncr"
VIDEO_SUFFIXES = frozenset((".y4m", ".mkv", ".mp4", ".m4v", ".mov", ".webm", ".avi", ".ts", ".mpg", ".mpeg"))

# Files that may hold several pictures without being animations: the first one is the picture.
_PAGED_FORMATS = frozenset(("MPO", "TIFF", "PSD", "DCX", "ICO", "ICNS", "IM", "MIC", "SPIDER"))
_GREY_MODES = frozenset(("1", "L"))
_COLOUR_MODES = frozenset(("RGB", "RGBX", "P", "YCbCr", "HSV"))
_ALPHA_MODES = {"LA": "L", "La": "L", "PA": "RGB", "RGBA": "RGB", "RGBa": "RGB"}
_ORIENTATION_TAG = 0x0112


class Format(NamedTuple):
    """A file format to write: Pillow's name and the options that keep the decoded picture as it is."""

    name: str
    options: Mapping[str, object]


_JPEG = Format("JPEG", {"quality": 95, "subsampling": 0})
_PNM = Format("PPM", {})
_TIFF = Format("TIFF", {"compression": "tiff_adobe_deflate"})
FORMATS: Mapping[str, Format] = {
    "png": Format("PNG", {}),
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "webp": Format("WEBP", {"lossless": True}),
    "tif": _TIFF,
    "tiff": _TIFF,
    "bmp": Format("BMP", {}),
    "ppm": _PNM,
    "pgm": _PNM,
    "pnm": _PNM,
    "tga": Format("TGA", {}),
}
"""Formats that decoded pictures are written in, by the name that suffixes and --format use."""


def read_picture(picture: Picture, limits: Limits) -> Pixels:
    """The samples of a picture, uint8 (H, W) or (H, W, 3) in C order; may share memory with an array that is given.

    Accepts a path, bytes, a file object, a PIL.Image, or an array (H, W[, 1..4]) of uint8. An alpha channel must be
    fully opaque and is dropped. What is lost on the way (16 bits, a colour profile, an orientation) is a UserWarning.

    Raises InputError where the picture cannot be read or is of a kind that this version does not code, LimitError where
    it is larger than `limits`.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture, limits)
    if isinstance(picture, Image.Image):
        with naming(source_name(getattr(picture, "filename", None) or None)), _reading():
            return _from_image(picture, limits)
    with open_source(picture, empty=InputError) as reader:
        _refuse_video(source_name(picture))
        data = read_all(reader, limits.max_stream_bytes)
        if data.startswith(SIGNATURE):
            msg = "is a nacre stream already, must be a picture in another format"
            raise InputError(msg)
        with _reading(), warnings.catch_warnings():
            # Limits are checked below, before anything of the size of the picture is allocated.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                return _from_image(image, limits)


def to_image(pixels: Pixels) -> Image.Image:
    """A PIL.Image in mode L or RGB of the samples (H, W) or (H, W, 3)."""
    return Image.fromarray(pixels)


def write_picture(file: BinaryIO, pixels: Pixels, form: Format) -> None:
    """Write the samples (H, W) or (H, W, 3) as a file of the format; OSError where that fails."""
    to_image(pixels).save(file, format=form.name, **form.options)


def output_format(target: str, chosen: str | None) -> Format:
    """The format of a target: the chosen one, or that of the suffix; PNG for standard output, `-`.

    Raises InputError where there is none.
    """
    suffix = "" if target == "-" else os.path.splitext(target)[1].lower()
    if chosen is None and suffix in VIDEO_SUFFIXES:
        msg = f"{target}: a picture cannot be written as video; use one of {', '.join(FORMATS)}"
        raise InputError(msg)
    name = chosen.lower().removeprefix(".") if chosen else suffix.removeprefix(".") or ("png" if target == "-" else "")
    form = FORMATS.get(name)
    if form is None:
        what = f"format is '{chosen}'" if chosen else f"{target}: the name's ending is '{suffix}'"
        msg = f"{what}, must be one of {', '.join(FORMATS)}" + ("" if chosen else "; or give --format")
        raise InputError(msg)
    return form


def is_picture_name(name: str) -> bool:
    """Whether a file of this name would be a picture in another format."""
    return os.path.splitext(name)[1].lower().removeprefix(".") in FORMATS


def is_video_name(name: str) -> bool:
    """Whether a file of this name would be a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


@contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever Pillow raises over a bad file into InputError, and its size limits into LimitError."""
    try:
        yield
    except (InputError, LimitError, MemoryError, Warning):
        raise
    except Image.DecompressionBombError as error:
        raise LimitError(str(error)) from error
    except UnidentifiedImageError as error:
        msg = "is no picture in a format that Pillow reads"
        raise InputError(msg) from error
    except Exception as error:  # decoders of damaged files raise nearly everything
        msg = f"is damaged or unreadable as a picture: {reason(error)}"
        raise InputError(msg) from error


def _refuse_video(name: str | None) -> None:
    if name is not None and is_video_name(name):
        msg = "is a video by its name; this version codes single pictures"
        raise InputError(msg)


def _from_array(array: NDArray[np.uint8], limits: Limits) -> Pixels:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        msg = f"the array is {array.dtype} {array.shape}, must be uint8 (H, W) or (H, W, 1..4)"
        raise InputError(msg)
    if array.size == 0:
        msg = f"the array has the shape {array.shape}, must have at least one sample"
        raise InputError(msg)
    limits.check_picture(array.shape[1], array.shape[0])
    if array.ndim == 3 and array.shape[2] in (2, 4):
        _refuse_transparency(array[..., -1])
        array = array[..., :-1]
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return np.ascontiguousarray(array)


def _from_image(image: Image.Image, limits: Limits) -> Pixels:
    limits.check_picture(image.width, image.height)
    if image.width == 0 or image.height == 0:
        msg = f"the picture has {image.width} x {image.height} pixels, must have at least one"
        raise InputError(msg)
    _check_frames(image)
    if _has_wide_samples(image):
        warnings.warn("16-bit samples are reduced to 8 bits", UserWarning, stacklevel=2)
    image.load()
    _warn_of_losses(image)
    return np.asarray(_to_grey_or_rgb(image))


def _check_frames(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames == 1:
        return
    if image.format not in _PAGED_FORMATS:
        msg = f"is an animation of {frames} frames; this version codes single pictures, not video"
        raise InputError(msg)
    if image.format == "TIFF":
        warnings.warn(f"only the first of {frames} pages is coded", UserWarning, stacklevel=2)


def _has_wide_samples(image: Image.Image) -> bool:
    """Whether the file stores 16 bits a sample, of which Pillow keeps 8 when it loads it as RGB or RGBA."""
    return isinstance(image, ImageFile.ImageFile) and any(
        image.mode.startswith("RGB") and ";16" in str(tile.args) for tile in image.tile
    )


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode L or RGB; InputError for modes that have no 8-bit opaque equivalent."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        warnings.warn("16-bit samples are reduced to 8 bits", UserWarning, stacklevel=2)
        samples = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8))
    if mode in _ALPHA_MODES:
        straight = image.convert("RGBA" if mode in ("RGBa", "PA") else "LA" if mode == "La" else mode)
        _refuse_transparency(straight)
        return straight.convert(_ALPHA_MODES[mode])
    if mode in _COLOUR_MODES or mode in _GREY_MODES:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            _refuse_transparency(image)
        return image.convert("L" if mode in _GREY_MODES else "RGB")
    names = {"CMYK": "CMYK ink amounts", "F": "floating-point samples", "I": "32-bit integer samples"}
    what = names.get(mode, f"samples of mode {mode}")
    msg = f"has {what}, which this version does not code; convert it to 8-bit RGB or grey"
    raise InputError(msg)


def _refuse_transparency(picture: Image.Image | Pixels) -> None:
    alpha = picture if isinstance(picture, np.ndarray) else np.asarray(picture.getchannel("A"))
    lowest = int(alpha.min())
    if lowest < 255:
        msg = (
            f"has transparent pixels (alpha down to {lowest} of 255); alpha comes with a later version:"
            " put the picture on an opaque background first"
        )
        raise InputError(msg)


def _warn_of_losses(image: Image.Image) -> None:
    """Warn of what this version's streams do not carry and what changes how the picture looks."""
    profile = image.info.get("icc_profile")
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        warnings.warn("the ICC colour profile is not kept, samples are taken as sRGB", UserWarning, stacklevel=2)
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing of the picture
        orientation = 1
    if orientation != 1:
        warnings.warn(
            "the EXIF orientation is not kept, pixels are coded as they are stored", UserWarning, stacklevel=2
        )
