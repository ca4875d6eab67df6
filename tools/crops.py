"""Crops of decoded pictures, or of the middle frames of clips, at equal file size, so that a person can look."""

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
from nacre.tools.measure import Measurement
from nacre.tools.pictures import Picture
from nacre.tools.subjects import ClipCoding, fidelity, load, pixels, samples, shown, warm_codec
from nacre.tools.workers import single_threaded_children, worker_pool

TARGET_BPP = 0.4
CLIP_TARGET_BPP = 0.1
SHOWN_PICTURES = 3
_WIDTH, _HEIGHT = 480, 320
_TRIALS = 8
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a picture as a codec gives it back. image: lossless WebP. size: bytes of the whole file or stream.

    target: bits per pixel that were aimed at.
    """

    picture: str
    codec: str
    image: bytes
    size: int
    bpp: float
    psnr: float
    target: float = TARGET_BPP


def busiest(picture: Picture, width: int = _WIDTH, height: int = _HEIGHT) -> tuple[slice, slice]:
    """Rows and columns of the part of that size with the most detail (sum of absolute differences of neighbours)."""
    luma = picture.astype(np.float64).mean(axis=2)
    height, width = min(height, luma.shape[0]), min(width, luma.shape[1])
    detail = np.abs(np.diff(luma, axis=0, append=luma[-1:])) + np.abs(np.diff(luma, axis=1, append=luma[:, -1:]))
    table = np.pad(detail.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def encode_to_size(codec: Any, source: Any, size: int, known: dict[float, int]) -> Any:
    """The file nearest to `size` bytes that a few trials find. known: sizes at some qualities, at least one."""
    files: dict[float, Any] = {}
    for _ in range(_TRIALS):
        below = max((q for q, bytes_ in known.items() if bytes_ <= size), key=known.__getitem__, default=None)
        above = min((q for q, bytes_ in known.items() if bytes_ > size), key=known.__getitem__, default=None)
        if below is None or above is None or (above - below) / codec.step <= 1.0:
            break
        low, high = math.log(known[below]), math.log(known[above])
        share = min(max((math.log(size) - low) / (high - low), 0.1), 0.9)
        steps = max(1, round(share * (above - below) / codec.step))
        quality = below + min(steps, round((above - below) / codec.step) - 1) * codec.step
        files[quality] = codec.encode(source, quality)
        known[quality] = len(files[quality])
        if abs(known[quality] / size - 1.0) < _TOLERANCE:
            break
    best = min(known, key=lambda quality: abs(math.log(known[quality] / size)))
    return files[best] if best in files else codec.encode(source, best)


def _crop(path: str, name: str, known: dict[float, int], weights: str | None, clip: ClipCoding | None) -> Crop:
    source = load(path, clip)
    codec = warm_codec(name, 1, weights, clip)
    target = target_bpp(clip)
    data = encode_to_size(codec, source, round(target * pixels(source) / 8), known)
    decoded = codec.decode(data)
    image = _webp(shown(source, decoded)[busiest(shown(source))])
    return Crop(path, name, image, len(data), 8 * len(data) / pixels(source), fidelity(source, decoded), target)


def target_bpp(clip: ClipCoding | None) -> float:
    """Bits per pixel that are shown."""
    return TARGET_BPP if clip is None else CLIP_TARGET_BPP


def _webp(pixels: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True)
    return file.getvalue()


def _original(path: str, clip: ClipCoding | None) -> Crop:
    source = load(path, clip)
    picture, size = shown(source), samples(source).size
    image, bpp = _webp(picture[busiest(picture)]), 8 * size / pixels(source)
    return Crop(path, "original", image, size, bpp, math.inf, target_bpp(clip))


def make_crops(
    measurements: Sequence[Measurement], jobs: int, weights: str | None = None, clip: ClipCoding | None = None
) -> tuple[list[Crop], list[str]]:
    """Original and codecs for the first, a middle and the last picture or clip measured, and what failed."""
    paths = list(dict.fromkeys(m.picture for m in measurements))
    chosen = list(dict.fromkeys(paths[(len(paths) - 1) * k // (SHOWN_PICTURES - 1)] for k in range(SHOWN_PICTURES)))
    crops, failures = [], []
    with single_threaded_children(), worker_pool(jobs) as pool:
        futures: list[tuple[str, Future[Crop]]] = []
        for path in chosen:
            futures.append((path, pool.submit(_original, path, clip)))
            for codec in dict.fromkeys(m.codec for m in measurements):
                known = {m.quality: m.bytes for m in measurements if (m.picture, m.codec) == (path, codec)}
                if known:
                    futures.append((f"{path}: {codec}", pool.submit(_crop, path, codec, known, weights, clip)))
        for what, future in futures:
            try:
                crops.append(future.result())
            except (NacreError, OSError, ValueError, RuntimeError) as error:
                failures.append(f"{what}: no crop: {error}")
    return crops, failures
