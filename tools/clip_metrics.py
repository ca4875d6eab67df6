"""Distortion of clips: on the planes as they are coded, and pictures' metrics as means over frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from nacre.tools.clips import Clip
from nacre.tools.curves import decibel
from nacre.tools.pictures import Picture
from nacre.tools.yuv import Frames, split

PICTURE_MAXIMUM = 100.0  # dB that a plane without error counts for, as in x264's own figures; there is no mean with inf
WEIGHTS = (6 / 8, 1 / 8, 1 / 8)  # of Y, U and V: 6:1:1

Dbs = NDArray[np.float64]


def plane_psnrs(reference: Frames, frames: Frames) -> Dbs:
    """PSNR of Y, U and V of each frame, (F, 3), dB, at most PICTURE_MAXIMUM."""
    errors = [list(map(_mean_square, *planes)) for planes in zip(split(reference), split(frames), strict=True)]
    floor = 255.0**2 / 10.0 ** (PICTURE_MAXIMUM / 10.0)
    result: Dbs = 10.0 * np.log10(255.0**2 / np.maximum(np.array(errors).T, floor))
    return result


def _mean_square(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.mean(np.square(np.subtract(a, b, dtype=np.int32)), dtype=np.float64))


def psnr_yuv_of_clip(reference: Clip, frames: Frames) -> float:
    """Mean over frames of (6 Y + U + V) / 8 of the planes' PSNRs, dB."""
    return float((plane_psnrs(reference.frames, frames) @ WEIGHTS).mean())


def mean_over_frames(
    function: Callable[[Picture, Picture], float], maximum: float = math.inf
) -> Callable[[Clip, Frames], float]:
    """A metric of clips: the mean of a metric of RGB pictures, at most `maximum`, over frames."""

    def of_clip(reference: Clip, frames: Frames) -> float:
        values = (function(reference.picture(k), reference.picture(k, frames)) for k in range(len(frames)))
        return fmean(min(value, maximum) for value in values)

    return of_clip


def decibel_of_mean(function: Callable[[Picture, Picture], float]) -> Callable[[Clip, Frames], float]:
    """A metric of clips: the mean of a similarity of RGB pictures over frames, in dB."""
    mean = mean_over_frames(function)
    return lambda reference, frames: decibel(mean(reference, frames))


def frame_kinds(reference: Frames, frames: Frames, packets: Sequence[bytes], gop: int) -> dict[str, dict[str, float]]:
    """Of the first frames of GOPs (I) and of the others (P), where there are some: how many, their bytes, mean PSNRs.

    What a codec without P frames makes of the others is called P here too, so that it can be held against the rest.
    """
    psnrs, sizes = plane_psnrs(reference, frames), np.array([len(packet) for packet in packets])
    first = np.arange(len(frames)) % gop == 0
    kinds = {}
    for kind, chosen in (("I", first), ("P", ~first)):
        if chosen.any():
            y, u, v = psnrs[chosen].mean(axis=0).tolist()
            yuv = float((psnrs[chosen] @ WEIGHTS).mean())
            kinds[kind] = {
                "frames": int(chosen.sum()),
                "bytes": int(sizes[chosen].sum()),
                "psnr-y": y,
                "psnr-u": u,
                "psnr-v": v,
                "psnr-yuv": yuv,
            }
    return kinds


def mean_psnr(kinds: Mapping[str, Mapping[str, float]]) -> float:
    """6:1:1 PSNR over all frames, dB, of what `frame_kinds` gave."""
    count = sum(kind["frames"] for kind in kinds.values())
    return sum(kind["frames"] * kind["psnr-yuv"] for kind in kinds.values()) / count
