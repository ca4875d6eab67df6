"""The functions of the package: an ImageCodec made once for each choice of weights and threads, and kept."""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from nacre.bitstream.units import BinaryWriter
from nacre.image import Encoded, ImageCodec, Region, Verification
from nacre.inspection import PictureInfo, inspect_stream
from nacre.media import Picture
from nacre.pixellimit import choose_limits
from nacre.sequenceinfo import SequenceInfo
from nacre.sources import Source
from nacre.weights.store import WEIGHTS_VARIABLE

_Folder = str | os.PathLike[str] | None


def encode(
    image: Picture,
    quality: float | None = None,
    *,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    effort: int | None = None,
    strip: bool = False,
    profile: str | None = None,
    threads: int | None = None,
    weights: _Folder = None,
    max_pixels: int | None = None,
) -> bytes:
    """The stream of a picture: PIL.Image, path, bytes, file object, or array (H, W[, 1..4]).

    quality: 0..100, by default 60, or one of bpp, size in bytes and psnr in dB instead; effort: 1..9, by default 2;
    strip: without metadata; see ImageCodec.encode. The other arguments, and what is raised, are those of ImageCodec.
    """
    codec = _codec(profile, threads, weights, max_pixels)
    return codec.encode(image, quality, bpp=bpp, size=size, psnr=psnr, effort=effort, strip=strip)


def encode_to(
    image: Picture,
    file: BinaryWriter,
    quality: float | None = None,
    *,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    effort: int | None = None,
    strip: bool = False,
    profile: str | None = None,
    threads: int | None = None,
    weights: _Folder = None,
    max_pixels: int | None = None,
) -> Encoded:
    """Write the stream of a picture to a file object, which need not seek; arguments and errors as `encode`."""
    codec = _codec(profile, threads, weights, max_pixels)
    return codec.encode_to(image, file, quality, bpp=bpp, size=size, psnr=psnr, effort=effort, strip=strip)


def decode(
    data: Source,
    *,
    region: Region | None = None,
    keep_going: bool = False,
    light: bool = False,
    threads: int | None = None,
    weights: _Folder = None,
    max_pixels: int | None = None,
) -> Image:
    """The picture of a stream (bytes, path or file object) as a PIL.Image; see ImageCodec.decode."""
    return _codec(None, threads, weights, max_pixels).decode(data, region=region, keep_going=keep_going, light=light)


def decode_array(
    data: Source,
    *,
    region: Region | None = None,
    keep_going: bool = False,
    light: bool = False,
    threads: int | None = None,
    weights: _Folder = None,
    max_pixels: int | None = None,
) -> NDArray[np.uint8]:
    """The picture of a stream (bytes, path or file object), uint8 (H, W[, 2..4]); see ImageCodec.decode_array."""
    codec = _codec(None, threads, weights, max_pixels)
    return codec.decode_array(data, region=region, keep_going=keep_going, light=light)


def verify(
    data: Source, *, threads: int | None = None, weights: _Folder = None, max_pixels: int | None = None
) -> Verification:
    """Check every checksum of a stream and decode all its symbols, no pixels; raises as decode does."""
    return _codec(None, threads, weights, max_pixels).verify(data)


def inspect(data: Source) -> PictureInfo | SequenceInfo:
    """Header and sizes of the stream of a picture or a clip (bytes, path or file object), without weights; raises
    FormatError, LimitError."""
    return inspect_stream(data, choose_limits())


def _codec(profile: str | None, threads: int | None, weights: _Folder, max_pixels: int | None) -> ImageCodec:
    folder = None if weights is None else os.path.abspath(weights)
    limit = choose_limits(max_pixels).max_pixels
    return _kept_codec(profile, threads, folder, limit, os.environ.get(WEIGHTS_VARIABLE))


@lru_cache(maxsize=4)
def _kept_codec(
    profile: str | None, threads: int | None, folder: str | None, max_pixels: int, variable: str | None
) -> ImageCodec:
    """`variable` is NACRE_WEIGHTS, so that a change of it makes another codec."""
    return ImageCodec(profile, threads, folder, max_pixels)
