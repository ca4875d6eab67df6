"""`nacre bench`: frames and megapixels per second of each stage of encoding and decoding, and of the whole.

Frames are coded one by one, as pictures. What is shown by default is a mosaic of a drawn scene that pans by a few
pixels from frame to frame, so that no two frames are alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from nacre.bitstream.errors import InputError
from nacre.image import ImageCodec, usable_cpus
from nacre.metrics import psnr
from nacre.scene import draw_scene
from nacre.stopwatch import Stopwatch
from nacre.tools.arguments import positive, tool_parser
from nacre.tools.clips import is_clip_name
from nacre.tools.extras import require
from nacre.tools.machine import cpu_name
from nacre.tools.pictures import Picture, find_pictures, read_picture
from nacre.tools.progress import Progress
from nacre.weights import store

FRAMES = 120
TARGET_BPP = 0.5
_MAX_SIDE = 4096  # of frames, which are held in memory
_PROBE = 40  # one frame of so many is coded to find the quality
_PAN = (2, 3)  # rows and columns that the mosaic moves by from frame to frame


def mosaic(pictures: Sequence[Picture], width: int, height: int, frames: int) -> Iterator[Picture]:
    """Frames (height, width, 3) of a window that pans over the pictures, laid side by side and mirrored in turn."""
    rows, columns = height + _PAN[0] * frames, width + _PAN[1] * frames
    canvas = np.empty((rows, columns, 3), np.uint8)
    supply = itertools.cycle([turned for p in pictures for turned in (p, p[:, ::-1], p[::-1], p[::-1, ::-1])])
    top = 0
    while top < rows:
        left, tallest = 0, rows
        while left < columns:
            picture = next(supply)[: rows - top, : columns - left]
            canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += picture.shape[1]
            tallest = min(tallest, picture.shape[0])
        top += tallest
    for frame in range(frames):
        y, x = _PAN[0] * frame, _PAN[1] * frame
        yield np.ascontiguousarray(canvas[y : y + height, x : x + width])


def clip(path: Path, width: int, height: int, frames: int) -> Iterator[Picture]:
    """The first frames of a clip, scaled to (height, width, 3). Raises InputError where it cannot be read."""
    av = require("av")
    try:
        with av.open(str(path)) as container:
            for frame in itertools.islice(container.decode(video=0), frames):
                yield frame.reformat(width, height, "rgb24").to_ndarray()
    except (av.FFmpegError, IndexError) as error:
        msg = f"{path}: cannot be read as a clip: {error}"
        raise InputError(msg) from error


def _content(source: str | None, width: int, height: int, frames: int) -> Iterator[Picture]:
    if source is None:
        return mosaic([draw_scene()], width, height, frames)
    if is_clip_name(Path(source)):
        return clip(Path(source), width, height, frames)
    paths, missing = find_pictures([source])
    if not paths:
        raise InputError(missing[0])
    return mosaic([read_picture(path) for path in paths], width, height, frames)


def quality_for(codec: ImageCodec, frames: Sequence[Picture], bpp: float) -> float:
    """The whole quality whose streams of frames are nearest to `bpp` bits per pixel from below, 0 where none is."""
    size = bpp * sum(frame.shape[0] * frame.shape[1] for frame in frames) / 8.0
    low, high = 0, 100
    while low < high:
        middle = (low + high + 1) // 2
        if sum(len(codec.encode(frame, middle)) for frame in frames) > size:
            high = middle - 1
        else:
            low = middle
    return float(low)


class _Clock:
    """Seconds of each stage over many frames."""

    def __init__(self, pixels: int) -> None:
        self._pixels, self._frames = pixels, 0
        self._seconds: dict[str, float] = {}

    def add(self, stopwatch: Stopwatch, file: float) -> None:
        """Count one frame: the parts of its stopwatch, and the seconds that its file took."""
        self._frames += 1
        for stage, seconds in (*stopwatch.seconds.items(), ("file", file)):
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def report(self) -> dict[str, Any]:
        """Frames and megapixels per second of the whole and of each stage."""
        speeds = {
            stage: {"fps": self._frames / seconds, "mpx_per_s": self._frames * self._pixels / seconds / 1e6}
            for stage, seconds in {**self._seconds, "whole": sum(self._seconds.values())}.items()
            if seconds > 0.0
        }
        return {**speeds.pop("whole"), "stages": speeds}


def bench(
    codec: ImageCodec,
    frames: Callable[[], Iterable[Picture]],
    bpp: float = TARGET_BPP,
    step: Callable[[str], object] = str,
) -> dict[str, Any]:
    """Encode frames to files and decode them from there, at the quality that gives some of them `bpp` bits per pixel.

    frames: called twice, to choose the quality by every _PROBE-th of them and to time all. step: told of every frame
    timed. Returns {"encode": {"fps", "mpx_per_s", "stages": {...}}, "decode": likewise, "bpp", "psnr", "quality",
    "frames"}: means over frames; stages are those of nacre.stopwatch and `file`, each with what it would do alone. The
    codec is warm before the first clock starts. Raises InputError where there is no frame.
    """
    probes = list(itertools.islice(frames(), 0, None, _PROBE))
    if not probes:
        msg = "there are no frames"
        raise InputError(msg)
    quality = quality_for(codec, probes, bpp)
    codec.decode_array(codec.encode(probes[0], quality))
    pixels = probes[0].shape[0] * probes[0].shape[1]
    encoding, decoding = _Clock(pixels), _Clock(pixels)
    rates, distortions = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "frame.ncr")
        for frame in frames():
            stopwatch = Stopwatch()
            data = codec.encode(frame, quality, stopwatch)
            start = time.perf_counter()
            path.write_bytes(data)
            encoding.add(stopwatch, time.perf_counter() - start)
            stopwatch = Stopwatch()
            start = time.perf_counter()
            data = path.read_bytes()
            read = time.perf_counter() - start
            decoded = codec.decode_array(data, stopwatch)
            decoding.add(stopwatch, read)
            rates.append(8 * len(data) / pixels)
            distortions.append(psnr(frame, decoded))
            step(f"frame {len(rates)}")
    return {
        "encode": encoding.report(),
        "decode": decoding.report(),
        "bpp": fmean(rates),
        "psnr": fmean(distortions),
        "quality": quality,
        "frames": len(rates),
    }


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not separator or not (width + height).isdigit() or not 1 <= int(width) <= _MAX_SIDE >= int(height) >= 1:
        msg = f"size is {text!r}, must be WIDTHxHEIGHT, each 1..{_MAX_SIDE}"
        raise argparse.ArgumentTypeError(msg)
    return int(width), int(height)


def _print(result: dict[str, Any]) -> None:
    print(
        f"{result['cpu']}, {result['threads']} threads, {result['width']}x{result['height']}, {result['frames']} frames"
    )
    print(f"quality {result['quality']:g}: {result['bpp']:.3f} bpp, {result['psnr']:.2f} dB")
    parts = ", ".join(f"{name} {value:.2f}" for name, value in result["kmac_per_pixel"].items())
    print(f"kMAC/pixel: {parts}")
    for direction in ("encode", "decode"):
        whole = result[direction]
        print(f"{direction:10} {'whole':10} {whole['fps']:10.2f} frames/s {whole['mpx_per_s']:10.2f} Mpx/s")
        for stage, speed in whole["stages"].items():
            print(f"{'':10} {stage:10} {speed['fps']:10.2f} frames/s {speed['mpx_per_s']:10.2f} Mpx/s")


def main(argv: Sequence[str] | None = None) -> int:
    """The sub-command; returns the exit code. Raises NacreError where weights or content cannot be read."""
    parser = tool_parser("bench", f"Time every stage of coding {FRAMES} frames at {TARGET_BPP:g} bits per pixel.")
    parser.add_argument("--profile", default=store.DEFAULT_PROFILE, help=f"weights, default {store.DEFAULT_PROFILE}")
    parser.add_argument(
        "--size", type=_size, default=(1920, 1080), metavar="WxH", help="of the frames, default 1920x1080"
    )
    parser.add_argument("--content", metavar="CLIP", help="clip, picture or folder of pictures to show instead")
    parser.add_argument("--threads", type=positive, default=usable_cpus(), metavar="N", help="default all processors")
    parser.add_argument("--weights", metavar="FOLDER", help="look for weights there and nowhere else")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    installed = store.load(options.profile, options.weights)
    codec = ImageCodec(options.profile, options.threads, options.weights)
    width, height = options.size
    progress = Progress(FRAMES, verbose=options.verbose, quiet=options.quiet)
    try:
        result = bench(codec, lambda: _content(options.content, width, height, FRAMES), step=progress.step)
    finally:
        progress.close()
    result |= {
        "width": width,
        "height": height,
        "threads": options.threads,
        "cpu": cpu_name(),
        "profile": options.profile,
    }
    result["kmac_per_pixel"] = {name: value / 1000.0 for name, value in installed.mac_per_pixel.items()}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return 0
