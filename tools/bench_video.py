"""`nacre bench --video`: frames per second of each stage of coding a clip, and of the whole."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from nacre.stopwatch import Stopwatch
from nacre.tools.clip_metrics import WEIGHTS, plane_psnrs
from nacre.tools.yuv import Frames
from nacre.video import VideoDecoder, VideoEncoder

RATE = Fraction(30)


def bench_video(
    frames: Frames,
    quality: float,
    *,
    profile: str,
    threads: int,
    weights: str | None,
    gop: int,
    seconds: float = 0.0,
    step: Callable[[str], object] = str,
) -> dict[str, Any]:
    """Encode frames of 8-bit 4:2:0 (F, 3 H / 2, W) to memory as a clip, and decode it.

    The first few frames are coded before the first clock starts; all are coded again until encoding has taken
    `seconds`. Returns {"encode": {"fps", "mpx_per_s", "stages": {...}}, "decode": likewise, "bpp", "psnr", "frames"}:
    psnr is the mean of (6 Y + U + V) / 8, stages are those of nacre.stopwatch with what each would do alone.
    """
    height, width = frames.shape[1] * 2 // 3, frames.shape[2]

    def encode(some: Frames, stopwatch: Stopwatch) -> bytes:
        file = io.BytesIO()
        with VideoEncoder(
            file, width, height, RATE, quality=quality, gop=gop, scene_cut=False, profile=profile, threads=threads,
            weights=weights, stopwatch=stopwatch,
        ) as encoder:  # fmt: skip
            for number, frame in enumerate(some):
                encoder.write(frame)
                step(f"frame {number}")
        return file.getvalue()

    encode(frames[:2], Stopwatch())
    clocks = {"encode": Stopwatch(), "decode": Stopwatch()}
    spent = dict.fromkeys(clocks, 0.0)
    coded = 0
    while True:
        start = time.perf_counter()
        data = encode(frames, clocks["encode"])
        middle = time.perf_counter()
        with VideoDecoder(data, threads=threads, weights=weights, stopwatch=clocks["decode"]) as decoder:
            decoded = [decoder_frame.planes for decoder_frame in decoder]
        spent["encode"] += middle - start
        spent["decode"] += time.perf_counter() - middle
        coded += len(frames)
        if spent["encode"] >= seconds:
            break
    found = np.stack([np.concatenate([plane.reshape(-1, width) for plane in planes]) for planes in decoded])
    distortion = float((plane_psnrs(frames, found) @ WEIGHTS).mean())
    pixels = width * height

    def speed(duration: float) -> dict[str, float]:
        return {"fps": coded / duration, "mpx_per_s": coded * pixels / duration / 1e6}

    report: dict[str, Any] = {
        direction: {
            **speed(spent[direction]),
            "stages": {stage: speed(share) for stage, share in clock.seconds.items() if share > 0.0},
        }
        for direction, clock in clocks.items()
    }
    return report | {"bpp": 8 * len(data) / (len(frames) * pixels), "psnr": distortion, "frames": coded}
