"""`nacre bench`: frames and megapixels per second of each stage of encoding and decoding, and of the whole.

With ``--video`` the frames are one clip (nacre.tools.bench_video).

Frames are coded as pictures, one after the other or, with ``--jobs``, several at a time, each on its own thread: while
one is in the networks, another is in the range coder. What is shown by default is a mosaic of a drawn scene that pans
by a few pixels from frame to frame, so that no two frames are alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from nacre.bitstream.errors import InputError
from nacre.entropy.engines import COMPILING_PAYS, count_work
from nacre.image import ImageCodec, usable_cpus
from nacre.metrics import psnr
from nacre.scene import draw_scene
from nacre.stopwatch import Stopwatch
from nacre.tools.arguments import positive, tool_parser
from nacre.tools.bench_video import bench_video
from nacre.tools.clips import is_clip_name
from nacre.tools.extras import require
from nacre.tools.machine import cpu_name, peak_memory
from nacre.tools.pictures import Picture, find_pictures, read_picture
from nacre.tools.progress import Progress
from nacre.tools.yuv import Frames, from_rgb
from nacre.video import DEFAULT_GOP
from nacre.weights import store
from nacre.weights.sequence import load_sequence

FRAMES = 120
TARGET_BPP = 0.5
_MAX_SIDE = 4096  # of frames, which are held in memory
_PROBE = 37  # one frame of so many is coded to find the quality; odd, so that the codec's grid falls otherwise in each
_GROUP = 12  # frames of each thread between two looks at the clock, when all threads wait for the last
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


def planes(pictures: Iterable[Picture]) -> Frames:
    """Pictures (H, W, 3), H and W even, as frames of 8-bit 4:2:0; InputError where there is none or a side is odd."""
    frames = []
    for picture in pictures:
        if any(side % 2 for side in picture.shape[:2]):
            msg = f"frames of clips are {picture.shape[1]} x {picture.shape[0]} here, must have even sides"
            raise InputError(msg)
        frames.append(from_rgb(picture, "bt709", full_range=False))
    if not frames:
        msg = "there are no frames"
        raise InputError(msg)
    return np.stack(frames)


def to_and_fro(frames: Frames, count: int) -> Frames:
    """Frames (F, ...), and where these are fewer than `count`, backwards and forwards again until they are as many."""
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    order = itertools.islice(itertools.cycle(there_and_back), max(count, len(frames)))
    return frames[list(order)]


def quality_for(codec: ImageCodec, frames: Sequence[Picture], bpp: float, effort: int | None = None) -> float:
    """The whole quality whose streams of frames are nearest to `bpp` bits per pixel from below, 0 where none is."""
    size = bpp * sum(frame.shape[0] * frame.shape[1] for frame in frames) / 8.0
    low, high = 0, 100
    while low < high:
        middle = (low + high + 1) // 2
        if sum(len(codec.encode(frame, middle, effort=effort)) for frame in frames) > size:
            high = middle - 1
        else:
            low = middle
    return float(low)


class _Clock:
    """Seconds of each stage over many frames, which `jobs` threads work on, and of the whole."""

    def __init__(self, pixels: int, jobs: int) -> None:
        self._pixels, self._jobs, self._frames = pixels, jobs, 0
        self._stages: dict[str, float] = {}
        self.seconds = 0.0

    def add(self, work: Iterable[_Timed], seconds: float) -> None:
        """Count some frames and the seconds until all of them were done."""
        self.seconds += seconds
        for one in work:
            self._frames += 1
            for stage, share in (*one.stopwatch.seconds.items(), ("file", one.file)):
                self._stages[stage] = self._stages.get(stage, 0.0) + share

    def report(self) -> dict[str, Any]:
        """Frames and megapixels per second of the whole and, were it alone on as many threads, of each stage."""
        alone = {stage: seconds / self._jobs for stage, seconds in self._stages.items()}
        speeds = {
            stage: {"fps": self._frames / seconds, "mpx_per_s": self._frames * self._pixels / seconds / 1e6}
            for stage, seconds in {**alone, "whole": self.seconds}.items()
            if seconds > 0.0
        }
        return {**speeds.pop("whole"), "stages": speeds}


class _Timed(NamedTuple):
    """What was done to one frame: where its time went, seconds for its file, bytes of it."""

    stopwatch: Stopwatch
    file: float
    size: int


def bench(
    codec: ImageCodec,
    frames: Callable[[], Iterable[Picture]],
    bpp: float = TARGET_BPP,
    step: Callable[[str], object] = str,
    *,
    effort: int | None = None,
    light: bool = False,
    jobs: int = 1,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """Encode frames to files and decode them from there, at the quality that gives some of them `bpp` bits per pixel.

    frames: called to choose the quality by every _PROBE-th of them, then to time all, and again until encoding has
    taken `seconds`. step: told of every frame timed. effort, light: as ImageCodec's. jobs: frames that are worked on at
    a time, each on its own thread beside those of the codec. Returns {"encode": {"fps", "mpx_per_s", "stages": {...}},
    "decode": likewise, "bpp", "psnr", "quality", "frames"}: means over frames; stages are those of nacre.stopwatch and
    `file`, each with what it would do alone. The codec is warm before the first clock starts, and frames are at hand in
    groups. Raises InputError where there is no frame.
    """
    probes = list(itertools.islice(frames(), 0, None, _PROBE))
    if not probes:
        msg = "there are no frames"
        raise InputError(msg)
    quality = quality_for(codec, probes, bpp, effort)
    count_work(COMPILING_PAYS)  # so that nothing is compiled while a clock runs
    codec.decode_array(codec.encode(probes[0], quality, effort=effort), light=light)
    pixels = probes[0].shape[0] * probes[0].shape[1]
    encoding, decoding = _Clock(pixels, jobs), _Clock(pixels, jobs)
    rates: list[float] = []
    distortions: list[float] = []

    def encode(frame: Picture, path: Path) -> _Timed:
        stopwatch = Stopwatch()
        data = codec.encode(frame, quality, stopwatch, effort=effort)
        start = time.perf_counter()
        path.write_bytes(data)
        return _Timed(stopwatch, time.perf_counter() - start, len(data))

    def decode(path: Path) -> tuple[_Timed, Picture]:
        stopwatch = Stopwatch()
        start = time.perf_counter()
        data = path.read_bytes()
        read = time.perf_counter() - start
        decoded = codec.decode_array(data, stopwatch, light=light)
        return _Timed(stopwatch, read, len(data)), decoded

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        paths = [Path(folder, f"{number}.ncr") for number in range(_GROUP * jobs)]
        while not rates or encoding.seconds < seconds:
            supply = iter(frames())
            while group := list(itertools.islice(supply, len(paths))):
                start = time.perf_counter()
                coded = list(pool.map(encode, group, paths))
                middle = time.perf_counter()
                found = list(pool.map(decode, paths[: len(group)]))
                encoding.add(coded, middle - start)
                decoding.add((timed for timed, _ in found), time.perf_counter() - middle)
                for frame, (timed, decoded) in zip(group, found, strict=True):
                    rates.append(8 * timed.size / pixels)
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
    threads = f"{result['jobs']} at a time, {result['threads']} thread{'s' if result['threads'] != 1 else ''} each"
    print(f"{result['cpu']}, {result['width']}x{result['height']}, {result['frames']} frames, {threads}")
    if result["peak_memory"] is not None:
        print(f"peak memory {result['peak_memory'] / 1e6:.0f} MB, with the frames at hand")
    print(f"quality {result['quality']:g}: {result['bpp']:.3f} bpp, {result['psnr']:.2f} dB")
    parts = ", ".join(f"{name} {value:.2f}" for name, value in result["kmac_per_pixel"].items())
    print(f"kMAC/pixel: {parts}")
    for direction in ("encode", "decode"):
        whole = result[direction]
        print(f"{direction:8} {'whole':16} {whole['fps']:10.2f} frames/s {whole['mpx_per_s']:10.2f} Mpx/s")
        for stage, speed in whole["stages"].items():
            print(f"{'':8} {stage:16} {speed['fps']:10.2f} frames/s {speed['mpx_per_s']:10.2f} Mpx/s")


def main(argv: Sequence[str] | None = None) -> int:
    """The sub-command; returns the exit code. Raises NacreError where weights or content cannot be read."""
    parser = tool_parser("bench", f"Time every stage of coding {FRAMES} frames at {TARGET_BPP:g} bits per pixel.")
    parser.add_argument("--profile", default=store.DEFAULT_PROFILE, help=f"weights, default {store.DEFAULT_PROFILE}")
    parser.add_argument(
        "--size", type=_size, default=(1920, 1080), metavar="WxH", help="of the frames, default 1920x1080"
    )
    parser.add_argument("--content", metavar="CLIP", help="clip, picture or folder of pictures to show instead")
    parser.add_argument("--bpp", type=float, default=TARGET_BPP, help=f"bits per pixel, default {TARGET_BPP:g}")
    parser.add_argument("--effort", type=int, metavar="N", help="of the encoder, 1 to 9")
    parser.add_argument("--light", action="store_true", help="decode by the light synthesis")
    parser.add_argument(
        "--video",
        type=float,
        metavar="Q",
        help="code the frames as one clip in GOPs of 32, at quality Q, 0..100; a short clip is shown to and fro",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="of each frame, default all processors / jobs")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="frames at a time, default 1")
    parser.add_argument(
        "--seconds", type=float, default=0.0, metavar="S", help="go on until encoding has taken S seconds"
    )
    parser.add_argument("--weights", metavar="FOLDER", help="look for weights there and nowhere else")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    threads = options.threads or max(1, usable_cpus() // options.jobs)
    width, height = options.size
    progress = Progress(FRAMES, verbose=options.verbose, quiet=options.quiet)

    def content() -> Iterator[Picture]:
        return _content(options.content, width, height, FRAMES)

    try:
        if options.video is not None:
            clip_weights = load_sequence(options.profile, options.weights)
            parts = {"I": clip_weights.intra, "P": clip_weights.predicted}
            macs = {f"{kind} {part}": n for kind, own in parts.items() for part, n in own.mac_per_pixel.items()}
            result = bench_video(
                to_and_fro(planes(content()), FRAMES), options.video, profile=options.profile, threads=threads,
                weights=options.weights, gop=DEFAULT_GOP, seconds=options.seconds, step=progress.step,
            )  # fmt: skip
            result["quality"] = options.video
        else:
            macs = dict(store.load(options.profile, options.weights).mac_per_pixel)
            codec = ImageCodec(options.profile, threads, options.weights)
            result = bench(
                codec, content, options.bpp, progress.step,
                effort=options.effort, light=options.light, jobs=options.jobs, seconds=options.seconds,
            )  # fmt: skip
    finally:
        progress.close()
    result |= {
        "width": width,
        "height": height,
        "threads": threads,
        "jobs": options.jobs,
        "peak_memory": peak_memory(),
        "cpu": cpu_name(),
        "profile": options.profile,
    }
    result["kmac_per_pixel"] = {name: value / 1000.0 for name, value in macs.items()}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return 0
