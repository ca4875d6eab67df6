"""nacre as a format of Pillow: registered when nacre is imported, loaded when it is used."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from PIL import ImageFile

FORMAT = "NACRE"
"""Pillow's name of the format."""

_SUFFIX = ".ncr"
_MIME = "image/x-nacre"


def register() -> None:
    """Make Pillow open, recognize and save streams; a second call changes nothing."""
    Image.register_open(FORMAT, _open, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, _SUFFIX)
    Image.register_mime(FORMAT, _MIME)


def _accept(prefix: bytes) -> bool:
    from nacre.bitstream.units import SIGNATURE

    return prefix.startswith(SIGNATURE)


def _open(file: IO[bytes], filename: str | bytes) -> ImageFile.ImageFile:
    from nacre.imagefile import StreamImageFile

    return StreamImageFile(file, filename)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    from nacre.imagefile import save_stream

    save_stream(image, file)
