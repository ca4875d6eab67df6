"""nacre: a learned image and video codec with exact entropy decoding and trained weights in the package.

    data = nacre.encode(image, quality=60)        # PIL.Image, path, bytes, file object or uint8 array (H, W[, 1..4])
    image = nacre.decode(data)                    # PIL.Image; nacre.decode_array(data) gives the array
    info = nacre.inspect(data)                    # header and sizes, no weights needed
    codec = nacre.ImageCodec(threads=2)           # models loaded once

    with PIL.Image.open("photo.ncr") as image: ...  # a format of Pillow, and of what reads pictures through it
    image.save("photo.ncr", quality=60)

Everything is imported on first use, so that `import nacre` costs little more than Pillow.
"""

from __future__ import annotations

if __name__ != "nacre":
    msg = "this folder is installed as the package 'nacre'; import nacre instead (see README.md)"
    raise ImportError(msg)

from typing import TYPE_CHECKING, Any

from nacre.plugin import register as _register
from nacre.version import __version__

if TYPE_CHECKING:
    from nacre.api import decode, decode_array, encode, inspect, verify
    from nacre.bitstream.errors import (
        BackendError,
        ChecksumError,
        FormatError,
        InputError,
        LimitError,
        NacreError,
        TruncatedError,
        UnsupportedVersionError,
        WeightsError,
        WeightsMismatchError,
        WeightsNotFoundError,
    )
    from nacre.image import ImageCodec, Verification
    from nacre.inspection import PictureInfo
    from nacre.sequenceinfo import SequenceInfo
    from nacre.video import DecodedFrame, VideoDecoder, VideoEncoder

_HOME = {
    **dict.fromkeys(("encode", "decode", "decode_array", "inspect", "verify"), "nacre.api"),
    **dict.fromkeys(("ImageCodec", "Verification"), "nacre.image"),
    "PictureInfo": "nacre.inspection",
    "SequenceInfo": "nacre.sequenceinfo",
    **dict.fromkeys(("DecodedFrame", "VideoDecoder", "VideoEncoder"), "nacre.video"),
    **dict.fromkeys(
        (
            "BackendError",
            "ChecksumError",
            "FormatError",
            "InputError",
            "LimitError",
            "NacreError",
            "TruncatedError",
            "UnsupportedVersionError",
            "WeightsError",
            "WeightsMismatchError",
            "WeightsNotFoundError",
        ),
        "nacre.bitstream.errors",
    ),
}
_SUBPACKAGES = ("bitstream", "entropy", "models", "weights")

__all__ = [
    "BackendError",
    "ChecksumError",
    "DecodedFrame",
    "FormatError",
    "ImageCodec",
    "InputError",
    "LimitError",
    "NacreError",
    "PictureInfo",
    "SequenceInfo",
    "TruncatedError",
    "UnsupportedVersionError",
    "Verification",
    "VideoDecoder",
    "VideoEncoder",
    "WeightsError",
    "WeightsMismatchError",
    "WeightsNotFoundError",
    "__version__",
    "decode",
    "decode_array",
    "encode",
    "inspect",
    "verify",
]


_register()


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _SUBPACKAGES:
        try:
            return import_module(f"nacre.{name}")
        except ModuleNotFoundError as error:
            if name == "models" and error.name in ("torch", "compressai", "onnx"):
                msg = f"nacre.models needs {error.name}: pip install 'nacre[train]'"
                raise ModuleNotFoundError(msg, name=error.name) from error
            raise
    if name not in _HOME:
        msg = f"module 'nacre' has no attribute {name!r}"
        raise AttributeError(msg)
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES})
