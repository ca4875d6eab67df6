"""The image codec: pictures to streams and back, models loaded once."""

from __future__ import annotations

import io
import operator
import os
import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from nacre.bitstream.errors import InputError, WeightsError
from nacre.bitstream.geometry import Rectangle
from nacre.bitstream.header import PictureHeader
from nacre.bitstream.limits import Limits
from nacre.bitstream.picture import PictureReader
from nacre.bitstream.units import BinaryWriter
from nacre.decoder import Decoded, PictureDecoder
from nacre.effort import parse_effort
from nacre.encoder import PictureEncoder, Progress
from nacre.entropy.forking import FORK_GATE
from nacre.goal import DEFAULT_QUALITY, Encoded, encode_to_goal, parse_goal
from nacre.imagewrite import ImageSink, image_info
from nacre.inspection import PictureInfo, inspect_picture, picture_info
from nacre.media import Picture, open_rows
from nacre.picture import ArraySink, RowSink, RowSource
from nacre.pixellimit import choose_limits
from nacre.sources import Source, open_source
from nacre.stopwatch import Stopwatch
from nacre.tile import TileCoder
from nacre.tiling import check_tiles, choose_tiling
from nacre.weights import store

__all__ = ["DEFAULT_QUALITY", "Decoded", "Encoded", "ImageCodec", "Verification", "usable_cpus"]

MAX_THREADS = 256
TILES_AT_ONCE = 2  # each on its own thread, with its share of the networks' threads; memory grows with them

