"""Decoded pictures as PIL.Images, and written as files with the metadata that each format can hold."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from nacre.bitstream.cicp import Colour
from nacre.bitstream.errors import InputError
from nacre.bitstream.units import UnitType
from nacre.colour import UNSPECIFIED
from nacre.formats import PNM, Format, formats_with_alpha
from nacre.metadata import DIRECTORIES, EXIF_PREFIX, NAMES, TIFF_TAGS, packed, parse_exif
from nacre.picture import Band, PictureForm, RowSink
from nacre.pnm import PnmSink
from nacre.sources import reason

CICP_KEY = "cicp"
"""The key of info for CICP numbers that are not sRGB's: (primaries, transfer, matrix, full_range)."""

_INFO_KEYS = {UnitType.ICC_PROFILE: "icc_profile", UnitType.EXIF: "exif", UnitType.XMP: "xmp"}
_ALPHA_MODES = frozenset(("LA", "RGBA"))
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_XMP_TAG = 700


class ImageSink:
    """A RowSink that makes a PIL.Image, `image`, of mode L, LA, RGB or RGBA.

    Its info has icc_profile, exif (as Pillow's JPEG reader gives it) and xmp where the picture has them, and cicp where
    its colour is described by other numbers than those of sRGB.
    """

    image: Image.Image

    def start(self, form: PictureForm) -> None:
        mode = ("LA" if form.alpha else "L") if form.grey else ("RGBA" if form.alpha else "RGB")
        self.image = Image.new(mode, (form.width, form.height))
        self.image.info.update(image_info(form))
        self._row = 0

    def write(self, band: Band) -> None:
        samples = band.pixels if band.alpha is None else np.dstack([band.pixels, band.alpha])
        self.image.paste(to_image(samples), (0, self._row))
        self._row += len(band.pixels)


def image_info(form: PictureForm) -> dict[str, Any]:
    """The info of a decoded picture's PIL.Image."""
    info: dict[str, Any] = {}
    for kind, key in _INFO_KEYS.items():
        if kind in form.metadata:
            info[key] = (EXIF_PREFIX if kind == UnitType.EXIF else b"") + form.metadata[kind]
    colour = form.colour
    if colour not in (Colour(), UNSPECIFIED):
        info[CICP_KEY] = (colour.primaries, colour.transfer, colour.matrix, colour.full_range)
    return info


def to_image(samples: NDArray[np.uint8]) -> Image.Image:
    """A PIL.Image in mode L, LA, RGB or RGBA of the samples (H, W) or (H, W, 2..4)."""
    return Image.fromarray(np.ascontiguousarray(samples))


@contextmanager
def open_sink(file: BinaryIO, output: Format) -> Iterator[RowSink]:
    """A RowSink that writes a file of the format: PNM row by row, others when the body ends well. Pipes will do.

    Before the first row, start raises InputError where the format cannot hold the picture. When the body ends, metadata
    that it cannot hold is a UserWarning: only then is known what stands behind the tiles. OSError where writing fails.
    """
    sink: RowSink = PnmSink(file) if output.name == PNM else ImageSink()
    checked = _CheckedSink(sink, output)
    yield checked
    info = checked.info()
    _warn_of_losses(output, info)
    if isinstance(sink, ImageSink):
        sink.image.info.update(info)
        _save(file, sink.image, output)


def write_image(file: BinaryIO, image: Image.Image, output: Format) -> None:
    """Write a PIL.Image of mode L, LA, RGB or RGBA, with icc_profile, exif, xmp and cicp of its info.

    Raises InputError where the format cannot hold the picture; metadata that it cannot hold is a UserWarning. OSError
    where writing fails.
    """
    _check_alpha_and_size(output, image.mode in _ALPHA_MODES, image.width, image.height)
    _warn_of_losses(output, image.info)
    _save(file, image, output)


def write_picture(file: BinaryIO, samples: NDArray[np.uint8], output: Format) -> None:
    """Write samples (H, W) or (H, W, 2..4), without metadata; raises as write_image."""
    write_image(file, to_image(samples), output)


class _CheckedSink:
    """A RowSink before another, which refuses at the start what its format cannot hold, and keeps its form."""

    def __init__(self, sink: RowSink, output: Format) -> None:
        self._sink, self._output = sink, output

    def start(self, form: PictureForm) -> None:
        _check_alpha_and_size(self._output, form.alpha, form.width, form.height)
        self._form = form
        self._sink.start(form)

    def write(self, band: Band) -> None:
        self._sink.write(band)

    def info(self) -> dict[str, Any]:
        """The info of the picture, complete when its stream has been read."""
        return image_info(self._form)


