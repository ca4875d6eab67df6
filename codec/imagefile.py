"""Streams as Pillow's image files: what the plug-in opens and saves."""

from __future__ import annotations

from typing import IO, Any

from PIL import Image, ImageFile

from nacre.api import decode, encode_to
from nacre.bitstream.errors import FormatError, InputError, LimitError
from nacre.bitstream.header import GREY, NO_ALPHA, PictureHeader
from nacre.bitstream.limits import Limits
from nacre.bitstream.picture import PictureReader
from nacre.bitstream.units import UnitReader, UnitType, is_optional, unit_name
from nacre.imagewrite import image_info
from nacre.inspection import QUALITY_STEPS
from nacre.metadata import EXIF_PREFIX
from nacre.picture import PictureForm
from nacre.pixellimit import choose_limits
from nacre.plugin import FORMAT

QUALITY_KEY = "nacre_quality"
"""The key of info for the quality 0..100 that the picture was encoded with."""

_OPTIONS = ("quality", "bpp", "size", "psnr", "effort", "strip")
_METADATA = ("icc_profile", "exif", "xmp")
_DAMAGE = (FormatError, InputError, LimitError)


class StreamImageFile(ImageFile.ImageFile):
    """A stream as an image of mode L, LA, RGB or RGBA: opened by its header and metadata, decoded when it is loaded.

    info: icc_profile, exif, xmp and cicp as ImageSink gives them, nacre_quality. A damaged stream is an OSError; with
    ImageFile.LOAD_TRUNCATED_IMAGES the tiles that are whole are decoded, and what is lost is warned of. Weights that
    are missing raise WeightsError.
    """

    format = FORMAT
    format_description = "nacre learned picture codec"

    def _open(self) -> None:
        file = self._file()
        try:
            units = UnitReader(file)
            unit = next(units)
            if unit.type != UnitType.PICTURE_HEADER:
                msg = f"the first unit is {unit_name(unit.type)}, must be PICTURE_HEADER"
                raise FormatError(msg)
            header = PictureHeader.parse(unit.payload, minor=units.version[1])
            metadata = {}
            while _next_is_optional(file):
                unit = next(units)
                metadata[unit.type] = unit.payload
        except _DAMAGE as error:
            raise OSError(str(error)) from error
        grey, alpha = header.chroma == GREY, header.alpha != NO_ALPHA
        self._size = header.width, header.height
        self._mode = ("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")
        self.info.update(image_info(PictureForm(*self._size, grey, alpha, metadata, header.colour)))
        self.info[QUALITY_KEY] = header.quality / QUALITY_STEPS
        self.tile = [ImageFile._Tile("nacre", (0, 0, *self._size))]  # not decoded yet

    def load(self) -> Any:
        """Decode the picture; gives what Pillow gives, access to single pixels."""
        if self.tile:
            file = self._file()
            file.seek(0)
            try:
                limit = self._limits().max_pixels
                decoded = decode(file, keep_going=ImageFile.LOAD_TRUNCATED_IMAGES, max_pixels=limit)
            except _DAMAGE as error:
                raise OSError(str(error)) from error
            self.im = decoded.im
            self.info.update(decoded.info)
            self.tile = []
            if self._exclusive_fp:
                file.close()
            self.fp = None
        return super().load()

    def load_seek(self, pos: int) -> None:
        """Nothing: that there is such a method tells Pillow's Parser to leave decoding to `load`."""

    def verify(self) -> None:
        """Check every checksum of the stream, without decoding; OSError where one is wrong. Closes the file."""
        file = self._file()
        file.seek(0)
        try:
            for _ in PictureReader(file, self._limits()):
                pass
        except _DAMAGE as error:
            raise OSError(str(error)) from error
        super().verify()

    def _limits(self) -> Limits:
        """Without NACRE_MAX_PIXELS, Pillow's own limit is the one: it was there before."""
        return choose_limits(default=max(Limits().max_pixels, self.width * self.height))

    def _file(self) -> IO[bytes]:
        if self.fp is None:
            msg = "Operation on closed image"
            raise ValueError(msg)
        return self.fp


def save_stream(image: Image.Image, file: IO[bytes]) -> None:
    """Encode an image whose `encoderinfo` may have quality, bpp, size, psnr, effort and strip, as `nacre.encode` takes
    them, and icc_profile, exif and xmp, which replace those of its info; None or empty bytes leave them out."""
    options: dict[str, Any] = image.encoderinfo
    info = image.info
    image.info = info | {key: _metadata(options[key]) for key in _METADATA if key in options}
    try:
        encode_to(image, file, **{key: options[key] for key in _OPTIONS if key in options})
    finally:
        image.info = info


def _metadata(value: object) -> object:
    """Metadata as Pillow's writers take it."""
    if isinstance(value, Image.Exif):
        return EXIF_PREFIX + value.tobytes().removeprefix(EXIF_PREFIX)
    return b"" if value is None else value


def _next_is_optional(file: IO[bytes]) -> bool:
    """Whether the next unit of the file is one that a reader may skip; metadata comes before the picture."""
    place = file.tell()
    first = file.read(1)
    file.seek(place)
    return bool(first) and is_optional(first[0])