Region = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A stream that was decoded to its symbols without fault.

    symbols: how many there are, of the hyper-latents and of the latents' live channels.
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
    pictures are refused, before memory is taken for them; by default NACRE_MAX_PIXELS, or 400 million.

    Weights are found, verified and loaded when they are first needed, then kept. The methods raise WeightsNotFoundError
    where they are not installed, WeightsError where they are damaged, BackendError where ONNX Runtime fails; the
    constructor raises InputError for an argument or NACRE_MAX_PIXELS out of range. Every method takes a stopwatch to
    charge its time to.
    """

    def __init__(
        self,
        profile: str | None = None,
        threads: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        max_pixels: int | None = None,
    ) -> None:
        self._threads = usable_cpus() if threads is None else threads
        if not 1 <= self._threads <= MAX_THREADS:
            msg = f"threads is {threads}, must be 1..{MAX_THREADS}"
            raise InputError(msg)
        self._workers = min(self._threads, TILES_AT_ONCE)
        self._profile, self._folder = profile, weights
        self._limits = choose_limits(max_pixels)
        self._lock = threading.Lock()
        self._coders: dict[tuple[str | None, bytes | None, int], TileCoder] = {}

    @property
    def limits(self) -> Limits:
        """What pictures and streams may ask for."""
        return self._limits

    def encode(
        self,
        image: Picture,
        quality: float | None = None,
        stopwatch: Stopwatch | None = None,
        *,
        bpp: float | None = None,
        size: int | None = None,
        psnr: float | None = None,
        effort: int | None = None,
        strip: bool = False,
    ) -> bytes:
        """The stream of a picture: PIL.Image, path, bytes, file object, or array (H, W[, 1..4]).

        At most one of these says how well it is coded; all but the first need up to 8 encodes:
        quality: 0 (smallest) to 100 (best), in steps of 1/256, by default 60;
        bpp: bits of the stream for each pixel, met within 2 %;
        size: bytes of the stream, which is not larger and, if it can be, at most 2 % smaller;
        psnr: dB of the decoded picture, which is not lower and, if it can be, at most 0.05 dB higher.
        Where none of the encodes is that near, the nearest is kept, with a UserWarning.

        effort: 1 (fastest) to 9 (smallest stream at equal PSNR), by default 2; from 3 on each picture is optimized by
        itself. strip: metadata is left out.

        Raises InputError where the picture cannot be read or is of a kind that cannot be coded, where an argument is
        out of range, or where the picture cannot be coded to what was asked for; LimitError where it is too large;
        WeightsError where the weights have nothing to optimize a picture with.
        """
        file = io.BytesIO()
        self.encode_to(image, file, quality, stopwatch, bpp=bpp, size=size, psnr=psnr, effort=effort, strip=strip)
        return file.getvalue()

    def encode_to(
        self,
        image: Picture,
        file: BinaryWriter,
        quality: float | None = None,
        stopwatch: Stopwatch | None = None,
        *,
        bpp: float | None = None,
        size: int | None = None,
        psnr: float | None = None,
        effort: int | None = None,
        strip: bool = False,
        progress: Progress | None = None,
    ) -> Encoded:
        """Write the stream of a picture to a file object, which need not seek; arguments and errors are those of
        `encode`, progress that of `encode_rows`."""
        with open_rows(image, self._limits, strip=strip) as source:
            return self.encode_rows(
                source, file, quality, stopwatch, bpp=bpp, size=size, psnr=psnr, effort=effort, progress=progress
            )

    def encode_rows(
        self,
        source: RowSource,
        file: BinaryWriter,
        quality: float | None = None,
        stopwatch: Stopwatch | None = None,
        *,
        bpp: float | None = None,
        size: int | None = None,
        psnr: float | None = None,
        effort: int | None = None,
        progress: Progress | None = None,
    ) -> Encoded:
        """Write the stream of a picture that is read row by row, in memory that grows with its width alone.

        For bpp, size and psnr (see `encode`) the source is read several times, and the stream is in memory until it is
        the right one. progress is called with the number of tiles that are done and of all; it starts again with every
        encode. An error may come when a part of the stream is written.
        """
        form = source.form
        self._limits.check_picture(form.width, form.height)
        goal, level = parse_goal(quality, bpp, size, psnr), parse_effort(effort)
        stopwatch = stopwatch or Stopwatch()
        with stopwatch.part("rest"):
            tiling = choose_tiling(form.width, form.height)
            coder = self._coder(self._profile, tiles=tiling.size > 0)
            coder.check_effort(level)
            encoder = PictureEncoder(coder, tiling, self._workers, stopwatch, progress, level)
            return encode_to_goal(encoder, source, goal, file)

    def decode(
        self,
        data: Source,
        stopwatch: Stopwatch | None = None,
        *,
        region: Region | None = None,
        keep_going: bool = False,
        light: bool = False,
    ) -> Image:
        """The picture of a stream (bytes, path or file object) as a PIL.Image in mode L, LA, RGB or RGBA.

        Its info has icc_profile, exif and xmp where the stream has them. Arguments and errors as `decode_array`.
        """
        sink = ImageSink()
        decoded = self.decode_rows(data, sink, stopwatch, region=region, keep_going=keep_going, light=light)
        sink.image.info.update(image_info(decoded.form))
        _warn_of_losses(decoded)
        return sink.image

    def decode_array(
        self,
        data: Source,
        stopwatch: Stopwatch | None = None,
        *,
        region: Region | None = None,
        keep_going: bool = False,
        light: bool = False,
    ) -> NDArray[np.uint8]:
        """The picture of a stream (bytes, path or file object), uint8 (H, W), (H, W, 2), (H, W, 3) or (H, W, 4).

        The last of 2 or 4 channels is alpha. region: left, top, width, height of the pixels that are wanted; only the
        tiles that these need are decoded. keep_going: damaged and missing tiles are mid-grey, with a UserWarning for
        each loss, where otherwise an error is raised. light: by the light synthesis, faster and less exact; the pixels
        are not those that the stream defines.

        Raises FormatError and its kinds where the stream is damaged, LimitError where the picture is too large,
        InputError for a region that is not in the picture, WeightsNotFoundError or WeightsMismatchError where the
        weights that it names are not installed, WeightsError where these have no light synthesis.
        """
        sink = ArraySink()
        _warn_of_losses(self.decode_rows(data, sink, stopwatch, region=region, keep_going=keep_going, light=light))
        return sink.array()

    def decode_rows(
        self,
        data: Source,
        sink: RowSink,
        stopwatch: Stopwatch | None = None,
        *,
        region: Region | None = None,
        keep_going: bool = False,
        light: bool = False,
        progress: Progress | None = None,
    ) -> Decoded:
        """Decode a stream to a sink row by row, in memory that grows with the picture's width alone.

        Arguments and errors as `decode_array`; losses are returned. With keep_going the stream is held in memory.
        progress is called with the number of tiles that are done and of all that are needed. Errors may come when rows
        have been written.
        """
        stopwatch = stopwatch or Stopwatch()
        with stopwatch.part("rest"), open_source(data) as reader:
            units = PictureReader(reader, self._limits, keep_going)
            wanted = _region(region, units.header)
            decoder = self._decoder(units, stopwatch, keep_going=keep_going, light=light)
            return decoder.decode(wanted, sink, progress)

    def inspect(self, data: Source) -> PictureInfo:
        """Header and sizes of a stream (bytes, path or file object); raises FormatError and its kinds, LimitError."""
        return inspect_picture(data, self._limits)

    def verify(self, data: Source) -> Verification:
        """Check all checksums of a stream and decode all symbols and alpha, no pixels; raises as `decode_array`."""
        with open_source(data) as reader:
            units = PictureReader(reader, self._limits)
            symbols = self._decoder(units, Stopwatch()).verify()
            return Verification(picture_info(units), symbols)

    def _decoder(
        self, units: PictureReader, stopwatch: Stopwatch, *, keep_going: bool = False, light: bool = False
    ) -> PictureDecoder:
        header = units.header
        check_tiles(header)
        coder = self._coder(header.profile, header.digest, tiles=header.tile_count > 1)
        if light and not coder.has_light_synthesis:
            msg = (
                f"the weights '{coder.weights.profile}' in {coder.weights.folder} have no light synthesis"
                f" ({store.LIGHT_SYNTHESIS})"
            )
            raise WeightsError(msg)
        return PictureDecoder(units, coder, self._workers, stopwatch, keep_going=keep_going, light=light)

    def _coder(self, profile: str | None, digest: bytes | None = None, *, tiles: bool) -> TileCoder:
        """The coder of installed weights, made once; without a digest, of those to encode with.

        tiles: whether it is for several tiles at once, which share the threads.
        """
        threads = self._threads // self._workers if tiles else self._threads
        key = (profile, digest, threads)
        with FORK_GATE, self._lock:
            coder = self._coders.get(key)
            if coder is None:
                weights = store.load(profile, self._folder, digest)
                full_key = (weights.profile, weights.stream_digest, threads)
                coder = self._coders.get(full_key) or TileCoder(weights, threads)
                self._coders[key] = self._coders[full_key] = coder
            return coder


def _region(region: Region | None, header: PictureHeader) -> Rectangle:
    """The pixels to decode; InputError where they are not in the picture."""
    if region is None:
        return Rectangle(0, 0, header.width, header.height)
    try:
        x, y, width, height = map(operator.index, region)
    except (TypeError, ValueError):
        msg = f"region is {region!r}, must be four integers: left, top, width, height"
        raise InputError(msg) from None
    if not (0 <= x < x + width <= header.width and 0 <= y < y + height <= header.height):
        msg = (
            f"region is {x},{y},{width},{height} (left, top, width, height), must have at least one pixel and lie in"
            f" the picture of {header.width} x {header.height}"
        )
        raise InputError(msg)
    return Rectangle(x, y, width, height)


def _warn_of_losses(decoded: Decoded) -> None:
    for loss in decoded.losses:
        warnings.warn(loss, UserWarning, stacklevel=3)
