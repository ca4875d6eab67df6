"""Pictures in and out: what is accepted as one, opened as rows, and written as files.

This is the door to formats, modes, arrays, colour, metadata and imagewrite.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nacre.arrays import array_samples
from nacre.bands import BandRows
from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError, LimitError
from nacre.bitstream.limits import Limits
from nacre.bitstream.units import SIGNATURE, UnitType
from nacre.colour import UNSPECIFIED, file_colour, is_srgb
from nacre.formats import (
    FORMATS,
    STREAM_SUFFIX,
    VIDEO_SUFFIXES,
    Format,
    is_picture_name,
    is_video_name,
    output_format,
)
from nacre.imagewrite import CICP_KEY, ImageSink, open_sink, to_image, write_image, write_picture
from nacre.metadata import orientation, read_metadata
from nacre.modes import StoredSamples, image_samples
from nacre.picture import ArraySink, PictureForm, Pixels, RowSource
from nacre.pnm import PNM_SIGNATURES, PnmRows
from nacre.sources import CheckedReader, Pushed, Source, naming, open_source, read_all, reason, source_name

__all__ = [
    "FORMATS",
    "STREAM_SUFFIX",
    "VIDEO_SUFFIXES",
    "Format",
    "ImageSink",
    "Picture",
    "Pixels",
    "is_picture_name",
    "is_video_name",
    "open_rows",
    "open_sink",
    "output_format",
    "read_picture",
    "to_image",
    "write_image",
    "write_picture",
]

Picture = Source | Image.Image | NDArray[Any]

# Files that may hold several pictures without being animations: the first one is the picture.
_PAGED_FORMATS = frozenset(("MPO", "TIFF", "PSD", "DCX", "ICO", "ICNS", "IM", "MIC", "SPIDER"))
_CONVERTED_MODES = frozenset(("CMYK", "LAB"))
_BAND_ROWS = 256


@contextmanager
def open_rows(picture: Picture, limits: Limits, *, strip: bool = False) -> Iterator[RowSource]:
    """The rows of a picture: a PIL.Image, a path, bytes, a file object, or an array (H, W[, 1..4]); README.md says how
    each mode is brought to 8 bits.

    Binary PNM files are read row by row, others by Pillow, which holds the whole picture; of both nothing else is held
    but some rows. Alpha that is opaque everywhere is left out (in PNM files it is not looked for). strip: no metadata.
    What is lost on the way is a UserWarning.

    Raises InputError where the picture cannot be read or is of a kind that is not coded, LimitError where it is larger
    than `limits`, which is known before its samples are read. Exceptions of the package raised inside name the picture.
    """
    if isinstance(picture, np.ndarray):
        samples = array_samples(picture, limits).without_opaque_alpha()
        yield BandRows(PictureForm(samples.width, samples.height, samples.grey, samples.alpha), samples)
        return
    if isinstance(picture, Image.Image):
        with naming(source_name(getattr(picture, "filename", None) or None)):
            with _reading(), _pillow_limit(limits):
                rows = _image_rows(picture, limits, strip)
            yield rows
        return
    with open_source(picture, empty=InputError) as reader:
        name = source_name(picture)
        if name is not None and is_video_name(name):
            msg = "is a video by its name, must be a picture"
            raise InputError(msg)
        head, file = _peek(reader)
        if head == SIGNATURE:
            msg = "is a nacre stream already, must be a picture in another format"
            raise InputError(msg)
        if head[:2] in PNM_SIGNATURES:
            pnm = PnmRows(reader if file is not None else Pushed(head, reader))
            limits.check_picture(pnm.form.width, pnm.form.height)
            yield pnm
            return
        if file is None or file.tell() != 0:  # Pillow looks for a picture at the beginning of a file
            pushed = reader if file is not None else Pushed(head, reader)
            file = io.BytesIO(read_all(pushed, limits.max_stream_bytes))
        with _reading(), _pillow_limit(limits):
            opened = Image.open(file)
        with opened:
            with _reading(), _pillow_limit(limits):
                rows = _image_rows(opened, limits, strip)
            yield rows


def read_picture(picture: Picture, limits: Limits) -> Pixels:
    """The samples of a whole picture without alpha, uint8 (H, W) or (H, W, 3); raises as `open_rows`, and InputError
    where a pixel is transparent."""
    with open_rows(picture, limits, strip=True) as rows:
        form = rows.form
        if form.alpha:
            msg = "has transparent pixels, must be opaque here"
            raise InputError(msg)
        sink = ArraySink()
        sink.start(form)
        for top in range(0, form.height, _BAND_ROWS):
            sink.write(rows.read(min(_BAND_ROWS, form.height - top)))
        return sink.pixels


def _peek(reader: CheckedReader) -> tuple[bytes, BinaryIO | None]:
    """The first bytes, as many as a signature has, and the file, put back before them; None where it cannot seek."""
    file = reader.seekable_file
    start = 0 if file is None else file.tell()
    head = b""
    while len(head) < len(SIGNATURE) and (more := reader.read(len(SIGNATURE) - len(head))):
        head += more
    if file is not None:
        reader.seek(start)
    return head, file


def _image_rows(image: Image.Image, limits: Limits, strip: bool) -> BandRows:
    """The rows of an image, of a file whose samples need not be loaded yet."""
    _check_size(image, limits)
    _check_frames(image)
    stored = StoredSamples(image)
    file = getattr(image, "fp", None)  # None once the samples are loaded
    numbers = None if file is None else file_colour(file, image.format, "icc_profile" in image.info)
    image.load()
    _check_size(image, limits)  # some files hold a picture of another size than they say
    samples = image_samples(image, stored).without_opaque_alpha()
    metadata = read_metadata(image, grey=samples.grey, converted=image.mode in _CONVERTED_MODES)
    profile = metadata.get(UnitType.ICC_PROFILE)
    colour = numbers or _given_colour(image)
    if colour is None:
        colour = UNSPECIFIED if profile and not is_srgb(profile) else Colour()
    if strip:
        _warn_of_stripping(metadata, colour)
        metadata = {}
    return BandRows(PictureForm(samples.width, samples.height, samples.grey, samples.alpha, metadata, colour), samples)


def _check_size(image: Image.Image, limits: Limits) -> None:
    limits.check_picture(image.width, image.height)
    if image.width == 0 or image.height == 0:
        msg = f"the picture has {image.width} x {image.height} pixels, must have at least one"
        raise InputError(msg)


def _check_frames(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames == 1:
        return
    if image.format not in _PAGED_FORMATS:
        msg = f"is an animation of {frames} frames; nacre codes single pictures, and clips from files of video"
        raise InputError(msg)
    if image.format == "TIFF":
        warnings.warn(f"only the first of {frames} pages is coded", UserWarning, stacklevel=2)


def _given_colour(image: Image.Image) -> Colour | None:
    """CICP numbers that a decoded picture carries in its info, if they are those of RGB samples."""
    numbers = image.info.get(CICP_KEY)
    if not isinstance(numbers, tuple) or len(numbers) != 4 or numbers[2] != 0:
        return None
    return Colour(*numbers)


def _warn_of_stripping(metadata: dict[int, bytes], colour: Colour) -> None:
    """Say what changes the look of a picture when its metadata goes."""
    if UnitType.ICC_PROFILE in metadata and colour == UNSPECIFIED:
        msg = "the ICC profile that is stripped is not sRGB: colours will look different"
        warnings.warn(msg, UserWarning, stacklevel=2)
    turn = orientation(metadata.get(UnitType.EXIF, b""))
    if turn != 1:
        msg = f"the EXIF data that is stripped has the orientation {turn}: the picture will look turned"
        warnings.warn(msg, UserWarning, stacklevel=2)


@contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever Pillow raises over a bad file into InputError, and its size limits into LimitError."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        msg = f"is larger than the limit max_pixels allows: {error}"
        raise LimitError(msg) from error
    except (InputError, LimitError, MemoryError, Warning):
        raise
    except UnidentifiedImageError as error:
        msg = "is no picture in a format that Pillow reads"
        raise InputError(msg) from error
    except Exception as error:  # decoders of damaged files raise nearly everything
        msg = f"is damaged or unreadable as a picture: {reason(error)}"
        raise InputError(msg) from error


class _PillowLimit:
    """Pillow's own limit of pixels, which is one for the whole process, raised to ours while pictures are read.

    Any number of threads may be inside; when the last one has left, the limit is what it was.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: list[int] = []
        self._before: int | None = None

    @contextmanager
    def __call__(self, limits: Limits) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._before = Image.MAX_IMAGE_PIXELS
            self._inside.append(limits.max_pixels)
            self._set()
        try:
            yield
        finally:
            with self._lock:
                self._inside.remove(limits.max_pixels)
                self._set()

    def _set(self) -> None:
        if self._before is not None:
            Image.MAX_IMAGE_PIXELS = max(self._before, *self._inside) if self._inside else self._before


_pillow_limit = _PillowLimit()
