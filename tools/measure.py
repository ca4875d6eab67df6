"""Measuring: one picture through one codec at one quality, in worker processes, kept as it goes along."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nacre.bitstream.errors import InputError, NacreError
from nacre.tools.machine import THREAD_VARIABLES, peak_memory, reset_peak_memory
from nacre.tools.metrics import METRICS
from nacre.tools.peers import PictureCodec, open_codec
from nacre.tools.pictures import Picture, read_picture


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement to make. `key` names picture, codec, settings and quality; `weights` is nacre's folder."""

    picture: str
    codec: str
    quality: float
    metrics: tuple[str, ...]
    key: str
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one picture gave through one codec at one quality.

    metrics: None where a value is not finite (PSNR of an identical picture). errors: metrics that could not be taken.
    encode_s, decode_s: seconds of one call, other processes running beside it; for timings see nacre.tools.timing.
    peak_memory: bytes of the whole process, library and loaded models included.
    """

    key: str
    picture: str
    width: int
    height: int
    codec: str
    quality: float
    bytes: int
    metrics: Mapping[str, float | None]
    errors: Mapping[str, str]
    encode_s: float
    decode_s: float
    peak_memory: int | None

    @property
    def bpp(self) -> float:
        """Bits of the whole file per pixel of the picture."""
        return 8.0 * self.bytes / (self.width * self.height)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "bpp": self.bpp}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measurement:
        """What `to_dict` gave; KeyError or TypeError where fields are missing."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


@lru_cache(maxsize=1)
def read_cached(path: str) -> Picture:
    """A picture, read anew only after another one."""
    return read_picture(Path(path))


@lru_cache(maxsize=32)
def warm_codec(name: str, threads: int, weights: str | None) -> PictureCodec:
    """A codec that has coded once, so that nothing is left to be loaded."""
    codec = open_codec(name, threads, weights)
    codec.decode(codec.encode(np.full((64, 64, 3), 128, np.uint8), codec.qualities[0]))
    return codec


def check_decoded(picture: Picture, decoded: Picture) -> None:
    """Raise InputError unless what a codec gave back is a picture like the one it was given."""
    if decoded.shape != picture.shape or decoded.dtype != np.uint8:
        msg = f"decoded to {decoded.shape} {decoded.dtype}, must be {picture.shape} uint8"
        raise InputError(msg)


def measure(task: Task) -> Measurement:
    """Make one measurement: encode, decode from the bytes alone, check, compare."""
    picture = read_cached(task.picture)
    codec = warm_codec(task.codec, 1, task.weights)
    reset_peak_memory()
    start = time.perf_counter()
    data = codec.encode(picture, task.quality)
    middle = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    memory = peak_memory()
    check_decoded(picture, decoded)
    values: dict[str, float | None] = {}
    errors: dict[str, str] = {}
    for name in task.metrics:
        try:
            value = METRICS[name](picture, decoded)
            values[name] = value if math.isfinite(value) else None
        except NacreError as error:
            errors[name] = str(error)
    height, width = picture.shape[:2]
    return Measurement(
        key=task.key,
        picture=task.picture,
        width=width,
        height=height,
        codec=task.codec,
        quality=task.quality,
        bytes=len(data),
        metrics=values,
        errors=errors,
        encode_s=middle - start,
        decode_s=end - middle,
        peak_memory=memory,
    )


def _attempt(task: Task) -> Measurement | str:
    try:
        return measure(task)
    except Exception as error:  # whatever a library raises on one picture must not end the run
        return f"{type(error).__name__}: {error}"


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool


@contextmanager
def single_threaded_children() -> Iterator[None]:
    """Processes started inside use one thread each in the libraries that listen to the environment."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes (not forked: threads of ONNX Runtime do not survive that), deaf to Ctrl-C."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)


def _run(queue: deque[Task], jobs: int) -> Iterator[tuple[Task, Measurement | str | None]]:
    """Results as they come; None for tasks that were under way when a process died, then the rest stays queued."""
    pool = worker_pool(jobs)
    running: dict[Future[Measurement | str], Task] = {}
    broken = False
    try:
        while running or (queue and not broken):
            while queue and not broken and len(running) < 2 * jobs:
                try:
                    future = pool.submit(_attempt, queue[0])
                except BrokenProcessPool:
                    broken = True
                else:
                    running[future] = queue.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    broken = True
                    yield task, None
                else:
                    yield task, result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def measure_all(tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Task, Measurement | str]]:
    """Each task with its measurement or with what went wrong, in the order of completion, from `jobs` processes.

    A codec that takes its process down with it costs its own measurement only: whatever was under way is run again,
    each task in a process of its own.
    """
    queue = deque(tasks)
    with single_threaded_children():
        while queue:
            suspects = []
            for task, result in _run(queue, jobs):
                if result is None:
                    suspects.append(task)
                else:
                    yield task, result
            for task in suspects:
                for _, result in _run(deque([task]), 1):
                    yield task, "its process died" if result is None else result


class Journal:
    """Finished measurements, one JSON object a line, so that an interrupted run is taken up where it stopped."""

    def __init__(self, path: Path) -> None:
        self.kept: dict[str, Measurement] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                measurement = Measurement.from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # the line at which the last run was interrupted
            self.kept[measurement.key] = measurement
        self._file: BinaryIO = path.open("ab")
        if self._file.tell():
            self._file.write(b"\n")

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement, on the disk at once."""
        self.kept[measurement.key] = measurement
        self._file.write(json.dumps(measurement.to_dict()).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
