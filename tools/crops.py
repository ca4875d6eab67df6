"""Crops of decoded pictures at equal file size, so that a person can look."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from nacre.bitstream.errors import NacreError
from nacre.metrics import psnr
from nacre.tools.measure import Measurement, read_cached, single_threaded_children, warm_codec, worker_pool
from nacre.tools.pictures import Picture

TARGET_BPP = 0.4
SHOWN_PICTURES = 3
_WIDTH, _HEIGHT = 480, 320
_TRIALS = 8
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a picture as a codec gives it back. image: lossless WebP. size: bytes of the whole picture's file."""

    picture: str
    codec: str
    image: bytes
    size: int
    bpp: float
    psnr: float


def busiest(picture: Picture, width: int = _WIDTH, height: int = _HEIGHT) -> tuple[slice, slice]:
    """Rows and columns of the part of that size with the most detail (sum of absolute differences of neighbours)."""
    luma = picture.astype(np.float64).mean(axis=2)
    height, width = min(height, luma.shape[0]), min(width, luma.shape[1])
    detail = np.abs(np.diff(luma, axis=0, append=luma[-1:])) + np.abs(np.diff(luma, axis=1, append=luma[:, -1:]))
    table = np.pad(detail.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def encode_to_size(codec: Any, picture: Picture, size: int, known: dict[float, int]) -> bytes:
    """The file nearest to `size` bytes that a few trials find. known: sizes at some qualities, at least one."""
    files: dict[float, bytes] = {}
    for _ in range(_TRIALS):
        below = max((q for q, bytes_ in known.items() if bytes_ <= size), default=None)
        above = min((q for q, bytes_ in known.items() if bytes_ > size), default=None)
        if below is None or above is None or above - below <= codec.step:
            break
        low, high = math.log(known[below]), math.log(known[above])
        share = min(max((math.log(size) - low) / (high - low), 0.1), 0.9)
        steps = max(1, round(share * (above - below) / codec.step))
        quality = below + min(steps, round((above - below) / codec.step) - 1) * codec.step
        files[quality] = codec.encode(picture, quality)
        known[quality] = len(files[quality])
        if abs(known[quality] / size - 1.0) < _TOLERANCE:
            break
    best = min(known, key=lambda quality: abs(math.log(known[quality] / size)))
    return files[best] if best in files else codec.encode(picture, best)


def _crop(path: str, name: str, known: dict[float, int], weights: str | None) -> Crop:
    picture = read_cached(path)
    codec = warm_codec(name, 1, weights)
    pixels = picture.shape[0] * picture.shape[1]
    data = encode_to_size(codec, picture, round(TARGET_BPP * pixels / 8), known)
    decoded = codec.decode(data)
    return Crop(path, name, _webp(decoded[busiest(picture)]), len(data), 8 * len(data) / pixels, psnr(picture, decoded))


def _webp(pixels: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True)
    return file.getvalue()


def _original(path: str) -> Crop:
    picture = read_cached(path)
    return Crop(path, "original", _webp(picture[busiest(picture)]), picture.size, 24.0, math.inf)


def make_crops(
    measurements: Sequence[Measurement], jobs: int, weights: str | None = None
) -> tuple[list[Crop], list[str]]:
    """Original and codecs for the first, a middle and the last picture measured, and what failed."""
    paths = list(dict.fromkeys(m.picture for m in measurements))
    chosen = list(dict.fromkeys(paths[(len(paths) - 1) * k // (SHOWN_PICTURES - 1)] for k in range(SHOWN_PICTURES)))
    crops, failures = [], []
    with single_threaded_children(), worker_pool(jobs) as pool:
        futures: list[tuple[str, Future[Crop]]] = []
        for path in chosen:
            futures.append((path, pool.submit(_original, path)))
            for codec in dict.fromkeys(m.codec for m in measurements):
                known = {m.quality: m.bytes for m in measurements if (m.picture, m.codec) == (path, codec)}
                if known:
                    futures.append((f"{path}: {codec}", pool.submit(_crop, path, codec, known, weights)))
        for what, future in futures:
            try:
                crops.append(future.result())
            except (NacreError, OSError, ValueError, RuntimeError) as error:
                failures.append(f"{what}: no crop: {error}")
    return crops, failures
