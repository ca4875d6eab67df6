"""What is measured, a picture or a clip, and the codecs for it, alike for measuring, timing and looking."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nacre.bitstream.errors import InputError
from nacre.entropy.engines import COMPILING_PAYS, count_work
from nacre.metrics import psnr
from nacre.tools.clip_metrics import psnr_yuv_of_clip
from nacre.tools.clips import Clip, read_clip
from nacre.tools.peers import PictureCodec, open_codec
from nacre.tools.pictures import Picture, read_picture
from nacre.tools.video_peers import VideoCodec, open_video_codec
from nacre.tools.yuv import Frames

_WARM_SIDE = 64  # pixels
_GREY = 128


@dataclass(frozen=True, slots=True)
class ClipCoding:
    """How clips are coded. gop: distance of I frames. frames: how many of each clip, None for all."""

    gop: int
    frames: int | None = None


@lru_cache(maxsize=1)
def load(path: str, clip: ClipCoding | None = None) -> Picture | Clip:
    """A picture, or a clip where it is said how clips are coded; read anew only after another one."""
    return read_picture(Path(path)) if clip is None else read_clip(Path(path), clip.frames)


def open_any(name: str, threads: int, weights: str | None, clip: ClipCoding | None = None) -> PictureCodec | VideoCodec:
    """A codec for pictures, or for clips where it is said how they are coded; raises as open_codec."""
    return open_codec(name, threads, weights) if clip is None else open_video_codec(name, clip.gop, threads, weights)


@lru_cache(maxsize=32)
def warm_codec(name: str, threads: int, weights: str | None, clip: ClipCoding | None = None) -> Any:
    """A codec as it is in a process that has coded much: nothing is left to be loaded or compiled."""
    count_work(COMPILING_PAYS)
    codec: Any = open_any(name, threads, weights, clip)
    grey: Any = np.full((_WARM_SIDE, _WARM_SIDE, 3), _GREY, np.uint8)
    if clip is not None:
        grey = Clip(np.full((2, _WARM_SIDE * 3 // 2, _WARM_SIDE), _GREY, np.uint8), Fraction(25), "bt709", False)
    codec.decode(codec.encode(grey, codec.qualities[0]))
    return codec


def samples(source: Picture | Clip) -> Picture | Frames:
    """What a decoder must give back for a source, in shape and type."""
    return source.frames if isinstance(source, Clip) else source


def pixels(source: Picture | Clip) -> int:
    """Pixels of a picture, or of all frames of a clip."""
    return source.pixels if isinstance(source, Clip) else source.shape[0] * source.shape[1]


def check_decoded(source: Picture | Clip, decoded: Picture | Frames) -> None:
    """Raise InputError unless what a codec gave back is like what it was given."""
    expected = samples(source).shape
    if decoded.shape != expected or decoded.dtype != np.uint8:
        msg = f"decoded to {decoded.shape} {decoded.dtype}, must be {expected} uint8"
        raise InputError(msg)


def shown(source: Picture | Clip, decoded: Picture | Frames | None = None) -> Picture:
    """The picture (H, W, 3) to look at, the middle frame of a clip; of what was decoded where that is given."""
    if isinstance(source, Clip):
        return source.picture(len(source.frames) // 2, decoded)
    return source if decoded is None else decoded


def fidelity(source: Picture | Clip, decoded: Picture | Frames) -> float:
    """PSNR in dB, of a clip 6:1:1 over its planes."""
    return psnr_yuv_of_clip(source, decoded) if isinstance(source, Clip) else psnr(source, decoded)
