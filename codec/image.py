"""The image codec: pictures to streams and back, models loaded once."""

from __future__ import annotations

import io
import math
import os
import threading
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from PIL.Image import Image

from nacre.bitstream.errors import InputError, UnsupportedVersionError
from nacre.bitstream.header import GREY, RGB, PictureHeader
from nacre.bitstream.limits import Limits
from nacre.bitstream.picture import PictureStream, TileUnit, write_picture
from nacre.bitstream.picture import read_picture as read_stream
from nacre.entropy.latent import TileSymbols
from nacre.inspection import QUALITY_STEPS, PictureInfo, inspect_stream, read_with_info
from nacre.media import Picture, Pixels, read_picture, to_image
from nacre.sources import Source, open_source
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoder, TileCoding
from nacre.weights import store

DEFAULT_QUALITY = 60.0
MAX_SIDE = 4096  # pixels; a picture is coded as one tile, whose networks take memory in proportion
MAX_THREADS = 256


@dataclass(frozen=True, slots=True)
class Verification:
    """A stream that was decoded to its symbols without fault.

    symbols: how many there are, of the hyper-latent and of the latent's live channels.
    """

    info: PictureInfo
    symbols: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ok": True,
            "bytes": self.info.size,
            "units": len(self.info.parts) - 1,
            "tiles": self.info.header.tile_count,
            "symbols": self.symbols,
            "profile": self.info.header.profile,
            "digest": self.info.header.digest.hex(),
        }


def usable_cpus() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ImageCodec:
    """Encodes with one set of weights and decodes every stream whose weights are installed. Threads may share it.

    profile: weights to encode with, by default 'fast'. threads: of the networks, by default as many as there are
    processors. weights: the folder to look for weights in, by default NACRE_WEIGHTS and the package. max_pixels: larger
    pictures are refused, before memory is taken for them.

    Weights are found, verified and loaded when they are first needed, then kept. The methods raise WeightsNotFoundError
    where they are not installed, WeightsError where they are damaged, BackendError where ONNX Runtime fails; the
    constructor raises InputError for an argument out of range.
    """

    def __init__(
        self,
        profile: str | None = None,
        threads: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        max_pixels: int = Limits().max_pixels,
    ) -> None:
        self._threads = usable_cpus() if threads is None else threads
        if not 1 <= self._threads <= MAX_THREADS:
            msg = f"threads is {threads}, must be 1..{MAX_THREADS}"
            raise InputError(msg)
        if max_pixels < 1:
            msg = f"max_pixels is {max_pixels}, must be at least 1"
            raise InputError(msg)
        self._profile, self._folder = profile, weights
        self._limits = Limits(max_pixels=max_pixels, max_dimension=MAX_SIDE)
        self._lock = threading.Lock()
        self._coders: dict[tuple[str | None, bytes | None], TileCoder] = {}

    def encode(self, image: Picture, quality: float = DEFAULT_QUALITY, stopwatch: Stopwatch | None = None) -> bytes:
        """The stream of a picture: PIL.Image, path, bytes, file object, or uint8 array (H, W[, 1..4]).

        quality: 0 (smallest) to 100 (best), in steps of 1/256. Raises InputError where the picture cannot be read or is
        of a kind that this version does not code, LimitError where it is too large.
        """
        steps = quality_steps(quality)
        stopwatch = stopwatch or Stopwatch()
        with stopwatch.part("rest"):
            pixels = read_picture(image, self._limits)
            coder = self._coder(self._profile)
            grey = pixels.ndim == 2
            colour = np.repeat(pixels[..., np.newaxis], 3, axis=2) if grey else pixels
            payload, check = coder.encode(colour, steps, stopwatch)
            header = PictureHeader(
                width=pixels.shape[1],
                height=pixels.shape[0],
                chroma=GREY if grey else RGB,
                quality=steps,
                profile=coder.weights.profile,
                digest=coder.weights.stream_digest,
                live_channels=coder.live_channels(steps),
                skip_threshold=coder.weights.skip_threshold,
            )
            stream = io.BytesIO()
            write_picture(stream, PictureStream(header, [TileUnit(0, check, payload)]))
            return stream.getvalue()

    def decode(self, data: Source, stopwatch: Stopwatch | None = None) -> Image:
        """The picture of a stream (bytes, path or file object) as a PIL.Image in mode L or RGB; see `decode_array`."""
        return to_image(self.decode_array(data, stopwatch))

    def decode_array(self, data: Source, stopwatch: Stopwatch | None = None) -> Pixels:
        """The picture of a stream (bytes, path or file object), uint8 (H, W) for grey and (H, W, 3) for RGB.

        Raises FormatError and its kinds where the stream is damaged, LimitError where the picture is too large,
        WeightsNotFoundError or WeightsMismatchError where the weights that it names are not installed.
        """
        stopwatch = stopwatch or Stopwatch()
        with stopwatch.part("rest"), open_source(data) as reader:
            stream = read_stream(reader, self._limits)
            coder, coding, symbols = self._decode_symbols(stream, stopwatch)
            pixels = coder.reconstruct(symbols, coding, stopwatch)
            if stream.header.chroma == GREY:
                # A third of an integer is never half-way: this is the mean, rounded.
                pixels = ((pixels.sum(axis=2, dtype=np.uint16) + 1) // 3).astype(np.uint8)
            return np.ascontiguousarray(pixels)

    def inspect(self, data: Source) -> PictureInfo:
        """Header and sizes of a stream (bytes, path or file object); raises FormatError and its kinds, LimitError."""
        return inspect_stream(data)

    def verify(self, data: Source) -> Verification:
        """Check every checksum of a stream and decode all its symbols, no pixels; raises as `decode_array`."""
        with open_source(data) as reader:
            stream, info = read_with_info(reader, self._limits)
            _, coding, symbols = self._decode_symbols(stream, Stopwatch())
        return Verification(info, symbols.z.size + symbols.y[: coding.live].size)

    def _decode_symbols(self, stream: PictureStream, stopwatch: Stopwatch) -> tuple[TileCoder, TileCoding, TileSymbols]:
        header = stream.header
        if header.tile_count != 1:
            msg = f"the picture has {header.tile_count} tiles, this version decodes pictures of one tile"
            raise UnsupportedVersionError(msg)
        coder = self._coder(header.profile, header.digest)
        coding = TileCoding(header.width, header.height, header.quality, header.live_channels, header.skip_threshold)
        (tile,) = stream.tiles
        return coder, coding, coder.decode_symbols(tile.payload, tile.check, coding, stopwatch)

    def _coder(self, profile: str | None, digest: bytes | None = None) -> TileCoder:
        """The coder of installed weights, made once; without a digest, of those to encode with."""
        key = (profile, digest)
        with self._lock:
            coder = self._coders.get(key)
            if coder is None:
                weights = store.load(profile, self._folder, digest)
                full_key = (weights.profile, weights.stream_digest)
                coder = self._coders.get(full_key) or TileCoder(weights, self._threads)
                self._coders[key] = self._coders[full_key] = coder
            return coder


def quality_steps(quality: float) -> int:
    """A quality 0..100 in the stream's steps of 1/256; InputError outside."""
    if isinstance(quality, bool) or not isinstance(quality, Real) or not 0 <= quality <= 100:
        msg = f"quality is {quality!r}, must be a number in 0..100"
        raise InputError(msg)
    return math.floor(float(quality) * QUALITY_STEPS + 0.5)
