"""Small clips made on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from nacre.tools.clips import Clip
from nacre.tools.yuv import Frames, from_rgb

RATE = Fraction(25)


def make_clip(width: int = 96, height: int = 80, frames: int = 5, seed: int = 0) -> Clip:
    """A coloured texture that pans by two columns and one row from frame to frame; BT.601, limited range."""
    noise = np.random.default_rng(seed).normal(0.0, 0.25, (height + frames, width + 2 * frames, 3))
    y, x = np.mgrid[: height + frames, : width + 2 * frames] / 9.0
    waves = np.stack([np.sin(x + y), np.cos(x - 0.7 * y), np.sin(x * y / 40.0)], axis=-1)
    canvas = np.clip(127.5 + 60.0 * (waves + noise), 0.0, 255.0).astype(np.uint8)
    windows = (canvas[k : k + height, 2 * k : 2 * k + width] for k in range(frames))
    return Clip(np.stack([from_rgb(window, "bt601", False) for window in windows]), RATE, "bt601", False)


def write_clip(path: Path, frames: Frames, pix_fmt: str = "yuv420p") -> Path:
    """Lossless FFV1 of frames (F, 3 H / 2, W), in another sample format if asked."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1] * 2 // 3, pix_fmt
        for samples in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(samples, "yuv420p").reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path