def _check_alpha_and_size(output: Format, alpha: bool, width: int, height: int) -> None:
    if alpha and not output.alpha:
        msg = f"the picture has transparent pixels, {output.name} holds none; use one of {formats_with_alpha()}"
        raise InputError(msg)
    if max(width, height) > output.max_side:
        msg = f"the picture has {width} x {height} pixels, {output.name} holds sides of at most {output.max_side}"
        raise InputError(msg)


def _warn_of_losses(output: Format, info: dict[Any, Any]) -> None:
    lost = [NAMES[kind] for kind, key in _INFO_KEYS.items() if _length(info, key) > output.metadata.get(kind, 0)]
    if CICP_KEY in info and not (output.colour and _is_rgb(info[CICP_KEY])):
        lost.append("colour description (CICP)")
    if lost:
        warnings.warn(f"{output.name} cannot hold the picture's {', '.join(lost)}", UserWarning, stacklevel=3)


def _is_rgb(cicp: tuple[int, ...]) -> bool:
    """Whether the numbers describe RGB samples, which PNG holds and nacre codes, and no differences of colour."""
    return cicp[2] == 0


def _length(info: dict[Any, Any], key: str) -> int:
    """Length of the metadata under a key, without the prefix of EXIF."""
    return len(info.get(key) or b"") - (len(EXIF_PREFIX) if key == "exif" and info.get(key) else 0)


def _save(file: BinaryIO, image: Image.Image, output: Format) -> None:
    if output.name == PNM:
        _save_pnm(file, image)
        return
    options: dict[str, Any] = dict(output.options)
    held = {
        key: image.info[key]
        for kind, key in _INFO_KEYS.items()
        if 0 < _length(image.info, key) <= output.metadata.get(kind, 0)
    }
    if output.name == "PNG":
        options |= _png_options(held, image.info.get(CICP_KEY))
    elif output.name == "TIFF":
        options = _tiff_options(held, options)
    else:
        options |= held
    # Pillow would take what is not given from info.
    options.setdefault("icc_profile", None)
    try:
        if output.name == "TIFF" and not file.seekable():
            buffer = io.BytesIO()
            image.save(buffer, format=output.name, **options)
            file.write(buffer.getbuffer())
        else:
            image.save(file, format=output.name, **options)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # encoders raise nearly everything over metadata or sizes they cannot write
        msg = f"the picture cannot be written as {output.name}: {reason(error)}"
        raise InputError(msg) from error


def _save_pnm(file: BinaryIO, image: Image.Image) -> None:
    width, height = image.size
    sink = PnmSink(file)
    sink.start(PictureForm(width, height, image.mode in ("L", "LA"), image.mode in _ALPHA_MODES))
    step = max(1, (1 << 20) // width)
    for top in range(0, height, step):
        rows = np.asarray(image.crop((0, top, width, min(top + step, height))))
        if image.mode in _ALPHA_MODES:
            sink.write(Band(rows[..., 0] if rows.shape[2] == 2 else rows[..., :3], rows[..., -1]))
        else:
            sink.write(Band(rows, None))


def _png_options(held: dict[str, Any], cicp: tuple[int, ...] | None) -> dict[str, object]:
    chunks = PngImagePlugin.PngInfo()
    if cicp is not None and _is_rgb(cicp):
        chunks.add(b"cICP", bytes(cicp))
    if "xmp" in held:  # not add_itxt, which takes no bytes that are not UTF-8
        chunks.add(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0\0" + held["xmp"])
    return {key: held[key] for key in ("icc_profile", "exif") if key in held} | {"pnginfo": chunks}


def _tiff_options(held: dict[str, Any], options: Mapping[str, object]) -> dict[str, Any]:
    """EXIF as tags of the file, without those that say how another file's samples were stored.

    Pillow writes directories of tags (exposure, place) into uncompressed files alone.
    """
    plain = dict(options) | ({"icc_profile": held["icc_profile"]} if "icc_profile" in held else {})
    xmp = {_XMP_TAG: held["xmp"]} if "xmp" in held else {}
    if "exif" in held:
        try:
            exif = parse_exif(held["exif"].removeprefix(EXIF_PREFIX))
            with_exif = plain | {"exif": packed(exif, TIFF_TAGS | {ExifTags.Base.Orientation}, xmp)}
            if DIRECTORIES & set(exif):
                with_exif["compression"] = "raw"
            Image.new("L", (1, 1)).save(io.BytesIO(), format="TIFF", **with_exif)
            return with_exif
        except Exception:  # parsing and writing damaged tags raises nearly everything
            warnings.warn("the EXIF data is damaged and cannot be written as tags of a TIFF", UserWarning, stacklevel=2)
    return plain | {"exif": packed(Image.Exif(), (), xmp)}
