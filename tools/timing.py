"""Fair timing: a pass of its own, one codec at a time, on otherwise idle processes.

Models are loaded, pictures and clips read and every codec has coded once before a clock starts; the codecs take turns
on the same picture; each figure is the median of several runs. A picture is coded at the measured quality nearest to
0.75 bits per pixel, a clip at the one nearest to 0.1. Two figures for each codec: one call with one thread on one core,
and the throughput of two cores, as one call at a time where the codec has threads of its own, otherwise as two pictures
or clips at once in two processes.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np

from nacre.bitstream.errors import InputError
from nacre.tools.measure import Measurement
from nacre.tools.subjects import ClipCoding, check_decoded, load, pixels, warm_codec
from nacre.tools.workers import single_threaded_children, worker_pool

TIMED_PICTURES = 4  # the first ones of an evaluation
_TARGET_BPP = 0.75
_CLIP_TARGET_BPP = 0.1
_BARRIER_SECONDS = 600.0

_barrier: Any = None  # of a process that runs beside another


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians for one picture and codec, in megapixels per second; `calls` at once, of `threads` each."""

    picture: str
    codec: str
    quality: float
    cores: int
    calls: int
    threads: int
    encode_mpx_s: float
    decode_mpx_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Turn:
    picture: str
    codec: str
    quality: float
    threads: int
    runs: int
    weights: str | None
    clip: ClipCoding | None


def _start(barrier: Any, cores: tuple[int, ...]) -> None:
    global _barrier
    _barrier = barrier
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _clocked(work: Callable[[], Any], runs: int) -> list[tuple[float, float]]:
    """Start and end of each run, by a clock that all processes share; runs of two processes begin together."""
    spans = []
    for _ in range(runs):
        _barrier.wait(_BARRIER_SECONDS)
        start = time.monotonic()
        work()
        spans.append((start, time.monotonic()))
    return spans


def _take_turn(turn: _Turn) -> tuple[list[tuple[float, float]], list[tuple[float, float]], int]:
    """Spans of encoding and decoding, and pixels of the picture or clip."""
    source = load(turn.picture, turn.clip)
    codec = warm_codec(turn.codec, turn.threads, turn.weights, turn.clip)
    data = codec.encode(source, turn.quality)
    decoded = codec.decode(data)
    check_decoded(source, decoded)
    encoding = _clocked(lambda: codec.encode(source, turn.quality), turn.runs)
    decoding = _clocked(lambda: codec.decode(data), turn.runs)
    if not np.array_equal(codec.decode(data), decoded):
        msg = f"{turn.codec}: two decodes of one file differ"
        raise InputError(msg)
    return encoding, decoding, pixels(source)


def _seconds(spans: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Median over runs of the time from the first start to the last end among processes."""
    return median(max(end for _, end in run) - min(start for start, _ in run) for run in zip(*spans, strict=True))


def _pool(processes: int, cores: tuple[int, ...]) -> AbstractContextManager[ProcessPoolExecutor]:
    return worker_pool(processes, _start, multiprocessing.get_context("spawn").Barrier(processes), cores)


def _time_turn(pool: ProcessPoolExecutor, turn: _Turn, calls: int, cores: int) -> Timing:
    results = [future.result() for future in [pool.submit(_take_turn, turn) for _ in range(calls)]]
    megapixels = calls * results[0][2] / 1e6
    encode_s = _seconds([encoding for encoding, _, _ in results])
    decode_s = _seconds([decoding for _, decoding, _ in results])
    speeds = (megapixels / encode_s, megapixels / decode_s)
    return Timing(turn.picture, turn.codec, turn.quality, cores, calls, turn.threads, *speeds)


def _quality(measurements: Sequence[Measurement], picture: str, codec: str, bpp: float) -> float | None:
    candidates = [m for m in measurements if (m.picture, m.codec) == (picture, codec)]
    if not candidates:
        return None
    return min(candidates, key=lambda m: abs(math.log(m.bpp / bpp))).quality


def time_codecs(
    measurements: Sequence[Measurement],
    threaded: Sequence[str],
    runs: int,
    weights: str | None = None,
    clip: ClipCoding | None = None,
) -> list[Timing]:
    """Time what was measured, on its first pictures, or clips where `clip` says how those were coded.

    threaded: codecs that use two threads by themselves.

    Raises InputError where two decodes of one file differ, and whatever a codec raises.
    """
    pictures = list(dict.fromkeys(m.picture for m in measurements))[:TIMED_PICTURES]
    codecs = list(dict.fromkeys(m.codec for m in measurements))
    available = (
        sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    )
    bpp = _TARGET_BPP if clip is None else _CLIP_TARGET_BPP
    timings = []
    with single_threaded_children():
        for cores in (1, 2):
            if cores > len(available):
                break
            pinned = tuple(available[-cores:])
            with _pool(1, pinned) as single, _pool(2, pinned) as double:
                for picture in pictures:
                    for codec in codecs:
                        quality = _quality(measurements, picture, codec, bpp)
                        if quality is None:
                            continue
                        threads = cores if codec in threaded else 1
                        calls = cores // threads
                        turn = _Turn(picture, codec, quality, threads, runs, weights, clip)
                        timings.append(_time_turn(single if calls == 1 else double, turn, calls, cores))
    return timings


class Speed(NamedTuple):
    """A codec's throughput in megapixels per second: `calls` at once of `threads` each, pinned to `cores` cores."""

    codec: str
    cores: int
    calls: int
    threads: int
    encode: float
    decode: float


def mean_speeds(timings: Sequence[Timing]) -> list[Speed]:
    """Geometric means over pictures, codec by codec, one core before two."""
    groups: dict[tuple[str, int, int, int], list[Timing]] = {}
    for timing in timings:
        groups.setdefault((timing.codec, timing.cores, timing.calls, timing.threads), []).append(timing)
    return [
        Speed(
            *key,
            math.exp(fmean(math.log(t.encode_mpx_s) for t in group)),
            math.exp(fmean(math.log(t.decode_mpx_s) for t in group)),
        )
        for key, group in groups.items()
    ]
